"""Requests and answers as any HTTP client sees them, and the form in which two servers' answers can be compared."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import urllib3

from diskyard.kube.http import HttpClient

JSON = "application/json"
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"

HEADERS = ("Content-Type", "Cache-Control", "Warning", "Retry-After", "Location", "Allow", "WWW-Authenticate")
"""What clients read; dates, lengths and the server's own traces are not compared."""
_UUID = re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
_TIME = re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_VERSION = re.compile(r'("?resourceVersion"?: ?)"\d+"')
_AGE = re.compile(r"^\d{1,2}s$")
_ECHO = re.compile(r"(Invalid value:) \"\{\\\".*", re.DOTALL)
"""A refusal that says back the whole object."""
_RECORD = re.compile(r"(in record) \(\d+\)")
_CHECKS = re.compile(r"(\[\+\](?!ping )\S+ ok\n)+")
"""What a server looks at in itself, beside the one check that all have."""
_APART = ("serverAddressByClientCIDRs", "jwks_uri")
"""What says where a server is."""
_KEY = ("kid", "n", "x", "y")
"""Of a public key, what no two servers have in common."""
_UNNAMED = {"resourceVersion": "VERSION", "continue": "CONTINUE"}


@dataclass(frozen=True)
class Server:
    """Where a server is, and how to be let in as its administrator."""

    url: str
    token: str
    authority: Path
    kubeconfig: Path
    client: HttpClient
    apart: Callable[[str, str], set[int]] = lambda chapter, sentence: set()
    """Which requests of which story it answers otherwise than recorded, on purpose."""


@dataclass(frozen=True)
class Request:
    """One request; PLACE in its path and body stands for the namespace of the story that it is part of."""

    method: str
    path: str
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """What came back, in the form that is the same for every server that does the same."""

    code: int
    headers: Mapping[str, str]
    body: Any

    def wire(self) -> dict[str, Any]:
        """The answer as a recording has it."""
        return {"code": self.code, "headers": dict(self.headers), "body": self.body}


class Line:
    """A connection to a server, for raw requests."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.apart = server.apart
        self._pool = urllib3.PoolManager(ca_certs=str(server.authority), retries=False)

    def close(self) -> None:
        """Give the sockets back."""
        self._pool.clear()

    def send(self, request: Request, place: str) -> tuple[int, Mapping[str, str], bytes]:
        """The answer as it came."""
        answer = self._sent(request, place, whole=True)
        return answer.status, answer.headers, answer.data

    def follow(self, request: Request, place: str) -> Iterator[Any]:
        """The lines of a watch, each as it comes, until the server or the caller has enough."""
        answer = self._sent(request, place, whole=False)
        try:
            yield from (json.loads(line) for line in answer)
        finally:
            answer.close()

    def _sent(self, request: Request, place: str, *, whole: bool) -> urllib3.BaseHTTPResponse:
        raw = request.body
        if raw is not None and not isinstance(raw, bytes):
            raw = json.dumps(raw).encode()
        said = {"Authorization": f"Bearer {self.server.token}", "Accept": JSON, **request.headers}
        if raw is not None:
            raw = raw.replace(b"PLACE", place.encode())
            said.setdefault("Content-Type", JSON)
        sent = {name: value for name, value in said.items() if value}
        path = self.server.url + request.path.replace("PLACE", place)
        return self._pool.request(
            request.method, path, body=raw, headers=sent, redirect=False, preload_content=whole
        )

    def ask(self, request: Request, place: str) -> Answer:
        """The answer in comparable form."""
        code, headers, raw = self.send(request, place)
        chosen = {name: headers[name] for name in HEADERS if name in headers}
        return Answer(code, {n: plain(value, place) for n, value in chosen.items()}, content(raw, place))


def content(raw: bytes, place: str) -> Any:
    """A body in comparable form: JSON where it is, text else."""
    try:
        return plain(json.loads(raw), place)
    except ValueError:
        return plain(raw.decode("utf-8", "replace"), place)


def plain(value: Any, place: str, name: str = "") -> Any:
    """Without times, uids, revisions and the name of the namespace."""
    if isinstance(value, dict):
        result = {field: plain(inner, place, field) for field, inner in value.items() if field not in _APART}
        if name == "managedFields":
            result.pop("time", None)
        if "kty" in value:
            result = {field: inner for field, inner in result.items() if field not in _KEY}
        if name == "columnDefinitions":
            result.pop("description", None)
        if value.get("kind") == "Status" and "causes" in value.get("details", {}):
            result = _one_order(result)
        if "generateName" in result and result.get("name", "").startswith(result["generateName"]):
            result["name"] = f"{result['generateName']}GENERATED"
        return result
    if isinstance(value, list):
        items = [plain(item, place, name) for item in value]
        return sorted(items, key=_author) if name == "managedFields" else items
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if not isinstance(value, str):
        return value
    if name in _UNNAMED and value:
        return _UNNAMED[name]
    text = _TIME.sub("TIME", _UUID.sub("UID", value)).replace(place, "PLACE")
    text = _AGE.sub("AGE", _ECHO.sub(r"\1 ECHO", text))
    text = _CHECKS.sub("CHECKS\n", text)
    text = _RECORD.sub(r"\1 (VERSION)", text)
    return _VERSION.sub(r'\1"VERSION"', text)


def _author(entry: Any) -> str:
    """In which order authors are compared; servers order them by time."""
    return " ".join(
        str(entry.get(field, "")) for field in ("operation", "manager", "subresource", "apiVersion")
    )


def _one_order(status: dict[str, Any]) -> dict[str, Any]:
    """A Status with its causes in one order, each once: a real server goes through a schema's fields in any order."""
    told = {json.dumps(cause, sort_keys=True): cause for cause in status["details"]["causes"]}
    causes = [told[key] for key in sorted(told)]
    before = status["message"].split(": [")[0] if len(causes) > 1 else status["message"]
    return {**status, "message": before, "details": {**status["details"], "causes": causes}}
