"""What an API server asks of a node on its wire: logs, ports of pods, and for other nodes the doors of guests.

The paths and the words are a kubelet's (`pkg/kubelet/server`). Who asks shows a certificate of the cluster's
authority for clients; whether they may is asked of the cluster, and remembered for a while.
"""

import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import orjson
from aiohttp import web

from diskyard import log
from diskyard.api import meta
from diskyard.api.meta import Key, Kind
from diskyard.api.names import kubevirt
from diskyard.errors import ApiError, BadRequest, DiskyardError, ServerError
from diskyard.kube.client import Client
from diskyard.web.bridge import call
from diskyard.web.relay import relay
from standalone.wire import ports, tunnels
from standalone.wire.answer import reply
from standalone.wire.doors import Guests
from standalone.wire.logs import Logs, LogStreams

REVIEW: Final = Kind(
    "authorization.k8s.io", "v1", "SubjectAccessReview", "subjectaccessreviews", namespaced=False
)
REMEMBERED: Final = {True: 300.0, False: 30.0}
"""Seconds for which an answer holds, as with a kubelet."""
_MOST: Final = 1000
"""So many answers are remembered."""

Who = tuple[str, tuple[str, ...]]
_log = log.logger("kubelet")


def application(client: Client, logs: Logs, guests: Callable[[], Guests], node: str) -> web.Application:
    """The node's server. Its TLS must demand certificates of the cluster's clients."""
    streams = LogStreams(client, logs)

    async def container_log(request: web.Request) -> web.StreamResponse:
        said = request.match_info
        return await streams.stream(request, Key(said["pod"], said["namespace"]), said["container"])

    async def order(request: web.Request) -> web.StreamResponse:
        said = request.match_info
        wishes = await request.json(loads=orjson.loads) if request.body_exists else {}
        return reply({"said": await call(lambda: guests().order(said["pod"], said["verb"], **wishes))})

    async def stream(request: web.Request) -> web.StreamResponse:
        said = request.match_info
        found = await call(lambda: guests().stream(said["pod"], said["door"]))
        return await relay(request, found, kubevirt.STREAM_PROTOCOL)

    async def forward(request: web.Request) -> web.StreamResponse:
        said = request.match_info
        return await tunnels.forwarded(request, client, Key(said["pod"], said["namespace"]))

    async def port(request: web.Request) -> web.StreamResponse:
        said = request.match_info
        asked = ports.wanted((said["number"], said["protocol"]))
        found = await call(lambda: guests().port(said["pod"], asked))
        return await relay(request, found, kubevirt.STREAM_PROTOCOL)

    async def close(_: web.Application) -> None:
        streams.close()

    app = web.Application(middlewares=[_worded, Guard(client, node).middleware()])
    app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", container_log)
    app.router.add_put("/guests/{pod:[0-9a-f-]+}/{verb}", order)
    app.router.add_get("/guests/{pod:[0-9a-f-]+}/{door:console|vnc}", stream)
    app.router.add_get("/portForward/{namespace}/{pod}", forward)
    app.router.add_post("/portForward/{namespace}/{pod}", forward)
    app.router.add_get("/guests/{pod:[0-9a-f-]+}/portforward/{number}/{protocol}", port)
    app.router.add_get("/healthz", _alive)
    app.router.add_route("*", "/{rest:.*}", _elsewhere)
    app.on_shutdown.append(close)
    return app


class Guard:
    """Lets in whom the cluster's roles allow to get (to order: to update) `nodes/proxy` of this node."""

    def __init__(self, client: Client, node: str) -> None:
        self._client = client
        self._node = node
        self._known: dict[tuple[Who, str], tuple[bool, float]] = {}

    def middleware(self) -> Any:
        """To stand in front of every handler."""

        @web.middleware
        async def guarded(
            request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
        ) -> web.StreamResponse:
            asks, verb = who(request), "update" if request.method == "PUT" else "get"
            if not await call(self.allows, asks, verb):
                told = f"Forbidden (user={asks[0]}, verb={verb}, resource=nodes, subresource=proxy)"
                raise web.HTTPForbidden(text=told)
            return await handler(request)

        return guarded

    def allows(self, asks: Who, verb: str) -> bool:
        """Whether they may, by what the cluster says or said a moment ago. Raises ApiError."""
        if not asks[0]:
            return False
        allowed, until = self._known.get((asks, verb), (False, 0.0))
        if time.monotonic() < until:
            return allowed
        wanted = {
            "verb": verb,
            "version": "v1",
            "resource": "nodes",
            "subresource": "proxy",
            "name": self._node,
        }
        spec = {"user": asks[0], "groups": list(asks[1]), "resourceAttributes": wanted}
        allowed = bool(meta.status(self._client.create(REVIEW, {"spec": spec})).get("allowed"))
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[asks, verb] = (allowed, time.monotonic() + REMEMBERED[allowed])
        return allowed


def who(request: web.Request) -> Who:
    """The user and the groups of the certificate that was shown (its common name and organizations)."""
    session = request.transport.get_extra_info("ssl_object") if request.transport else None
    shown = (session.getpeercert() if session else None) or {}
    said = [pair for part in shown.get("subject", ()) for pair in part]
    name = next((text for field, text in said if field == "commonName"), "")
    groups = tuple(text for field, text in said if field == "organizationName")
    return name, (*groups, "system:authenticated")


async def _alive(_: web.Request) -> web.StreamResponse:
    return web.Response(text="ok")


async def _elsewhere(_: web.Request) -> web.StreamResponse:
    raise web.HTTPNotFound(
        text="this node serves logs of containers, ports of pods and doors of guests: no exec or attach yet"
    )


@web.middleware
async def _worded(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Every failure as one sentence: the API server passes it on."""
    try:
        return await handler(request)
    except ApiError as error:
        _log.debug("refused", path=request.path, error=error)
        return web.Response(status=error.code, text=str(error))
    except DiskyardError as error:
        return web.Response(status=ServerError.code, text=str(error))
    except orjson.JSONDecodeError as error:
        return web.Response(status=BadRequest.code, text=f"the wishes in the body are not JSON: {error}")
