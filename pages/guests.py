"""The page of the guests: who there is, and their consoles and screens as streams.

A stream is opened with a token for one door of one guest, good for a minute: browsers set no headers on WebSockets, and
what stands in an address is kept in logs.
"""

import socket
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Final, Protocol

from aiohttp import web

from diskyard.api import meta
from diskyard.api.meta import INSTANCE, MACHINE, POD, Key, Obj
from diskyard.api.names import derived, kubevirt
from diskyard.api.token import Grant
from diskyard.errors import BadRequest, Conflict, DiskyardError, NotFound, Unauthorized
from diskyard.kube.client import Client
from diskyard.kube.reconcile import find
from diskyard.web import websocket
from diskyard.web.bridge import call
from diskyard.web.relay import relay
from pages import server
from pages.server import answered, file

LIFE: Final = timedelta(minutes=1)
DOORS: Final[Mapping[str, str]] = {
    "console": "autoattachSerialConsole",
    "vnc": "autoattachGraphicsDevice",
}
"""What can be opened, and the switch of a guest that has none."""
_OPERATION: Final = "Door"
_VENDOR: Final = Path(__file__).parent / "vendor"
_KINDS: Final = {".js": "text/javascript", ".css": "text/css", ".txt": "text/plain"}
HEADERS: Final = {
    **server.HEADERS,
    # The terminal writes its own styles, the screen its own cursors.
    "Content-Security-Policy": f"{server.POLICY}; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:",
}


class Guests(Protocol):
    """The ways to guests, by the uid of their launcher's pod; vm_runtime.agent.doors is one."""

    def stream(self, pod: str, door: str) -> socket.socket: ...


def add_routes(router: web.UrlDispatcher, client: Client, guests: Guests) -> None:
    """Serve the page beside the others, for who has a session of theirs."""
    pages = _Pages(client, guests)
    router.add_get("/guests", file("guests.html", "text/html", HEADERS))
    router.add_get("/guests.js", file("guests.js", "text/javascript", HEADERS))
    for path in sorted(_VENDOR.rglob("*")):
        name = str(path.relative_to(_VENDOR.parent))
        if path.suffix in _KINDS and name not in server.SERVED:
            router.add_get(f"/{name}", file(name, _KINDS[path.suffix], HEADERS))
    router.add_get("/page/guests", answered(pages.listed))
    router.add_post("/page/guests/{namespace}/{name}/{door}/token", answered(pages.token))
    router.add_get("/page/guests/{namespace}/{name}/{door}", pages.opened)


class _Pages:
    def __init__(self, client: Client, guests: Guests) -> None:
        self._client = client
        self._guests = guests

    async def listed(self, request: web.Request) -> Obj:
        """Every guest, with its state."""
        await server.admit(self._client, request)
        machines = await call(self._client.list, MACHINE)
        instances = await call(self._client.list, INSTANCE)
        found = {meta.key(each): _shown(each, {}) for each in machines.items}
        for each in instances.items:
            key = meta.key(each)
            found[key] = {**_shown(each, each), **({"state": found[key]["state"]} if key in found else {})}
        return {"guests": [found[key] for key in sorted(found, key=lambda key: (key.namespace, key.name))]}

    async def token(self, request: web.Request) -> Obj:
        """For one door, for a minute."""
        await server.admit(self._client, request)
        key, door = _asked(request)
        grant = Grant(_OPERATION, key.name, key.namespace, resource=door)
        return {"token": await call(server.granted, self._client, grant, LIFE)}

    async def opened(self, request: web.Request) -> web.StreamResponse:
        """The stream itself."""
        try:
            key, door = _asked(request)
            said = await call(server.verified, self._client, websocket.token(request.headers))
            if said != Grant(_OPERATION, key.name, key.namespace, resource=door):
                raise Unauthorized("this token is for something else")
            stream = await call(self._stream, key, door)
        except DiskyardError as error:
            code = getattr(error, "code", 503)
            return web.json_response({"message": str(error)}, status=code)
        return await relay(request, stream, kubevirt.STREAM_PROTOCOL)

    def _stream(self, key: Key, door: str) -> socket.socket:
        obj = find(self._client, INSTANCE, key)
        if obj is None or meta.phase(obj) != "Running":
            raise Conflict(f"{key} does not run")
        devices = ((meta.spec(obj).get("domain") or {}).get("devices")) or {}
        if devices.get(DOORS[door]) is False:
            raise BadRequest(f"{key} has no {door}: its {DOORS[door]} is false")
        pod = find(self._client, POD, Key(derived.launcher_pod(key.name, meta.uid(obj)), key.namespace))
        if pod is None:
            raise NotFound(f"the launcher of {key} is gone")
        return self._guests.stream(meta.uid(pod), door)


def _asked(request: web.Request) -> tuple[Key, str]:
    door = request.match_info["door"]
    if door not in DOORS:
        raise BadRequest(f"expected one of {', '.join(DOORS)}")
    return Key(request.match_info["name"], request.match_info["namespace"]), door


def _shown(obj: Obj, instance: Obj) -> Obj:
    """What the page shows of a guest."""
    status = meta.status(obj)
    interfaces = meta.status(instance).get("interfaces") or ()
    return {
        "name": meta.name(obj),
        "namespace": meta.namespace(obj),
        "state": str(status.get("printableStatus") or status.get("phase") or ""),
        "running": meta.phase(instance) == "Running",
        "address": next((str(each["ipAddress"]) for each in interfaces if each.get("ipAddress")), ""),
    }
