"""The verbs on resources: each translates a request into one call of the store and its answer into the wire's words."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from diskyard.api import meta
from diskyard.api.meta import Key, Obj
from diskyard.errors import BadRequest
from diskyard.kube.client import Deletion, Listing, Patch, Selection
from diskyard.web.bridge import call
from standalone.store.objects import Objects
from standalone.wire import body
from standalone.wire.answer import Form, Shape, encoded, form, reply, success
from standalone.wire.catalogue import Resource
from standalone.wire.columns import columns
from standalone.wire.table import partial, table
from standalone.wire.target import Target

_PATCHES = {str(how): how for how in Patch}


@dataclass(frozen=True)
class Asked:
    """One request about one resource."""

    request: web.Request
    resource: Resource
    target: Target

    @property
    def form(self) -> Form:
        """How the answer is wanted."""
        return form(self.request.headers.get("Accept", ""))

    @property
    def selection(self) -> Selection:
        """Which objects of a collection."""
        query = self.request.query
        fields = query.get("fieldSelector", "")
        if self.target.name:
            fields = f"metadata.name={self.target.name}"
        return Selection(self.target.namespace or None, query.get("labelSelector", ""), fields)

    def shown(self, obj: Obj) -> Obj:
        """The object in the version that was asked for."""
        if self.resource.stored:
            return obj
        return {**obj, "apiVersion": self.resource.api_version}

    def stored(self, obj: Obj) -> Obj:
        """An object that came in, in the version that is stored, in the namespace of the path. Raises BadRequest."""
        kind = self.resource.kind
        for field, expected in (("apiVersion", self.resource.api_version), ("kind", kind.kind)):
            if obj.get(field, expected) != expected:
                raise BadRequest(
                    f"{field} in the object ({str(obj[field])[:100]}) does not match the expected one ({expected})"
                )
        metadata = {**meta.meta(obj)}
        for field, expected in (("namespace", self.target.namespace), ("name", self.target.name)):
            if not expected:
                continue
            if metadata.setdefault(field, expected) not in (expected, ""):
                raise BadRequest(
                    f"the {field} of the object ({metadata[field]}) does not match the {field} on the URL ({expected})"
                )
            metadata[field] = expected
        return {**obj, "apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}


class Verbs:
    """What can be done to resources."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    async def get(self, asked: Asked) -> web.StreamResponse:
        """One object."""
        found = await call(self._objects.get, asked.resource.kind, asked.target.key)
        return _one(asked, found)

    async def list(self, asked: Asked) -> web.StreamResponse:
        """The objects of a collection, in one piece."""
        kind, selection, wanted = asked.resource.kind, asked.selection, asked.form
        records, revision = await call(self._objects.records, kind, selection)
        if wanted.shape is Shape.WHOLE and asked.resource.stored:
            return reply(_raw_list(asked.resource, [record.body for record in records], revision))
        objs = (asked.shown(record.obj()) for record in records)
        return reply(await call(_listed, asked, objs, revision))

    async def create(self, asked: Asked) -> web.StreamResponse:
        """A new object."""
        obj = asked.stored(await body.obj(asked.request))
        made = await call(self._objects.create, asked.resource.kind, obj)
        return _one(asked, made, 201)

    async def update(self, asked: Asked) -> web.StreamResponse:
        """An object, replaced."""
        obj = asked.stored(await body.obj(asked.request))
        sub = asked.target.subresource
        return _one(asked, await call(self._objects.update, asked.resource.kind, obj, sub))

    async def patch(self, asked: Asked) -> web.StreamResponse:
        """An object, changed in part."""
        accepted = tuple(_PATCHES)
        patch = await body.content(asked.request, accepted=accepted)
        how = _PATCHES[asked.request.content_type]
        if isinstance(patch, dict) and not asked.resource.stored and "apiVersion" in patch:
            patch = {**patch, "apiVersion": asked.resource.kind.api_version}
        target = asked.target
        changed = await call(
            self._objects.patch, asked.resource.kind, target.key, patch, target.subresource, how
        )
        return _one(asked, changed)

    async def delete(self, asked: Asked) -> web.StreamResponse:
        """An object, asked to go."""
        kind, target = asked.resource.kind, asked.target
        left = await call(self._objects.delete, kind, target.key, await _deletion(asked.request))
        if meta.deleting(left):
            return _one(asked, left)
        return reply(success(kind.plural, target.name, meta.uid(left), kind.group))

    async def delete_collection(self, asked: Asked) -> web.StreamResponse:
        """All objects of a collection that fit, asked to go."""
        deletion = await _deletion(asked.request)
        return reply(encoded(await call(self._delete_all, asked, deletion)))

    def _delete_all(self, asked: Asked, deletion: Deletion) -> Obj:
        kind = asked.resource.kind
        listing: Listing = self._objects.list(kind, asked.selection)
        for obj in listing.items:
            self._objects.delete(kind, Key(meta.name(obj), meta.namespace(obj)), deletion)
        items = [asked.shown(obj) for obj in listing.items]
        return _list_of(asked.resource, items, listing.resource_version)


def _one(asked: Asked, obj: Obj, code: int = 200) -> web.Response:
    wanted = asked.form
    obj = asked.shown(obj)
    if wanted.shape is Shape.TABLE:
        shown = table(columns(asked.resource), [obj], _include(asked.request))
        shown["metadata"] = {"resourceVersion": meta.meta(obj).get("resourceVersion", "")}
        return reply(shown, code)
    return reply(partial(obj, wanted.version) if wanted.shape is Shape.PARTIAL else obj, code)


def _listed(asked: Asked, objs: Iterable[Obj], revision: str) -> Obj:
    wanted = asked.form
    if wanted.shape is Shape.TABLE:
        shown = table(columns(asked.resource), objs, _include(asked.request))
        return {**shown, "metadata": {"resourceVersion": revision}}
    if wanted.shape in (Shape.PARTIAL_LIST, Shape.PARTIAL):
        return {
            "kind": str(Shape.PARTIAL_LIST),
            "apiVersion": f"meta.k8s.io/{wanted.version}",
            "metadata": {"resourceVersion": revision},
            "items": [partial(obj, wanted.version) for obj in objs],
        }
    return _list_of(asked.resource, objs, revision)


def _list_of(resource: Resource, objs: Iterable[Obj], revision: str) -> Obj:
    return {
        "kind": f"{resource.kind.kind}List",
        "apiVersion": resource.api_version,
        "metadata": {"resourceVersion": revision},
        "items": list(objs),
    }


def _raw_list(resource: Resource, bodies: list[bytes], revision: str) -> bytes:
    """The list around the bytes as they are stored: nothing is parsed."""
    head = encoded(_list_of(resource, (), revision))
    return head.removesuffix(b"]}") + b",".join(bodies) + b"]}"


def _include(request: web.Request) -> str:
    return request.query.get("includeObject", "Metadata")


async def _deletion(request: web.Request) -> Deletion:
    """DeleteOptions, from the body and the query. Raises BadRequest."""
    options: Any = await body.content(request) if await request.read() else {}
    if not isinstance(options, dict):
        raise BadRequest("the body of a deletion is a DeleteOptions object")
    held = options.get("preconditions") or {}
    grace = options.get("gracePeriodSeconds", body.number(request, "gracePeriodSeconds"))
    orphan = options.get("orphanDependents", request.query.get("orphanDependents"))
    policy = options.get("propagationPolicy") or request.query.get("propagationPolicy")
    if policy is None:
        policy = "Orphan" if orphan in (True, "true") else "Background"
    if grace is not None and (not isinstance(grace, int) or grace < 0):
        raise BadRequest(f"gracePeriodSeconds: expected a whole number from 0 on, found {grace!r}")
    return Deletion(
        str(held.get("uid") or ""), str(held.get("resourceVersion") or ""), grace, _policy(policy)
    )


def _policy(policy: Any) -> str:
    if policy not in ("Background", "Foreground", "Orphan"):
        raise BadRequest(f"propagationPolicy: expected Background, Foreground or Orphan, found {policy!r}")
    return str(policy)
