"""A proxy in front of an API server that answers wrongly, late or not at all, as often as it is told to."""

import asyncio
import random
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import aiohttp
from aiohttp import web

from diskyard.errors import ApiError, Conflict, Expired, ServerError, TooManyRequests
from diskyard.web import tls
from diskyard.web.server import Place, start
from standalone.access.tokens import write_kubeconfig
from tests.served import LOCALHOST, Yard

REFUSALS: tuple[ApiError, ...] = (
    Conflict("the object has been modified; please apply your changes to the latest version"),
    TooManyRequests("too many requests"),
    ServerError("etcdserver: leader changed"),
)
HOP = {"connection", "transfer-encoding", "content-length", "host", "content-encoding"}


ON_WATCHES = ("expired", "cut", "refused")
ON_OTHERS = ("refused", "lost", "unheard", "forgotten", "stuck")
HELD = 15.0
"""Seconds for which a request hangs: longer than any client here waits."""


class Faults:
    """What goes wrong: each once for certain, then each with an equal part of `rate`. `seen` counts them."""

    def __init__(self, seed: int, rate: float) -> None:
        self.rate = rate
        self.seen: Counter[str] = Counter()
        self._chance = random.Random(seed)
        self._certain = {True: list(ON_WATCHES), False: list(ON_OTHERS)}

    def draw(self, watching: bool) -> str:
        """What happens to a request; empty: nothing."""
        if not self.rate:
            return ""
        certain = self._certain[watching]
        if not certain and self._chance.random() >= self.rate:
            return ""
        drawn = certain.pop() if certain else self._chance.choice(ON_WATCHES if watching else ON_OTHERS)
        self.seen[drawn] += 1
        return drawn

    def refusal(self) -> ApiError:
        return self._chance.choice(REFUSALS)

    def patience(self) -> float:
        """Seconds until a watch that is to be cut is."""
        return self._chance.random()


@contextmanager
def proxied(yard: Yard, folder: Path, faults: Faults) -> Iterator[Path]:
    """The kubeconfig of a way to that server on which things go wrong."""
    now = datetime.now(UTC)
    authority = tls.authority(folder, "proxy", now)
    context = tls.context(tls.server(authority, folder, [LOCALHOST], now))
    behind = _Behind(yard, faults)
    app = web.Application(client_max_size=16 << 20)
    app.cleanup_ctx.append(behind.session)
    app.router.add_route("*", "/{path:.*}", behind.answer)
    running = start(app, Place(LOCALHOST, 0, context))
    kubeconfig = folder / "kubeconfig"
    write_kubeconfig(kubeconfig, running.url, authority.certificate, yard.token)
    try:
        yield kubeconfig
    finally:
        running.stop(0.1)


class _Behind:
    def __init__(self, yard: Yard, faults: Faults) -> None:
        self._yard = yard
        self._faults = faults
        self._session: aiohttp.ClientSession | None = None

    async def session(self, _: web.Application) -> AsyncIterator[None]:
        context = ssl.create_default_context(cafile=str(self._yard.authority))
        connector = aiohttp.TCPConnector(ssl=context, limit=0)
        async with aiohttp.ClientSession(
            self._yard.url, connector=connector, auto_decompress=False
        ) as self._session:
            yield

    async def answer(self, request: web.Request) -> web.StreamResponse:
        watching = request.query.get("watch") == "true"
        fault = self._faults.draw(watching)
        if fault in ("refused", "expired"):
            error = Expired("too old resource version") if fault == "expired" else self._faults.refusal()
            headers = {"Retry-After": "1"} if isinstance(error, TooManyRequests) else {}
            return web.json_response(error.status(), status=error.code, headers=headers)
        if fault in ("unheard", "stuck"):
            return await self._silent(request, HELD if fault == "stuck" else 0)
        assert self._session is not None
        headers = {name: text for name, text in request.headers.items() if name.lower() not in HOP}
        body = await request.read()
        async with self._session.request(
            request.method, request.raw_path, headers=headers, data=BytesIO(body) if body else None
        ) as said:
            if fault in ("lost", "forgotten"):  # it was done, and nobody learns of it
                await said.read()
                return await self._silent(request, HELD if fault == "forgotten" else 0)
            return await self._passed_on(request, said, cut=fault == "cut")

    async def _passed_on(
        self, request: web.Request, said: aiohttp.ClientResponse, *, cut: bool
    ) -> web.StreamResponse:
        kept = {name: text for name, text in said.headers.items() if name.lower() not in HOP}
        response = web.StreamResponse(status=said.status, headers=kept)
        await response.prepare(request)
        try:
            async with asyncio.timeout(self._faults.patience() if cut else None):
                async for chunk in said.content.iter_any():
                    await response.write(chunk)
                await response.write_eof()
        except (TimeoutError, ConnectionError):
            return self._hung_up(request)
        return response

    async def _silent(self, request: web.Request, seconds: float) -> web.Response:
        """No answer for so long, or until whoever has asked goes away; then none at all."""
        held = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < held and request.transport is not None:
            await asyncio.sleep(0.1)
        return self._hung_up(request)

    def _hung_up(self, request: web.Request) -> web.Response:
        if request.transport is not None:
            request.transport.abort()
        return web.Response()
