"""What goes back: in which form it is wanted, and how it is written."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson
from aiohttp import web

from diskyard.errors import ApiError

JSON = "application/json"
_PLAIN = (JSON, "application/*", "*/*", "")


class Shape(StrEnum):
    """Ways to show objects; the values are Kubernetes' names for them."""

    WHOLE = ""
    TABLE = "Table"
    PARTIAL = "PartialObjectMetadata"
    PARTIAL_LIST = "PartialObjectMetadataList"


class NotAcceptable(ApiError):
    """406: no form of the answer is one that the client takes."""

    code = 406
    reason = "NotAcceptable"


@dataclass(frozen=True)
class Form:
    """A shape and, for shapes of meta.k8s.io, its version."""

    shape: Shape = Shape.WHOLE
    version: str = "v1"


def form(accept: str) -> Form:
    """The first form in an Accept header that we can write. Raises NotAcceptable."""
    for wanted in accept.split(","):
        kind, *rest = (part.strip() for part in wanted.split(";"))
        parameters = dict(part.split("=", 1) for part in rest if "=" in part)
        shape = parameters.get("as", "")
        if kind not in _PLAIN or (shape and parameters.get("g") != "meta.k8s.io"):
            continue
        if shape in list(Shape):
            return Form(Shape(shape), parameters.get("v", "v1"))
    raise NotAcceptable(f"only the following media types are accepted: {JSON}")


def encoded(content: Any) -> bytes:
    """The content as JSON."""
    return orjson.dumps(content)


def reply(content: Any, code: int = 200, warnings: tuple[str, ...] = ()) -> web.Response:
    """A JSON answer; `content` may be JSON already. Each warning is shown by kubectl on a line of its own."""
    body = content if isinstance(content, bytes) else encoded(content)
    answer = web.Response(body=body, status=code, content_type=JSON)
    for warning in warnings:
        warn(answer, warning)
    return answer


def warn(answer: web.StreamResponse, text: str) -> None:
    """Let the answer carry a warning beside what it says."""
    answer.headers.add("Warning", f'299 - "{_quoted(text)}"')


def refusal(error: ApiError) -> web.Response:
    """The error as a Status."""
    answer = reply(error.status(), error.code)
    if error.code == 429:
        answer.headers["Retry-After"] = "1"
    return answer


def success(kind: str, name: str, uid: str, group: str) -> dict[str, Any]:
    """The Status that says that an object is gone."""
    details = {"name": name, **({"group": group} if group else {}), "kind": kind, "uid": uid}
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}


def _quoted(text: str) -> str:
    return "".join(char for char in text.replace("\\", "\\\\").replace('"', '\\"') if char.isprintable())
