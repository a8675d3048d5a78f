"""Admission webhooks: AdmissionReviews in, decisions out, in the words of CDI's API server (cdi-wire: webhooks)."""

import base64
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import jsonpatch
import orjson
from aiohttp import web

from diskyard import log
from diskyard.api.meta import Obj
from diskyard.api.user import User
from diskyard.errors import ApiError, BadRequest, Cause, DiskyardError
from diskyard.web.bridge import call

LIMIT: Final = 16 << 20
"""Bytes of a review that are read: two objects of 3 MiB, which is what an API server takes, and their escapes."""
_JSON: Final = "application/json"
_VERSIONS: Final = ("admission.k8s.io/v1", "admission.k8s.io/v1beta1")
_UNPROCESSABLE: Final = 422

_log = log.logger("webhook")


@dataclass(frozen=True)
class Review:
    """One request to an API server, before it is carried out."""

    resource: str
    """`datavolumes`."""
    group: str
    operation: str
    """`CREATE`, `UPDATE`, `DELETE`."""
    namespace: str
    user: User
    obj: Obj | None = None
    old: Obj | None = None
    dry_run: bool = False


@dataclass(frozen=True)
class Decision:
    """Whether it may go on: no cause speaks against it."""

    causes: Sequence[Cause] = ()
    obj: Obj | None = None
    """The object as it is to be; None: as it came."""
    warnings: tuple[str, ...] = ()


ALLOWED: Final = Decision()
Judge = Callable[[Review], Decision]
"""Looks things up as it needs to; raises DiskyardError where it cannot tell."""
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def handler(judge: Judge) -> Handler:
    """What answers at a webhook's path."""

    async def answer(request: web.Request) -> web.Response:
        if request.content_type != _JSON:
            return web.Response()
        body = await _body(request)
        if body is None:
            return web.Response(status=413, text=f"a review of more than {LIMIT} bytes")
        try:
            asked = parsed(body)
        except BadRequest as error:
            return web.Response(status=error.code, text=str(error))
        said = await call(_judged, judge, asked)
        return web.Response(body=orjson.dumps(said), content_type=_JSON)

    return answer


@dataclass(frozen=True)
class Asked:
    """A review and what its answer has to repeat."""

    api_version: str
    uid: str
    review: Review


def parsed(body: bytes) -> Asked:
    """The review in a request's body. Raises BadRequest."""
    try:
        said = orjson.loads(body)
        version, request = said["apiVersion"], said["request"]
        resource, who = request["resource"], request.get("userInfo") or {}
        review = Review(
            resource=str(resource["resource"]),
            group=str(resource.get("group") or ""),
            operation=str(request["operation"]),
            namespace=str(request.get("namespace") or ""),
            user=_user(who),
            obj=_object(request.get("object")),
            old=_object(request.get("oldObject")),
            dry_run=request.get("dryRun") is True,
        )
        asked = Asked(str(version), str(request["uid"]), review)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadRequest(f"not an AdmissionReview with a request: {error!r}") from error
    if asked.api_version not in _VERSIONS:
        raise BadRequest(f"expected an AdmissionReview of {' or '.join(_VERSIONS)}, found {version}")
    return asked


def answered(asked: Asked, decision: Decision) -> Obj:
    """The AdmissionReview that says what was decided."""
    response: Obj = {"uid": asked.uid, "allowed": not decision.causes}
    if decision.causes:
        response["status"] = _denial(decision.causes)
    elif decision.obj is not None and asked.review.obj is not None and decision.obj != asked.review.obj:
        patch = jsonpatch.make_patch(asked.review.obj, decision.obj).patch
        response |= {"patchType": "JSONPatch", "patch": base64.b64encode(orjson.dumps(patch)).decode()}
    if decision.warnings:
        response["warnings"] = list(decision.warnings)
    return _review(asked, response)


def _judged(judge: Judge, asked: Asked) -> Obj:
    try:
        return answered(asked, judge(asked.review))
    except DiskyardError as error:
        known = isinstance(error, ApiError) and error.code < 500
        _log.warning("could not judge", resource=asked.review.resource, error=error)
        return _failed(asked, 400 if known else 500, str(error))


def _failed(asked: Asked, code: int, message: str) -> Obj:
    status = {"status": "Failure", "message": message, "code": code}
    return _review(asked, {"uid": asked.uid, "allowed": False, "status": status})


def _denial(causes: Sequence[Cause]) -> Obj:
    """As CDI joins them: a space before each."""
    return {
        "status": "Failure",
        "message": "".join(f" {cause.message}" for cause in causes),
        "details": {"causes": [cause.wire() for cause in causes]},
        "code": _UNPROCESSABLE,
    }


def _review(asked: Asked, response: Obj) -> Obj:
    return {"apiVersion": asked.api_version, "kind": "AdmissionReview", "response": response}


def _object(said: Any) -> Obj | None:
    if said is None:
        return None
    if not isinstance(said, dict):
        raise ValueError("an object is a JSON object")  # noqa: TRY004 - one error for all that is malformed
    return said


def _user(said: Mapping[str, Any]) -> User:
    extra = {str(name): tuple(map(str, values)) for name, values in (said.get("extra") or {}).items()}
    groups = tuple(map(str, said.get("groups") or ()))
    return User(str(said.get("username") or ""), groups, str(said.get("uid") or ""), extra)


async def _body(request: web.Request) -> bytes | None:
    """The body, whatever the application's own limit; None: too long."""
    found = bytearray()
    async for chunk in request.content.iter_any():
        found += chunk
        if len(found) > LIMIT:
            return None
    return bytes(found)
