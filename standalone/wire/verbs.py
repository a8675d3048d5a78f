"""The verbs on resources: each is one call of the store, and its answer in the wire's words."""

from collections.abc import Callable
from functools import partial
from typing import Any

from aiohttp import web

from diskyard.api import meta
from diskyard.api.meta import Obj
from diskyard.errors import BadRequest, Cause
from diskyard.kube.client import Deletion, Patch
from diskyard.web.bridge import call
from standalone.store import finality
from standalone.store.objects import Objects
from standalone.store.patch import patched
from standalone.wire import body, show, strict
from standalone.wire.answer import Shape, reply, success
from standalone.wire.asked import Asked, dry_run, misasked
from standalone.wire.bulk import Bulk


class Verbs:
    """What can be done to resources."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._rehearsal = objects.rehearsal()
        self._bulk = Bulk()

    async def get(self, asked: Asked) -> web.StreamResponse:
        """One object."""
        record = await call(self._objects.record, asked.resource.kind, asked.target.key)
        if asked.form.shape is Shape.WHOLE:
            return reply(asked.shown(record.body))
        return show.one(asked, record.obj())

    async def list(self, asked: Asked) -> web.StreamResponse:
        """The objects of a collection, or a piece of them."""

        def listed() -> bytes:
            return show.several(
                asked, self._objects.piece(asked.resource.kind, asked.selection, asked.asking)
            )

        return await self._bulk.answer(asked.request, await call(listed))

    async def create(self, asked: Asked) -> web.StreamResponse:
        """A new object."""
        obj = await asked.obj()
        warnings = await self._doubtful(asked, obj)
        made = await call(self._store(asked, dry=asked.dry).create, asked.resource.kind, obj)
        return self._written(asked, made, warnings, 201)

    async def post(self, asked: Asked) -> web.StreamResponse:
        """What an object's subresource answers to a body."""
        target = asked.target
        posted = await body.obj(asked.request)
        place = {"name": target.key.name} | (
            {"namespace": target.key.namespace} if target.key.namespace else {}
        )
        posted = {**posted, "metadata": {**meta.meta(posted), **place}}
        store = self._store(asked, dry=asked.dry)
        return reply(await call(store.create, asked.resource.kind, posted, target.subresource), 201)

    async def update(self, asked: Asked) -> web.StreamResponse:
        """An object, replaced."""
        obj = await asked.obj()
        warnings = await self._doubtful(asked, obj)
        kind, subresource = asked.resource.kind, asked.target.subresource
        changed = await call(self._store(asked, dry=asked.dry).update, kind, obj, subresource)
        return self._written(asked, changed, warnings)

    async def patch(self, asked: Asked) -> web.StreamResponse:
        """An object, changed in part."""
        if asked.applies:
            return await self._apply(asked)
        patch, how = await asked.patch()
        warnings: tuple[str, ...] = ()
        if how is Patch.MERGE and isinstance(patch, dict):
            warnings = await self._doubtful(asked, patch)
        kind, target = asked.resource.kind, asked.target
        changed = await call(
            self._store(asked, dry=asked.dry).patch, kind, target.key, patch, target.subresource, how
        )
        return self._written(asked, changed, warnings)

    async def _apply(self, asked: Asked) -> web.StreamResponse:
        """An object as its author wants it, made where it is missing."""
        store, force = self._store(asked, dry=asked.dry), body.flag(asked.request, "force")
        wish = await asked.wish()
        obj, made = await call(store.apply, asked.resource.kind, wish, asked.target.subresource, force=force)
        return self._written(asked, obj, (), 201 if made else 200)

    async def scale(self, asked: Asked) -> web.StreamResponse:
        """How many there are of something, told or changed."""
        change: Callable[[Obj], Obj] | None = None
        if asked.request.method == "PUT":
            change = partial(_instead, await body.obj(asked.request))
        elif asked.request.method == "PATCH":
            patch, how = await asked.patch()
            change = partial(patched, patch=patch, how=how)
        store, target = self._store(asked, dry=asked.dry), asked.target
        return reply(await call(store.scale, asked.resource.kind, target.key, change))

    async def delete(self, asked: Asked) -> web.StreamResponse:
        """An object, asked to go."""
        kind, target = asked.resource.kind, asked.target
        deletion, dry = await _deletion(asked)
        left = await call(self._store(asked, dry=dry).delete, kind, target.key, deletion)
        if not finality.finished(kind, left):
            return show.one(asked, left)
        return reply(success(kind.plural, target.name, meta.uid(left), kind.group))

    async def delete_collection(self, asked: Asked) -> web.StreamResponse:
        """All objects of a collection that fit, asked to go."""
        deletion, dry = await _deletion(asked)
        store, kind = self._store(asked, dry=dry), asked.resource.kind

        def deleted() -> bytes:
            chosen = self._objects.piece(kind, asked.selection, asked.asking)
            for record in chosen.records:
                store.delete(kind, record.key, deletion)
            return show.several(asked, chosen)

        return reply(await call(deleted))

    def _written(
        self, asked: Asked, obj: Obj, warnings: tuple[str, ...], code: int = 200
    ) -> web.StreamResponse:
        """An object that was stored, with what who wrote it should know."""
        told = () if asked.target.subresource else self._objects.advice(asked.resource.kind, obj)
        return show.one(asked, obj, code, (*warnings, *told))

    def _store(self, asked: Asked, *, dry: bool) -> Objects:
        """The objects as the one who asks may write them, and is said to."""
        objects = (self._rehearsal if dry else self._objects).asked_by(asked.user)
        return objects.acting(asked.author, asked.resource.api_version)

    async def _doubtful(self, asked: Asked, obj: Obj) -> tuple[str, ...]:
        """What to warn about. Raises BadRequest where the client wants such fields refused."""
        if asked.strictness == "Ignore":
            return ()
        twice = strict.duplicates(await asked.request.read()) if body.is_json(asked.request) else ()
        unknown = (
            f'unknown field "{path}"'
            for path in self._store(asked, dry=True).unknown(asked.resource.kind, obj)
        )
        found = (*twice, *unknown)
        if found and asked.strictness == "Strict":
            kind = asked.resource.kind.kind
            raise BadRequest(
                f'{kind} in version "{asked.resource.version}" cannot be handled as a {kind}: '
                f"strict decoding error: {', '.join(found)}"
            )
        return found


def _instead(whole: Obj, _: Obj) -> Obj:
    return whole


async def _deletion(asked: Asked) -> tuple[Deletion, bool]:
    """DeleteOptions from the body and the query, and whether nothing is to be stored. Raises BadRequest."""
    request = asked.request
    options: Any = await body.content(request) if await request.read() else {}
    if not isinstance(options, dict):
        raise BadRequest("the body of a deletion is a DeleteOptions object")
    held = options.get("preconditions") or {}
    grace = options.get("gracePeriodSeconds", body.number(request, "gracePeriodSeconds"))
    if grace is not None and (not isinstance(grace, int) or grace < 0):
        raise BadRequest(f"gracePeriodSeconds: expected a whole number from 0 on, found {grace!r}")
    orphan = options.get("orphanDependents")
    if orphan is None and request.query.get("orphanDependents"):
        orphan = body.flag(request, "orphanDependents")
    policy = options.get("propagationPolicy") or request.query.get("propagationPolicy")
    _check_policy(policy, orphan)
    if orphan is not None:
        policy = "Orphan" if orphan else "Background"
    dry = asked.dry or dry_run(request.method, options.get("dryRun") or ())
    uid, revision = str(held.get("uid") or ""), str(held.get("resourceVersion") or "")
    return Deletion(uid, revision, grace, str(policy or "")), dry


def _check_policy(policy: Any, orphan: bool | None) -> None:
    """Whether what is said of dependents can be meant. Raises Invalid."""
    field, known = "propagationPolicy", ("Foreground", "Background", "Orphan")
    if policy and orphan is not None:
        told = f'Invalid value: "{policy}": orphanDependents and deletionPropagation cannot be both set'
        raise misasked("DELETE", [Cause(told, field)])
    if policy and policy not in known:
        options = ", ".join(f'"{one}"' for one in (*known, "nil"))
        told = f'Unsupported value: "{str(policy)[:60]}": supported values: {options}'
        raise misasked("DELETE", [Cause(told, field, "FieldValueNotSupported")])
