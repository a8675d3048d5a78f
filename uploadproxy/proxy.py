"""The public end of uploads: checks the token, finds the claim's server, and hands the body through as it comes.

It keeps nothing: any number of proxies stand side by side, and one that restarts has forgotten nothing.
"""

import asyncio
import html
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

from aiohttp import (
    ClientConnectorError,
    ClientError,
    ClientSession,
    ClientSSLError,
    ClientTimeout,
    TCPConnector,
    web,
)
from multidict import CIMultiDict

from diskyard.api.names import upload
from diskyard.api.token import Grant
from diskyard.errors import DiskyardError, Unauthorized
from diskyard.log import logger
from diskyard.web import connection
from diskyard.web.bridge import call
from uploadproxy import forward, tus
from uploadproxy.forward import TooSlow, Where
from uploadproxy.limits import USUAL, Limits, told
from uploadproxy.trust import Finished, NotReady, Server, Trust

_BEARER: Final = re.compile(r"(?i)Bearer\s+([A-Za-z0-9\-._~+/]+)")
_PATHS: Final = (upload.SYNC, upload.ASYNC, upload.FORM, upload.FORM_ASYNC)
_HOP: Final = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding",
     "upgrade", "host", "authorization", "expect", "cookie", "origin", "server", "date"}
)  # fmt: skip
_MEANT: Final = ("PATCH", "DELETE", "HEAD")
_CHUNK: Final = 256 << 10
_POLL: Final = 0.25

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
log = logger("uploadproxy")


def application(trust: Trust, limits: Limits = USUAL) -> web.Application:
    """CDI's paths and tus'."""
    proxy = _Proxy(trust, limits)
    app = web.Application(middlewares=[_open])
    app.router.add_get("/healthz", _alive)
    for version in upload.VERSIONS:
        for path in _PATHS:
            app.router.add_route("*", f"/{version}/{path}", proxy.single)
    app.router.add_route("OPTIONS", upload.UPLOADS + "{rest:.*}", _options)
    app.router.add_route("*", upload.UPLOADS, proxy.resumable)
    app.router.add_route("*", upload.UPLOADS + "/{name:[0-9a-f]{32}}", proxy.resumable)
    app.on_response_prepare.append(connection.close_after)
    app.cleanup_ctx.append(proxy.connected)
    return app


async def _alive(_: web.Request) -> web.StreamResponse:
    return web.Response(text="OK")


async def _options(_: web.Request) -> web.StreamResponse:
    return web.Response(status=204, headers=tus.ABILITIES)


@web.middleware
async def _open(request: web.Request, handler: Handler) -> web.StreamResponse:
    """CORS: a token is all that is needed, from any page."""
    if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
        answer: web.StreamResponse = web.Response(status=204)
        answer.headers["Access-Control-Allow-Methods"] = "GET, POST, HEAD, PATCH, DELETE, OPTIONS"
        wanted = request.headers.get("Access-Control-Request-Headers", "*")
        answer.headers["Access-Control-Allow-Headers"] = wanted
        answer.headers["Access-Control-Max-Age"] = "86400"
    else:
        answer = await handler(request)
    if not answer.prepared:
        _allow(answer)
    return answer


def _allow(answer: web.StreamResponse) -> None:
    answer.headers["Access-Control-Allow-Origin"] = "*"
    answer.headers["Access-Control-Expose-Headers"] = tus.EXPOSED


class _Proxy:
    def __init__(self, trust: Trust, limits: Limits) -> None:
        self._trust = trust
        self._limits = limits
        self._session: ClientSession | None = None
        self._kept: ClientSession | None = None
        self._clients: Counter[str] = Counter()

    async def connected(self, _: web.Application) -> AsyncIterator[None]:
        """The sessions towards the servers, while the application runs.

        Who only looks goes by a connection that is kept for some seconds: to begin one costs more than to answer, and
        it can be asked again where its server has just ended. What has a body goes by one of its own.
        """
        timeout = ClientTimeout(total=None, sock_connect=5)
        async with (
            ClientSession(
                connector=TCPConnector(limit=0, force_close=True), timeout=timeout, auto_decompress=False,
                read_bufsize=_CHUNK,
            ) as self._session,
            ClientSession(
                connector=TCPConnector(limit=0), timeout=timeout, auto_decompress=False
            ) as self._kept,
        ):  # fmt: skip
            yield

    async def single(self, request: web.Request) -> web.StreamResponse:
        """CDI's requests: the claim says whether its server takes an archive."""
        return await self._admitted(request, self._single)

    async def resumable(self, request: web.Request) -> web.StreamResponse:
        """tus."""
        answer = await self._admitted(request, self._resumable)
        if not answer.prepared:
            answer.headers["Tus-Resumable"] = tus.VERSION
        return answer

    async def _admitted(
        self, request: web.Request, handler: Callable[[web.Request, Grant], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Let in who has a token, as many as may be. The codes are CDI's."""
        client = request.remote or ""
        if self._clients.total() >= self._limits.requests or self._clients[client] >= self._limits.one_client:
            text = "too many uploads at once: try again in a moment"
            return web.Response(status=429, text=text, headers={"Retry-After": "5"})
        found = _BEARER.fullmatch(request.headers.get("Authorization", ""))
        if found is None:
            return web.Response(status=400)
        self._clients[client] += 1
        try:
            async with asyncio.timeout(self._limits.total):
                grant = await call(self._trust.grant, found[1])
                return await handler(request, grant) if grant.uploads else web.Response(status=400)
        except Unauthorized as error:
            log.info("a token was refused", why=str(error))
            return web.Response(status=401)
        except TimeoutError:
            return web.Response(status=408, text=f"the upload took longer than {self._limits.total:g} s")
        except DiskyardError as error:
            return web.Response(status=503, text=html.escape(str(error)), headers={"Retry-After": "1"})
        finally:
            self._clients[client] -= 1
            if not self._clients[client]:
                del self._clients[client]

    async def _single(self, request: web.Request, grant: Grant) -> web.StreamResponse:
        server = await self._server(grant)
        path = request.path
        if server.archive:
            path = f"{path.rpartition('/')[0]}/{upload.ARCHIVE}"
        return await self._passed(request, server, path)

    async def _resumable(self, request: web.Request, grant: Grant) -> web.StreamResponse:
        try:
            server = await self._server(grant)
        except Finished as error:
            if _method(request) == "GET":
                return web.json_response({"state": "succeeded"})
            return web.Response(status=409 if _method(request) == "POST" else 410, text=str(error))
        return await self._passed(request, server, request.path)

    async def _server(self, grant: Grant) -> Server:
        """The claim's server, as soon as it is ready. Raises NotReady."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._limits.ready
        while True:
            try:
                return await call(self._trust.server, grant)
            except Finished:
                raise
            except NotReady:
                if clock() >= deadline:
                    raise
            await asyncio.sleep(_POLL)

    async def _passed(self, request: web.Request, server: Server, path: str) -> web.StreamResponse:
        """The server's answer to the same request. One that is about to listen is waited for."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._limits.ready
        while True:
            body = _Body(request, self._limits)
            try:
                if connection.large(request):
                    return await self._carried(request, server, path)
                return await self._once(request, server, path, body)
            except TooSlow as error:
                return web.Response(status=408, text=str(error))
            except (ClientError, OSError, TimeoutError) as error:
                if body.late:
                    return web.Response(status=408, text=body.late)
                early = isinstance(error, ClientConnectorError | ConnectionRefusedError)
                early = early and not isinstance(error, ClientSSLError)
                if not early or clock() >= deadline:
                    log.warning("a request was not passed on", path=path, host=server.host, why=repr(error))
                    text = f"error in upload-proxy: {error or type(error).__name__}"
                    return web.Response(status=502, text=text)
            await asyncio.sleep(_POLL)

    async def _carried(self, request: web.Request, server: Server, path: str) -> web.StreamResponse:
        """The same of a large body."""
        headers = {**_kept(request.headers), "Host": server.host, **told(self._limits)}
        async with forward.opened(Where(server.address, upload.PORT, server.host, server.context)) as channel:
            head = forward.head(_method(request), path, headers)
            found = await forward.carried(request, head, channel, self._limits)
        return web.Response(status=found.status, headers=_kept(found.headers), body=found.body)

    async def _once(
        self, request: web.Request, server: Server, path: str, body: "_Body"
    ) -> web.StreamResponse:
        looks = _method(request) in ("GET", "HEAD") and not request.body_exists
        session = self._kept if looks else self._session
        if session is None:
            raise OSError("the proxy is not started")
        headers = _kept(request.headers)
        headers.update(told(self._limits))
        address = f"[{server.address}]" if ":" in server.address else server.address
        url = f"https://{address}:{upload.PORT}{path}"
        async with session.request(
            _method(request), url, data=body.chunks() if request.body_exists else None,
            headers=headers, ssl=server.context, server_hostname=server.host, allow_redirects=False,
        ) as found:  # fmt: skip
            answer = web.StreamResponse(status=found.status, headers=_kept(found.headers))
            _allow(answer)
            await answer.prepare(request)
            if request.method != "HEAD":
                async for chunk in found.content.iter_any():
                    await answer.write(chunk)
            await answer.write_eof()
            return answer


class _Body:
    """A request's body as it comes, given up when its client falls silent or dawdles."""

    def __init__(self, request: web.Request, limits: Limits) -> None:
        self.late = ""
        """Why it was given up."""
        self._request = request
        self._limits = limits

    async def chunks(self) -> AsyncIterator[bytes]:
        """Raises TimeoutError. Only what the client lets us wait for is counted against it."""
        clock, limits = asyncio.get_running_loop().time, self._limits
        waited, count = 0.0, 0
        while True:
            since = clock()
            try:
                async with asyncio.timeout(limits.idle):
                    chunk = await self._request.content.readany()
            except TimeoutError:
                self.late = f"no byte came for {limits.idle:g} s; what came before is kept"
                raise
            if not chunk:
                return
            waited, count = waited + clock() - since, count + len(chunk)
            if waited > limits.idle and count < limits.slowest * waited:
                self.late = (
                    f"{count} bytes came in {waited:.0f} s: expected {limits.slowest:g} a second at least"
                )
                raise TimeoutError(self.late)
            yield chunk


def _method(request: web.Request) -> str:
    """What is meant: clients that cannot say PATCH or DELETE say POST, and that (tus 1.0, X-HTTP-Method-Override)."""
    meant = request.headers.get("X-HTTP-Method-Override", "").upper()
    return meant if request.method == "POST" and meant in _MEANT else request.method


def _kept(headers: Any) -> CIMultiDict[str]:
    """Headers that mean the same behind us."""
    return CIMultiDict((name, text) for name, text in headers.items() if name.lower() not in _HOP)
