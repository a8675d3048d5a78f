"""`subresources.kubevirt.io` on the wire: what virtctl does to machines and guests. On a cluster virt-api answers."""

import socket
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, TypeVar

import orjson
from aiohttp import web

from diskyard import VERSION
from diskyard.api import meta
from diskyard.api.meta import INSTANCE, MACHINE, POD, Key, Kind, Obj
from diskyard.api.names import derived, kubevirt
from diskyard.errors import (
    ApiError,
    BadRequest,
    Conflict,
    DiskyardError,
    NotFound,
    ServerError,
)
from diskyard.kube.client import Client
from diskyard.kube.reconcile import Action, find
from diskyard.web import websocket
from diskyard.web.bridge import call
from diskyard.web.relay import relay
from standalone.wire import ports
from standalone.wire.answer import reply
from standalone.wire.catalogue import missing, not_allowed
from standalone.wire.ports import PORTFORWARD, Port
from standalone.wire.target import Target
from vm_runtime.controller import hotplug, subresources

TRIES: Final = 5
"""How often a change is tried on an object that changes meanwhile."""
ORDERS: Final = ("pause", "unpause", "softreboot", "reset")
STREAMS: Final = ("console", "vnc")
FREEZING: Final = ("freeze", "unfreeze")
LOOKS: Final = ("guestosinfo", "userlist", "filesystemlist")
"""What the agent inside a guest is asked."""
DOMAIN: Final = "domain"
"""Ours: the libvirt XML that runs."""
ACCEPTED: Final = 202
CHANGES: Final = {**subresources.VERBS, "addvolume": hotplug.add, "removevolume": hotplug.remove}
PLUGS: Final = {"addvolume": hotplug.add_to_instance, "removevolume": hotplug.remove_from_instance}
PARTS: Final[Mapping[Kind, Mapping[str, str]]] = {
    MACHINE: {**dict.fromkeys(CHANGES, "update"), PORTFORWARD: "get"},
    INSTANCE: {
        **dict.fromkeys((*ORDERS, *FREEZING, *PLUGS), "update"),
        **dict.fromkeys((*STREAMS, *LOOKS, DOMAIN, PORTFORWARD), "get"),
    },
}
"""What can be done to each kind, and the verb that one needs leave for."""


T = TypeVar("T")


class Guests(Protocol):
    """The ways to guests, by the uid of their launcher's pod; standalone.nearguests is one."""

    def order(self, pod: str, verb: str, **wishes: object) -> Any: ...
    def stream(self, pod: str, door: str) -> socket.socket: ...
    def port(self, pod: str, port: Port) -> socket.socket: ...


Ways = Callable[[Obj], Guests]
"""The guests of the node where that pod is."""


class Doors:
    """Answers below `/apis/subresources.kubevirt.io`."""

    def __init__(self, client: Client, ways: Ways) -> None:
        self._client = client
        self._ways = ways

    @staticmethod
    def asked(wanted: Target) -> bool:
        """Whether a path leads here. Raises NotFound for one that leads nowhere."""
        if wanted.group != kubevirt.DOORS:
            return False
        if wanted.version not in kubevirt.DOOR_VERSIONS:
            served = ", ".join(kubevirt.DOOR_VERSIONS)
            raise NotFound(f"{kubevirt.DOORS} is served in {served}, found {wanted.version[:32]}")
        return True

    async def answer(self, request: web.Request, wanted: Target) -> web.StreamResponse:
        """The answer to a request that leads here. Raises ApiError."""
        if wanted.tail and wanted.subresource != PORTFORWARD:
            raise missing()
        match wanted.plural, wanted.subresource:
            case "version", "":
                _only(request, "GET")
                return reply({"gitVersion": f"v{VERSION}", "platform": "linux/amd64"})
            case MACHINE.plural, verb if verb in CHANGES:
                return await self._changed(request, wanted)
            case INSTANCE.plural, verb if verb in PLUGS:
                return await self._changed(request, wanted)
            case INSTANCE.plural, verb if verb in ORDERS:
                return await self._ordered(request, wanted)
            case ((MACHINE.plural | INSTANCE.plural), part) if part == PORTFORWARD:
                return await self._streamed(request, wanted)
            case INSTANCE.plural, part if part in LOOKS:
                _only(request, "GET")
                return reply(await call(self._look, wanted))
            case INSTANCE.plural, verb if verb in FREEZING:
                return await self._ordered(request, wanted)
            case INSTANCE.plural, door if door in STREAMS:
                return await self._streamed(request, wanted)
            case INSTANCE.plural, part if part == DOMAIN:
                _only(request, "GET")
                return web.Response(text=await call(self._domain, wanted), content_type="application/xml")
            case ((MACHINE.plural | INSTANCE.plural), part) if part:
                known = next(parts for kind, parts in PARTS.items() if kind.plural == wanted.plural)
                raise NotFound(f"{wanted.plural}/{part} is not supported yet: {', '.join(known)} are")
        raise missing()

    async def _changed(self, request: web.Request, wanted: Target) -> web.StreamResponse:
        _only(request, "PUT")
        options = await _options(request)
        await call(self._change, wanted, options)
        return web.Response(status=ACCEPTED)

    def _change(self, wanted: Target, options: Obj) -> None:
        for left in reversed(range(TRIES)):
            actions = self._changes(wanted, options)
            if options.get("dryRun"):
                return
            try:
                for action in actions:
                    action.carry_out(self._client)
            except Conflict:
                if left:
                    continue
                raise
            return

    def _changes(self, wanted: Target, options: Obj) -> tuple[Action, ...]:
        if wanted.plural == INSTANCE.plural:
            return PLUGS[wanted.subresource](_found(self._client, INSTANCE, wanted.key), options)
        obj = _found(self._client, MACHINE, wanted.key)
        instance = find(self._client, INSTANCE, wanted.key)
        mine = instance if instance is not None and meta.owned_by(instance, obj) else None
        return CHANGES[wanted.subresource](subresources.world(obj, mine), options)

    async def _ordered(self, request: web.Request, wanted: Target) -> web.StreamResponse:
        _only(request, "PUT")
        options = await _options(request)
        await call(self._order, wanted, options)
        return web.Response(status=ACCEPTED)

    def _order(self, wanted: Target, options: Obj) -> None:
        obj = _found(self._client, INSTANCE, wanted.key)
        subresources.check_order(obj, wanted.subresource)
        wishes = subresources.wishes(wanted.subresource, options)
        if not options.get("dryRun"):
            self._have(obj, wanted.subresource, **wishes)

    def _look(self, wanted: Target) -> Obj:
        obj = _found(self._client, INSTANCE, wanted.key)
        subresources.check_order(obj, wanted.subresource)
        return subresources.shown(wanted.subresource, self._have(obj, wanted.subresource))

    def _domain(self, wanted: Target) -> str:
        obj = _found(self._client, INSTANCE, wanted.key)
        if meta.phase(obj) != "Running":
            raise subresources.refused(INSTANCE, wanted.key, "VMI is not running")
        return str(self._have(obj, DOMAIN))

    async def _streamed(self, request: web.Request, wanted: Target) -> web.StreamResponse:
        _only(request, "GET")
        if not websocket.wanted(request.headers):
            raise BadRequest(
                f"{wanted.subresource} is a stream: expected an upgrade to a WebSocket, found none"
            )
        stream = await call(self._stream, wanted)
        return await relay(request, stream, kubevirt.STREAM_PROTOCOL)

    def _stream(self, wanted: Target) -> socket.socket:
        obj = _found(self._client, INSTANCE, wanted.key)
        phase = meta.phase(obj) or "Pending"
        if phase != "Running":
            # virtctl tries again for as long as this is a 400.
            raise BadRequest(
                f"Unable to connect to {wanted.subresource} because phase is {phase} instead of Running"
            )
        if wanted.subresource == PORTFORWARD:
            port, pod = ports.wanted(wanted.tail), self._launcher(obj)
            ports.check_addressed(obj)
            return _told(lambda: self._ways(pod).port(meta.uid(pod), port))
        _check_attached(obj, wanted.subresource)
        pod = self._launcher(obj)
        return _told(lambda: self._ways(pod).stream(meta.uid(pod), wanted.subresource))

    def _have(self, obj: Obj, verb: str, **wishes: object) -> Any:
        """What the guest's launcher answers when it is told to do something."""
        pod = self._launcher(obj)
        return _told(lambda: self._ways(pod).order(meta.uid(pod), verb, **wishes))

    def _launcher(self, obj: Obj) -> Obj:
        key = Key(derived.launcher_pod(meta.name(obj), meta.uid(obj)), meta.namespace(obj))
        return _found(self._client, POD, key)


def _found(client: Client, kind: Kind, key: Key) -> Obj:
    found = find(client, kind, key)
    if found is None:
        details = {"name": key.name, "group": kind.group, "kind": kind.plural}
        raise NotFound(f'{kind.singular}.{kind.group} "{key.name}" not found', details=details)
    return found


def _check_attached(obj: Obj, door: str) -> None:
    switch = {"console": "autoattachSerialConsole", "vnc": "autoattachGraphicsDevice"}[door]
    devices = ((meta.spec(obj).get("domain") or {}).get("devices")) or {}
    if devices.get(switch) is False:
        raise BadRequest(f"the guest has no {door}: its spec.domain.devices.{switch} is false")


def _told(ask: Callable[[], T]) -> T:
    try:
        return ask()
    except ApiError:
        raise
    except DiskyardError as failure:
        raise ServerError(str(failure)) from failure


def _only(request: web.Request, method: str) -> None:
    if request.method != method:
        raise not_allowed()


async def _options(request: web.Request) -> Obj:
    """The body, which old clients leave out, and new ones send without saying what it is. Raises BadRequest."""
    text = await request.read()
    try:
        said = orjson.loads(text) if text.strip() else {}
    except orjson.JSONDecodeError as wrong:
        raise BadRequest(f"the options in the body are not JSON: {wrong}") from wrong
    if not isinstance(said, dict):
        raise BadRequest("the options in the body are not an object")
    return said
