"""An aiohttp application on a thread and event loop of its own, beside blocking code in the same process."""

import asyncio
import errno
import threading
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from ssl import SSLContext

from aiohttp import web

from diskyard.errors import Busy, InvalidRequest

GRACE = 5.0
_LINE = 64 * 1024
"""The longest request line and header that is read."""
_LAST_WORDS = 0.01
"""Seconds in which the loop lets its closed sockets go."""


@dataclass(frozen=True)
class Place:
    """Where to listen; port 0 is any free one."""

    host: str
    port: int = 0
    tls: SSLContext | None = None


class Running:
    """A server that serves; `port` is the real one."""

    def __init__(self, place: Place, port: int, serving: "_Serving") -> None:
        self.host = place.host
        self.port = port
        self._scheme = "https" if place.tls else "http"
        self._serving = serving

    @property
    def url(self) -> str:
        """`https://127.0.0.1:6443`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self._scheme}://{host}:{self.port}"

    def stop(self, grace: float = GRACE) -> None:
        """Take no more requests, give running ones `grace` seconds, end. Twice is as once."""
        self._serving.end(grace)


def start(app: web.Application, place: Place) -> Running:
    """The application, served. Raises Busy for a taken port, InvalidRequest for an address that is not ours."""
    serving = _Serving(app, place)
    thread = threading.Thread(target=asyncio.run, args=(serving.run(),), name="web", daemon=True)
    serving.thread = thread
    thread.start()
    try:
        return Running(place, serving.opened.result(), serving)
    except OSError as error:
        thread.join()
        raise _refusal(error, place) from error


@dataclass
class _Serving:
    app: web.Application
    place: Place
    opened: "Future[int]" = field(default_factory=Future)
    thread: threading.Thread | None = None
    _loop: asyncio.AbstractEventLoop | None = None
    _ended: "asyncio.Future[float] | None" = None

    async def run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended = self._loop.create_future()
        runner = web.AppRunner(
            self.app, access_log=None, handler_cancellation=True, max_line_size=_LINE, max_field_size=_LINE
        )
        try:
            await runner.setup()
            site = web.TCPSite(runner, self.place.host, self.place.port, ssl_context=self.place.tls)
            await site.start()
        except OSError as error:
            await runner.cleanup()
            self.opened.set_exception(error)
            return
        self.opened.set_result(runner.addresses[0][1])
        await self._shut(runner, site, await self._ended)

    async def _shut(self, runner: web.AppRunner, site: web.TCPSite, grace: float) -> None:
        server = runner.server
        await site.stop()
        if server is not None:
            transports = [handler.transport for handler in server.connections]
            server.pre_shutdown()
            await runner.shutdown()
            await server.shutdown(grace)
            for transport in transports:
                if transport is not None:
                    transport.abort()  # close() would wait for the client's end of TLS
            await asyncio.sleep(_LAST_WORDS)
        await self.app.cleanup()

    def end(self, grace: float) -> None:
        ended, loop, thread = self._ended, self._loop, self.thread
        if ended is None or loop is None or thread is None:
            return
        with suppress(RuntimeError):  # the loop has ended already
            loop.call_soon_threadsafe(lambda: None if ended.done() else ended.set_result(grace))
        thread.join()


def _refusal(error: OSError, place: Place) -> Exception:
    if error.errno == errno.EADDRINUSE:
        return Busy(
            f"port {place.port} of {place.host} is taken by another program; "
            "choose another with --port, or 0 for any free one"
        )
    return InvalidRequest(f"cannot listen on {place.host}, port {place.port}: {error.strerror or error}")
