"""An aiohttp application on a thread and event loop of its own, beside blocking code in the same process."""

import asyncio
import errno
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from ssl import SSLContext

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from diskyard.errors import Busy, InvalidRequest
from diskyard.web.bridge import call
from diskyard.web.entrance import Entrance
from diskyard.web.patience import Limits, Patience

GRACE = 5.0
_LINE = 64 * 1024
"""The longest request line and header that is read."""
_UPKEEP = 3.0
_LINGER = 2.0
"""Seconds in which a client that still sends can read why nobody listens."""
_LAST_WORDS = 0.01
"""Seconds in which the loop lets its closed sockets go."""
_log = logging.getLogger("web")
_log.addFilter(lambda record: not isinstance((record.exc_info or (None, None))[1], HttpProcessingError))
"""Whoever sends what is no HTTP has been told so: it is not for the operator, nor may it fill a log."""


@dataclass(frozen=True)
class Place:
    """Where to listen; port 0 is any free one."""

    host: str
    port: int = 0
    tls: SSLContext | None = None
    also: tuple[str, ...] = ()
    """Further addresses, on the same port."""
    limits: Limits = field(default_factory=Limits)
    lends: bool = False
    """Threads may borrow connections, to read large bodies by themselves: `connection.borrowed`."""
    upkeep: Callable[[], None] | None = None
    """What is done every three seconds meanwhile, the first time before anybody is let in; raises nothing."""


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
        return self.at(self.host)

    def at(self, host: str) -> str:
        """The same by another name or address."""
        return f"{self._scheme}://{f'[{host}]' if ':' in host else host}:{self.port}"

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
        patience = Patience(self.place.limits)
        self.app.middlewares.insert(0, patience.middleware())
        runner = web.AppRunner(
            self.app,
            access_log=None,
            logger=_log,
            handler_cancellation=True,
            keepalive_timeout=self.place.limits.later,
            lingering_time=_LINGER,
            max_line_size=_LINE,
            max_field_size=_LINE,
        )
        await runner.setup()
        server = runner.server
        if server is None:
            raise RuntimeError("an aiohttp runner that is set up has a server")
        entrance = Entrance(server, self.place.tls, self.place.limits, lends=self.place.lends)
        if self.place.upkeep:
            await call(self.place.upkeep)
        try:
            await entrance.open(self.place.host, self.place.port)
            for host in self.place.also:
                await entrance.open(host, entrance.port)
        except OSError as error:
            await entrance.close()
            await runner.cleanup()
            self.opened.set_exception(error)
            return
        watching = [
            asyncio.create_task(patience.watch(lambda: server.connections)),
            asyncio.create_task(_kept_up(self.place.upkeep)),
        ]
        self.opened.set_result(entrance.port)
        grace = await self._ended
        for each in watching:
            each.cancel()
        await entrance.close()
        await self._shut(runner, entrance, grace)

    async def _shut(self, runner: web.AppRunner, entrance: Entrance, grace: float) -> None:
        server = runner.server
        if server is not None:
            transports = [handler.transport for handler in server.connections]
            server.pre_shutdown()
            await runner.shutdown()
            await server.shutdown(max(grace, _LAST_WORDS))  # aiohttp takes 0 for ever
            for transport in transports:
                if transport is not None:
                    with suppress(AttributeError):  # its peer is lost already, CPython 3.11.2
                        transport.abort()  # close() would wait for the client's end of TLS
            entrance.abort()
            await asyncio.sleep(_LAST_WORDS)
        await self.app.cleanup()

    def end(self, grace: float) -> None:
        ended, loop, thread = self._ended, self._loop, self.thread
        if ended is None or loop is None or thread is None:
            return
        with suppress(RuntimeError):  # the loop has ended already
            loop.call_soon_threadsafe(lambda: None if ended.done() else ended.set_result(grace))
        thread.join()


async def _kept_up(upkeep: Callable[[], None] | None) -> None:
    while upkeep:
        await asyncio.sleep(_UPKEEP)
        await call(upkeep)


def _refusal(error: OSError, place: Place) -> Exception:
    if error.errno == errno.EADDRINUSE:
        return Busy(
            f"port {place.port} of {' or '.join((place.host, *place.also))} is taken by another program; "
            "choose another with --port, or 0 for any free one"
        )
    where = " and ".join((place.host, *place.also))
    if error.errno == errno.EADDRNOTAVAIL:
        return InvalidRequest(
            f"cannot listen on {where}: one of them is no address of this machine; `ip address` shows those it has"
        )
    return InvalidRequest(f"cannot listen on {where}, port {place.port}: {error.strerror or error}")
