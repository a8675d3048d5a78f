"""One request about one resource: what it wants, in the store's terms."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import orjson
from aiohttp import web

from diskyard.api import meta
from diskyard.api.meta import Kind, Obj
from diskyard.api.user import User
from diskyard.errors import BadRequest, Cause, Invalid
from diskyard.kube.client import Patch, Selection
from standalone.store import answers, convert
from standalone.store.authors import LONGEST_NAME
from standalone.store.page import Asking
from standalone.wire import body
from standalone.wire.answer import Form, form
from standalone.wire.catalogue import Resource
from standalone.wire.target import Target

APPLY = ("application/apply-patch+yaml", "application/apply-patch+json")
"""JSON is YAML, too: the body of the first may be either."""
USER: Final = web.RequestKey("user", User)
_OPTIONS = {
    method: Kind("meta.k8s.io", "v1", kind, kind.lower(), namespaced=False)
    for method, kind in (
        ("POST", "CreateOptions"),
        ("PUT", "UpdateOptions"),
        ("PATCH", "PatchOptions"),
        ("DELETE", "DeleteOptions"),
    )
}
_STRICTNESS = ("", "Ignore", "Strict", "Warn")


def dry_run(method: str, wanted: Iterable[object]) -> bool:
    """Whether these values of `dryRun` ask for one. Raises Invalid for values that we do not know."""
    found = list(wanted)
    if any(one != "All" for one in found):
        told = f'Unsupported value: {orjson.dumps(found).decode()[:60]}: supported values: "All"'
        raise misasked(method, [Cause(told, "dryRun", "FieldValueNotSupported")])
    return bool(found)


def misasked(method: str, causes: Sequence[Cause]) -> Invalid:
    """The options of a request that do not go together, or that we do not know."""
    return answers.invalid(_OPTIONS.get(method, _OPTIONS["PATCH"]), "", causes)


@dataclass(frozen=True)
class Asked:
    """The request, and the resource that its path leads to."""

    request: web.Request
    resource: Resource
    target: Target

    @property
    def user(self) -> User:
        """Who asks."""
        return self.request[USER]

    @property
    def applies(self) -> bool:
        """Whether this is a server-side apply."""
        return self.request.method == "PATCH" and self.request.content_type in APPLY

    @property
    def author(self) -> str:
        """Who writes: as it says itself, or as its user agent does. Raises Invalid."""
        query, causes = self.request.query, []
        name = query.get("fieldManager", "")
        if len(name) > LONGEST_NAME:
            told = f"Too long: may not be more than {LONGEST_NAME} bytes"
            causes.append(Cause(told, "fieldManager", "FieldValueTooLong"))
        elif not name.isprintable():
            place, char = next((i, c) for i, c in enumerate(name) if not c.isprintable())
            shown = orjson.dumps(name).decode()
            told = f"Invalid value: {shown}: invalid character U+{ord(char):04X} (at position {place})"
            causes.append(Cause(told, "fieldManager"))
        if self.applies and not name:
            told = "Required value: is required for apply patch"
            causes.append(Cause(told, "fieldManager", "FieldValueRequired"))
        if not self.applies and self.request.method == "PATCH" and query.get("force"):
            told = "Forbidden: may not be specified for non-apply patch"
            causes.append(Cause(told, "force", "FieldValueForbidden"))
        if causes:
            raise misasked(self.request.method, causes)
        agent = self.request.headers.get("User-Agent", "").partition("/")[0]
        return name or "".join(char for char in agent if char.isprintable())[:LONGEST_NAME] or "unknown"

    @cached_property
    def form(self) -> Form:
        """How the answer is wanted."""
        return form(self.request.headers.get("Accept", ""))

    @property
    def selection(self) -> Selection:
        """Which objects of a collection."""
        query = self.request.query
        fields = f"metadata.name={self.target.name}" if self.target.name else query.get("fieldSelector", "")
        return Selection(self.target.namespace or None, query.get("labelSelector", ""), fields)

    @property
    def asking(self) -> Asking:
        """Which part of a collection, and as of when. Raises BadRequest."""
        query = self.request.query
        return Asking(
            body.number(self.request, "limit") or 0,
            query.get("continue", ""),
            query.get("resourceVersion", ""),
            query.get("resourceVersionMatch", ""),
            body.flag(self.request, "sendInitialEvents") if query.get("sendInitialEvents") else None,
        )

    @property
    def dry(self) -> bool:
        """Whether nothing is to be stored. Raises Invalid."""
        return dry_run(self.request.method, self.request.query.getall("dryRun", []))

    @property
    def strictness(self) -> str:
        """What to do about unknown fields: Ignore, Warn (the default) or Strict. Raises BadRequest."""
        wanted = self.request.query.get("fieldValidation", "")
        if wanted not in _STRICTNESS:
            known = ", ".join(f'"{one}"' for one in _STRICTNESS)
            told = f'Unsupported value: "{wanted[:60]}": supported values: {known}'
            raise misasked(self.request.method, [Cause(told, "fieldValidation", "FieldValueNotSupported")])
        return wanted or "Warn"

    def shown(self, stored: bytes) -> bytes:
        """A stored object in the version that was asked for."""
        return convert.body_as_version(stored, self.resource.kind, self.resource.version)

    async def obj(self) -> Obj:
        """The object in the body, in the version that is stored, at the place of the path. Raises BadRequest."""
        return self._placed(await body.obj(self.request))

    async def wish(self) -> Obj:
        """The same for server-side apply. Raises BadRequest."""
        came = await body.obj(self.request, accepted=APPLY)
        said = tuple(str(came.get(field) or "")[:100] for field in ("apiVersion", "kind"))
        if said != (self.resource.api_version, self.resource.kind.kind):
            group, _, version = said[0].rpartition("/")
            raise BadRequest(f"invalid object type: {group}/{version}, Kind={said[1]}")
        return self._placed(came)

    def _placed(self, came: Obj) -> Obj:
        kind, target = self.resource.kind, self.target
        self._check_type(str(came.get("apiVersion") or "")[:100], str(came.get("kind") or "")[:100])
        metadata = {**meta.meta(came)}
        if target.namespace and (metadata.get("namespace") or target.namespace) != target.namespace:
            raise answers.misplaced()
        if target.name and metadata.get("name") != target.name and not self._names_itself(metadata):
            raise answers.misnamed(str(metadata.get("name") or ""), target.name)
        place = {"namespace": target.namespace} if target.namespace else {}
        name = {"name": target.name} if target.name else {}
        return {
            **came,
            "apiVersion": kind.api_version,
            "kind": kind.kind,
            "metadata": metadata | place | name,
        }

    def _names_itself(self, metadata: Obj) -> bool:
        """Whether the path alone may say which object is meant: where one is applied, and in subresources."""
        return not metadata.get("name") and (self.applies or bool(self.target.subresource))

    def _check_type(self, version: str, kind: str) -> None:
        """Whether that is an object of this resource; what says nothing is, of Kubernetes' own. Raises BadRequest."""
        expected, own = self.resource.api_version, self.resource.kind.kind
        if self.resource.schema is not None and not kind:
            raise BadRequest(
                f"the object provided is unrecognized (must be of type {own}): Object 'Kind' is missing"
            )
        if (version or expected) != expected:
            raise BadRequest(
                f"the API version in the data ({version}) does not match the expected API version ({expected})"
            )
        if (kind or own) != own:
            here = version.rpartition("/")[2] or self.resource.version
            raise BadRequest(f'{kind} in version "{here}" cannot be handled as a {own}')

    async def patch(self) -> tuple[object, Patch]:
        """The patch in the body, and how it is to be read. Raises UnsupportedMediaType, BadRequest."""
        custom = self.resource.schema is not None
        known = (Patch.JSON, Patch.MERGE) if custom else (Patch.JSON, Patch.MERGE, Patch.STRATEGIC)
        accepted = tuple(map(str, known))
        if self.request.content_type not in accepted:
            raise body.unsupported((*accepted, APPLY[0]))
        patch = await body.content(self.request, accepted=accepted)
        if isinstance(patch, dict) and patch.get("apiVersion") == self.resource.api_version:
            patch = {**patch, "apiVersion": self.resource.kind.api_version}
        return patch, Patch(self.request.content_type)
