"""One request about one resource: what it wants, in the store's terms."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from diskyard.api import meta
from diskyard.api.meta import Obj
from diskyard.api.user import User
from diskyard.errors import BadRequest
from diskyard.kube.client import Patch, Selection
from standalone.store import convert
from standalone.store.page import Asking
from standalone.wire import body
from standalone.wire.answer import Form, form
from standalone.wire.catalogue import Resource
from standalone.wire.target import Target

_SERVER_SIDE_APPLY = ("application/apply-patch+yaml", "application/apply-patch+cbor")
USER: Final = web.RequestKey("user", User)
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
        came = await body.obj(self.request)
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
        if self.request.content_type in _SERVER_SIDE_APPLY:
            raise body.UnsupportedMediaType(
                "server-side apply is not served; use kubectl apply without --server-side"
            )
        custom = self.resource.schema is not None
        accepted = tuple(str(how) for how in Patch if not (custom and how is Patch.STRATEGIC))
        patch = await body.content(self.request, accepted=accepted)
        if isinstance(patch, dict) and patch.get("apiVersion") == self.resource.api_version:
            patch = {**patch, "apiVersion": self.resource.kind.api_version}
        return patch, Patch(self.request.content_type)
