"""A large body on its way through the proxy: a thread carries it from the client's connection to the server's."""

import http.client
import io
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, cast

from aiohttp import web

from diskyard.web.bridge import lasting
from diskyard.web.channel import Answered, Channel
from diskyard.web.connection import borrowed
from uploadproxy.limits import Limits

_PIECE: Final = 256 << 10
_ANSWER: Final = 1 << 20
"""Bytes that a server may answer with."""
_CONNECT: Final = 5.0


@dataclass(frozen=True)
class Where:
    """A server: its address, and the name in its certificate."""

    address: str
    port: int
    host: str
    context: ssl.SSLContext


@dataclass(frozen=True)
class Answer:
    """What a server says."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class TooSlow(Exception):
    """The client sends too little."""


@asynccontextmanager
async def opened(where: Where) -> AsyncIterator[Channel]:
    """A connection to a server. Raises OSError: ConnectionRefusedError where nobody listens (yet)."""
    with ExitStack() as stack:
        # a thread that connects is waited for, also by who is not wanted any more: its socket has to be closed
        sock = await lasting(lambda: stack.enter_context(_connected(where)), _wait)
        channel = Channel(sock, _ANSWER)
        stack.callback(channel.close)
        yield channel


async def carried(request: web.Request, head: bytes, server: Channel, limits: Limits) -> Answer:
    """The answer to a request whose body goes through as it comes. Raises TooSlow, OSError."""
    with borrowed(request, limits.idle, least=0) as loan:
        if loan is None:
            raise ConnectionResetError("the client has gone")

        def stop() -> None:
            loan.channel.cancel()
            server.cancel()

        await lasting(partial(_carry, head + loan.first, loan.channel, server, limits), stop)
    return await lasting(partial(_answer, server), server.cancel)


def head(method: str, path: str, headers: Mapping[str, str]) -> bytes:
    """A request up to its body; the connection ends after it."""
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {text}" for name, text in headers.items())]
    return "\r\n".join([*lines, "Connection: close", "\r\n"]).encode(errors="surrogateescape")


def _wait() -> None:
    """Connecting ends by itself, soon."""


def _connected(where: Where) -> ssl.SSLSocket:
    plain = socket.create_connection((where.address, where.port), _CONNECT)
    try:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock = where.context.wrap_socket(plain, server_hostname=where.host)
    finally:
        plain.close()  # a wrapped one has been detached
    sock.setblocking(False)
    return sock


def _carry(first: bytes, body: Channel, server: Channel, limits: Limits) -> None:
    """Send what is here, then all that comes, unless the server answers before its end."""
    buf = memoryview(bytearray(_PIECE))
    whole = body.left
    going_on = _sent(server, first)
    while going_on and (count := _next(body, buf, limits)):
        going_on = _sent(server, buf[:count])
        done = whole - body.left
        if body.waited > limits.idle and done < limits.slowest * body.waited:
            raise TooSlow(
                f"{done} bytes came in {body.waited:.0f} s: expected {limits.slowest:g} a second at least"
            )


def _sent(server: Channel, piece: bytes | memoryview) -> bool:
    """Whether the server has taken it, and wants more."""
    try:
        server.send(piece)
    except (Answered, OSError):
        return False
    return True


def _next(body: Channel, buf: memoryview, limits: Limits) -> int:
    try:
        return body.readinto(buf)
    except TimeoutError as error:
        raise TooSlow(f"no byte came for {limits.idle:g} s; what came before is kept") from error


def _answer(server: Channel) -> Answer:
    """What the server says. Raises ConnectionResetError where that is not whole."""
    found = http.client.HTTPResponse(cast(socket.socket, _Said(server)))
    try:
        found.begin()
        return Answer(found.status, dict(found.getheaders()), found.read())
    except (http.client.HTTPException, ValueError) as error:
        raise ConnectionResetError("the upload server ended the connection without an answer") from error


@dataclass(frozen=True)
class _Said:
    """What http.client takes for a connection."""

    server: Channel

    def makefile(self, *_: Any) -> io.BufferedReader:
        """A file of what the server says."""
        return io.BufferedReader(_Words(self.server))


class _Words(io.RawIOBase):
    """What a server says, as a file."""

    def __init__(self, server: Channel) -> None:
        self._server = server

    def readable(self) -> bool:
        return True

    def readinto(self, buf: Any) -> int:
        return self._server.readinto(memoryview(buf))
