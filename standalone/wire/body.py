"""What comes in: bodies and query parameters, bounded and checked before anything else sees them."""

from typing import Any, Final

import orjson
import yaml
from aiohttp import web

from diskyard.api.meta import Obj
from diskyard.errors import ApiError, BadRequest
from standalone.wire import protobuf
from standalone.wire.answer import JSON

BODY_LIMIT: Final = 3 * 1024 * 1024
DEPTH_LIMIT: Final = 100
YAML: Final = "application/yaml"
_Loader: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class UnsupportedMediaType(ApiError):
    """415: the body is of a type that we do not read here."""

    code = 415
    reason = "UnsupportedMediaType"


def unsupported(accepted: tuple[str, ...]) -> UnsupportedMediaType:
    """The refusal of a type that is none of those."""
    return UnsupportedMediaType(
        f"the body of the request was in an unknown format - accepted media types include: {', '.join(accepted)}"
    )


async def content(
    request: web.Request, *, accepted: tuple[str, ...] = (JSON, YAML, protobuf.MEDIA_TYPE)
) -> Any:
    """The body, read. Raises BadRequest, UnsupportedMediaType; too large: HTTPRequestEntityTooLarge."""
    kind = request.content_type if request.headers.get("Content-Type") else JSON
    if kind not in accepted:
        raise unsupported(accepted)
    raw = await request.read()
    if kind == protobuf.MEDIA_TYPE:
        return protobuf.obj(raw)
    read = _yaml(raw) if kind.endswith("yaml") else _json(raw)
    if not _shallow(read):
        raise BadRequest(f"the object is nested more than {DEPTH_LIMIT} levels deep")
    return read


async def obj(request: web.Request, *, accepted: tuple[str, ...] = (JSON, YAML, protobuf.MEDIA_TYPE)) -> Obj:
    """The body, as an object."""
    read = await content(request, accepted=accepted)
    if not isinstance(read, dict) or not isinstance(read.get("metadata", {}), dict | None):
        raise BadRequest("the body of the request is not an object with apiVersion, kind and metadata")
    return {**read, "metadata": read.get("metadata") or {}}


def is_json(request: web.Request) -> bool:
    """Whether the body is said to be JSON, of whatever kind."""
    return not request.headers.get("Content-Type") or request.content_type.endswith("json")


def flag(request: web.Request, name: str) -> bool:
    """Whether a query parameter says yes."""
    return request.query.get(name, "").lower() in ("true", "1", "t")


def number(request: web.Request, name: str) -> int | None:
    """A query parameter that counts something. Raises BadRequest."""
    text = request.query.get(name)
    if not text:
        return None
    if not text.isdecimal() or len(text) > 18:
        raise BadRequest(f"{name}: expected a whole number from 0 on, found {text[:60]!r}")
    return int(text)


def _json(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the body of the request is not JSON: {error}") from error


def _yaml(raw: bytes) -> Any:
    try:
        depth = 0
        for event in yaml.parse(raw, _Loader):
            if isinstance(event, yaml.AliasEvent):
                raise BadRequest("the body of the request has YAML aliases: write the parts out")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > DEPTH_LIMIT:
                raise BadRequest(f"the object is nested more than {DEPTH_LIMIT} levels deep")
        return orjson.loads(orjson.dumps(yaml.load(raw, _Loader)))
    except (yaml.YAMLError, orjson.JSONEncodeError, ValueError) as error:
        raise BadRequest(f"the body of the request is not YAML: {error}") from error


def _shallow(value: Any, left: int = DEPTH_LIMIT) -> bool:
    if isinstance(value, dict):
        return left > 0 and all(_shallow(item, left - 1) for item in value.values())
    if isinstance(value, list):
        return left > 0 and all(_shallow(item, left - 1) for item in value)
    return True
