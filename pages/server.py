"""Serves the pages, and does for them what a browser cannot ask of an API server itself.

A link carries a code that opens the page once, within the hour; the page trades it for a token that lasts a working
day, and keeps that one.
"""

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from diskyard.api import meta, quantity, token
from diskyard.api.meta import CLAIM, DATA_VOLUME, SECRET, STORAGE_CLASS, Key, Obj
from diskyard.api.names import cdi, upload
from diskyard.api.storage import storage_class
from diskyard.api.token import Grant
from diskyard.errors import AlreadyExists, ApiError, BadRequest, DiskyardError, ServerError, Unauthorized
from diskyard.kube.client import Client
from diskyard.kube.reconcile import find
from diskyard.web.bridge import call

LINK_LIFE: Final = 3600.0
"""Seconds."""
SESSION_LIFE: Final = timedelta(hours=12)
_AGAIN: Final = 60.0
"""Seconds in which who has opened a link may ask again."""
NAMESPACE: Final = "default"
_OPERATION: Final = "Page"
SESSION: Final = Grant(_OPERATION, "page", NAMESPACE, resource="pages")
_FOLDER: Final = Path(__file__).parent
FILES: Final = {
    "/": ("index.html", "text/html"),
    "/page.js": ("page.js", "text/javascript"),
    "/page.css": ("page.css", "text/css"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
    "/vendor/tus.min.js": ("vendor/tus.min.js", "text/javascript"),
    "/vendor/LICENSES.txt": ("vendor/LICENSES.txt", "text/plain"),
}
"""Everything that is served as it lies here."""
SERVED: Final = frozenset(name for name, _ in FILES.values())
_BOOT: Final = (_FOLDER / "boot.js").read_bytes()
_CALL: Final = b'<script src="boot.js"></script>'
"""Where a page wants it."""
POLICY: Final = (
    f"default-src 'self'; script-src 'self' 'sha256-{base64.b64encode(hashlib.sha256(_BOOT).digest()).decode()}'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Codes:
    """What links carry: 96 bits of chance, of which only the digest is kept, for an hour and one opener."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[bytes, tuple[float, str]] = {}

    def made(self) -> str:
        """Another one."""
        now, code = self._clock(), secrets.token_urlsafe(12)
        self._known = {each: (end, opener) for each, (end, opener) in self._known.items() if end > now}
        self._known[_digest(code)] = now + LINK_LIFE, ""
        return code

    def redeemed(self, code: str, opener: str = "") -> bool:
        """Whether that is one that is good; then it is not any more, but for its opener, who may not hear of it."""
        now = self._clock()
        end, first = self._known.pop(_digest(code), (0.0, ""))
        good = end > now and first in ("", opener)
        if good and opener:
            self._known[_digest(code)] = min(end, now + _AGAIN), opener
        return good


def _digest(code: str) -> bytes:
    return hashlib.sha256(code.encode()).digest()


def link(codes: Codes, url: str) -> str:
    """The address of the page, with a code in its fragment, which browsers send nowhere by themselves."""
    return f"{url}/#{codes.made()}"


def add_routes(router: web.UrlDispatcher, client: Client, codes: Codes) -> None:
    """Serve the pages for whoever has a link."""
    pages = _Pages(client, codes)
    for path, (name, kind) in FILES.items():
        router.add_get(path, file(name, kind))
    router.add_post("/page/session", answered(pages.session))
    router.add_post("/page/code", answered(pages.code))
    router.add_post("/page/uploads", answered(pages.make))
    router.add_get("/page/uploads/{name}", answered(pages.state))
    router.add_post("/page/uploads/{name}/token", answered(pages.token))


def file(name: str, kind: str, headers: Mapping[str, str] = HEADERS) -> Handler:
    """Answers with a file of ours."""

    async def found(_: web.Request) -> web.StreamResponse:
        content = await call(_content, name)
        return web.Response(body=content, content_type=kind, charset="utf-8", headers=headers)

    return found


def _content(name: str) -> bytes:
    """A file; a page with what begins it in its place."""
    content = (_FOLDER / name).read_bytes()
    return content.replace(_CALL, b"<script>%s</script>" % _BOOT) if name.endswith(".html") else content


def answered(handler: Callable[[web.Request], Awaitable[Any]]) -> Handler:
    """JSON, errors too."""

    async def answered(request: web.Request) -> web.StreamResponse:
        try:
            return web.json_response(await handler(request))
        except ApiError as error:
            return web.json_response({"message": str(error)}, status=error.code)
        except DiskyardError as error:
            return web.json_response({"message": str(error)}, status=400)

    return answered


class _Pages:
    def __init__(self, client: Client, codes: Codes) -> None:
        self._client = client
        self._codes = codes

    async def session(self, request: web.Request) -> Obj:
        """A token for the day, and what there is to choose from; for a code, or for such a token."""
        said = await _said(request)
        code, opener = (str(said.get(field) or "") for field in ("code", "opener"))
        if code and not self._codes.redeemed(code, opener):
            raise Unauthorized("this link has been used already, or is older than an hour")
        if not code:
            await admit(self._client, request)
        classes = await call(self._client.list, STORAGE_CLASS)
        found = [storage_class(each) for each in classes.items]
        return {
            "token": await call(granted, self._client, SESSION, SESSION_LIFE),
            "namespace": NAMESPACE,
            "classes": [{"name": each.name, "default": each.default} for each in found],
        }

    async def code(self, request: web.Request) -> Obj:
        """A code for a link that opens the page in another browser."""
        await admit(self._client, request)
        return {"code": self._codes.made()}

    async def make(self, request: web.Request) -> Obj:
        """A DataVolume that waits for an upload; one that is there already and waits for the same is as good."""
        await admit(self._client, request)
        said = await _said(request)
        name, size, chosen = (str(said.get(field) or "") for field in ("name", "size", "storageClass"))
        quantity.parse(size)
        key = Key(name, NAMESPACE)
        wanted = _data_volume(key, size, chosen)
        found = await call(find, self._client, DATA_VOLUME, key)
        if found is None:
            await call(self._client.create, DATA_VOLUME, wanted)
        elif not _is_waiting(found, wanted, again=said.get("again") is True):
            raise AlreadyExists(f"there is a DataVolume {name} already: choose another name, or delete it")
        return {"name": name}

    async def state(self, request: web.Request) -> Obj:
        """Where it stands."""
        await admit(self._client, request)
        key = Key(request.match_info["name"], NAMESPACE)
        dv = await call(self._client.get, DATA_VOLUME, key)
        claim = await call(find, self._client, CLAIM, key) or {}
        told = [meta.condition(dv, kind) or {} for kind in ("Bound", "Running")]
        messages = [str(each["message"]) for each in told if each.get("message")]
        notes = meta.annotations(claim)
        return {
            "phase": meta.phase(dv),
            "ready": notes.get(cdi.POD_READY) == "true" or meta.phase(dv) == "UploadReady",
            "done": meta.phase(dv) == "Succeeded",
            "message": messages[-1] if messages else "",
            "failure": _failure(notes),
        }

    async def token(self, request: web.Request) -> Obj:
        """A token for the upload itself, for five minutes."""
        await admit(self._client, request)
        grant = Grant(token.UPLOAD, request.match_info["name"], NAMESPACE)
        return {"token": await call(granted, self._client, grant, token.LIFE)}


async def admit(client: Client, request: web.Request) -> None:
    """Nothing for who has no session. Raises Unauthorized."""
    _, _, said = request.headers.get("Authorization", "").partition(" ")
    if (await call(verified, client, said)).operation != _OPERATION:
        raise Unauthorized("this token is for something else")


def verified(client: Client, text: str) -> Grant:
    """What a token that we have signed says. Raises Unauthorized."""
    return token.verified(text, _entry(_keys(client), upload.PUBLIC_KEY))


def _failure(notes: Mapping[str, str]) -> str:
    """When and why the last upload failed, as the claim says; empty where it did not."""
    try:
        last = json.loads(notes.get(cdi.ATTEMPTS, "[]"))[-1]
        return "" if last["reason"] == "Completed" else f"{last['message']} ({last['time']})"
    except (ValueError, LookupError, TypeError):
        return ""


def _data_volume(key: Key, size: str, chosen: str) -> Obj:
    storage: Obj = {"resources": {"requests": {"storage": size}}}
    return {
        "apiVersion": DATA_VOLUME.api_version,
        "kind": DATA_VOLUME.kind,
        "metadata": {
            "name": key.name,
            "namespace": key.namespace,
            "annotations": {cdi.IMMEDIATE_BINDING: ""},
        },
        "spec": {
            "source": {"upload": {}},
            "storage": storage | ({"storageClassName": chosen} if chosen else {}),
        },
    }


def _is_waiting(found: Obj, wanted: Obj, *, again: bool) -> bool:
    """Whether this is the upload that is wanted; `again`: its client knows it, and it may be complete by now."""
    return _asked(found) == _asked(wanted) and (again or meta.phase(found) != "Succeeded")


def _asked(dv: Obj) -> tuple[object, ...]:
    storage = dv["spec"].get("storage") or {}
    size = quantity.parse(str(((storage.get("resources") or {}).get("requests") or {}).get("storage", "0")))
    return (dv["spec"].get("source"), size, storage.get("storageClassName", ""))


async def _said(request: web.Request) -> Obj:
    try:
        found = json.loads(await request.read())
    except ValueError as error:
        raise BadRequest(f"expected JSON: {error}") from error
    if not isinstance(found, dict):
        raise BadRequest("expected a JSON object")
    return found


def granted(client: Client, grant: Grant, life: timedelta) -> str:
    """A token that says so, for so long."""
    return token.signed(grant, _entry(_keys(client), upload.PRIVATE_KEY), datetime.now(UTC), life)


def _keys(client: Client) -> Obj:
    found = find(client, SECRET, Key(upload.SIGNING_KEY, cdi.NAMESPACE))
    if found is None:
        raise ServerError("the key for tokens is not made yet: try again in a moment")
    return found


def _entry(secret: Obj, name: str) -> bytes:
    return base64.b64decode((secret.get("data") or {}).get(name, ""))
