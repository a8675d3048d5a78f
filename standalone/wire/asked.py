"""One request about one resource: what it wants, in the store's terms."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from aiohttp import web

from diskyard.api import meta
from diskyard.api.meta import Kind, Obj
from diskyard.api.user import User
from diskyard.errors import BadRequest, Cause
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
    for method, kind in (("POST", "CreateOptions"), ("PUT", "UpdateOptions"), ("PATCH", "PatchOptions"))
}
_STRICTNESS = ("", "Ignore", "Warn", "Strict")


def dry_run(wanted: Iterable[object]) -> bool:
    """Whether these values of `dryRun` ask for one. Raises BadRequest for values that we do not know."""
    found = list(wanted)
    if any(one != "All" for one in found):
        raise BadRequest(f'dryRun: Unsupported value: {found!r:.60}: supported values: "All"')
    return bool(found)


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
            told = f"Invalid value: {name!r}: should only contain printable characters"
            causes.append(Cause(told, "fieldManager"))
        if self.applies and not name:
            told = "Required value: is required for apply patch"
            causes.append(Cause(told, "fieldManager", "FieldValueRequired"))
        if not self.applies and self.request.method == "PATCH" and query.get("force"):
            told = "Forbidden: may not be specified for non-apply patch"
            causes.append(Cause(told, "force", "FieldValueForbidden"))
        if causes:
            raise answers.invalid(_OPTIONS.get(self.request.method, _OPTIONS["PATCH"]), "", causes)
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
        """Whether nothing is to be stored. Raises BadRequest."""
        return dry_run(self.request.query.getall("dryRun", []))

    @property
    def strictness(self) -> str:
        """What to do about unknown fields: Ignore, Warn (the default) or Strict. Raises BadRequest."""
        wanted = self.request.query.get("fieldValidation", "")
        if wanted not in _STRICTNESS:
            raise BadRequest(f"fieldValidation: expected Ignore, Warn or Strict, found {wanted[:60]!r}")
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
        for field in ("apiVersion", "kind"):
            if not came.get(field):
                raise BadRequest(f"error decoding YAML: Object '{field.capitalize()}' is missing")
        return self._placed(came)

    def _placed(self, came: Obj) -> Obj:
        kind = self.resource.kind
        for field, expected in (("apiVersion", self.resource.api_version), ("kind", kind.kind)):
            if came.get(field, expected) != expected:
                raise BadRequest(
                    f"the {field} of the object ({str(came[field])[:100]}) does not match the {field} "
                    f"that the URL stands for ({expected})"
                )
        metadata = {**meta.meta(came)}
        for field, expected in (("namespace", self.target.namespace), ("name", self.target.name)):
            if not expected:
                continue
            if metadata.get(field) not in (expected, "", None):
                raise BadRequest(
                    f"the {field} of the provided object does not match the {field} sent on the request"
                )
            metadata[field] = expected
        return {**came, "apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}

    async def patch(self) -> tuple[object, Patch]:
        """The patch in the body, and how it is to be read. Raises UnsupportedMediaType, BadRequest."""
        custom = self.resource.schema is not None
        accepted = tuple(str(how) for how in Patch if not (custom and how is Patch.STRATEGIC))
        patch = await body.content(self.request, accepted=accepted)
        if isinstance(patch, dict) and patch.get("apiVersion") == self.resource.api_version:
            patch = {**patch, "apiVersion": self.resource.kind.api_version}
        return patch, Patch(self.request.content_type)
