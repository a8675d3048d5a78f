"""Where connections come in: a bounded number of handshakes at a time, so that strangers cost little memory.

asyncio's own servers begin a handshake with everyone at once; each costs 60 KiB until it is done or has failed.
"""

import asyncio
import socket
from asyncio import sslproto
from functools import partial
from ssl import SSLContext
from typing import Final

from aiohttp import web

from diskyard.web.connection import Connection, ready, secured
from diskyard.web.patience import Limits

_BACKLOG: Final = 1024
_PAUSE: Final = 0.1
"""Seconds until the next try to take a connection in, when this process has no file left for it."""
sslproto.SSLProtocol.max_size = 32 * 1024
"""What asyncio reads at once, and keeps for each TLS connection; CPython has 256 KiB, a TLS record at most 16."""


class Entrance:
    """Takes connections in at several addresses of one port, until closed."""

    def __init__(
        self, server: web.Server, tls: SSLContext | None, limits: Limits, *, lends: bool = False
    ) -> None:
        """`lends`: connections of our own, which threads may borrow."""
        self._server = server
        self._tls = tls
        self._limits = limits
        self._lends = lends
        self._listening: list[socket.socket] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._greeted: dict[asyncio.Task[None], None] = {}
        self._taken_in: set[Connection] = set()

    @property
    def port(self) -> int:
        """The real one."""
        return int(self._listening[0].getsockname()[1])

    async def open(self, host: str, port: int) -> None:
        """Listen at an address, or at all that a name stands for. Raises OSError."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, address in dict.fromkeys((entry[0], entry[4]) for entry in found):
            listening = socket.create_server(address, family=family, backlog=_BACKLOG)
            listening.setblocking(False)
            self._listening.append(listening)
            self._tasks.append(loop.create_task(self._serve(listening)))

    async def close(self) -> None:
        """Take nobody in any more; who is in stays."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for listening in self._listening:
            listening.close()
        for greeting in tuple(self._greeted):
            greeting.cancel()
        await asyncio.gather(*self._greeted, return_exceptions=True)

    def abort(self) -> None:
        """End our own connections, those as well that aiohttp has let go of while bytes were still to be sent."""
        for each in tuple(self._taken_in):
            each.abort()

    async def _serve(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = (
                    listening.accept()
                )  # not sock_accept: who is cancelled there loses a connection
            except BlockingIOError:
                await ready(listening, loop.add_reader, loop.remove_reader)
                continue
            except OSError:
                await asyncio.sleep(_PAUSE)
                continue
            connection.setblocking(False)
            if len(self._greeted) >= self._limits.handshakes:
                longest = next(iter(self._greeted))
                self._greeted.pop(longest)
                longest.cancel()
            greeting = loop.create_task(self._greet(connection))
            self._greeted[greeting] = None
            greeting.add_done_callback(partial(self._greeting_ended, connection))
            await asyncio.sleep(0)  # an accept that needs no waiting does not let others run

    async def _greet(self, connection: socket.socket) -> None:
        if self._lends:
            await self._take_in(connection)
            return
        wait = self._limits.handshake if self._tls else None
        await asyncio.get_running_loop().connect_accepted_socket(
            self._server, connection, ssl=self._tls, ssl_handshake_timeout=wait
        )

    async def _take_in(self, connection: socket.socket) -> None:
        if self._tls is None:
            self._keep(connection)
            return
        async with asyncio.timeout(self._limits.handshake):
            found = await secured(connection, self._tls)
        self._keep(found)

    def _keep(self, connection: socket.socket) -> None:
        Connection(connection, self._server(), asyncio.get_running_loop(), self._taken_in)

    def _greeting_ended(self, connection: socket.socket, greeting: asyncio.Task[None]) -> None:
        self._greeted.pop(greeting, None)
        if greeting.cancelled() or greeting.exception() is not None:
            connection.close()
