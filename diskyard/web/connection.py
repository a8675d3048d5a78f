"""A connection of our own to the event loop, TLS or plain, that a thread may borrow for the body of a request.

asyncio's own TLS copies each byte five times on its way to a handler, in pieces of 16 KiB. Here the thread that wants
a large body reads it from the socket into its own buffer, where OpenSSL decrypts it.
"""

import asyncio
import socket
import ssl
from asyncio import AbstractEventLoop
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from diskyard.web.channel import Channel

LARGE: Final = 4 << 20
"""Bytes of a body that are worth it: borrowing costs the connection, which ends with the answer."""
_PART: Final = 64 << 10
_HIGH, _LOW = 64 << 10, 16 << 10
"""Bytes that wait to be sent, with which a handler is told to pause, and to go on."""
_LAST: Final = 30.0
"""Seconds in which the other side has to take what is left for it when a connection closes."""
_BORROWED: Final = web.RequestKey("borrowed", Channel)


@dataclass(frozen=True)
class Loan:
    """What is to come of a request's body: the bytes that are here, and the connection for the others."""

    first: bytes
    channel: Channel


@contextmanager
def borrowed(request: web.Request, idle: float, least: int = LARGE) -> Iterator[Loan | None]:
    """The rest of a body, for one thread at a time; None, where it is smaller: read `request.content` as ever."""
    connection = request.transport
    if not isinstance(connection, Connection) or _left(request) < least:
        yield None
        return
    request[_BORROWED] = channel = Channel(connection.sock, _left(request), idle)
    connection.lend(channel.cancel)
    try:
        yield Loan(request.content.read_nowait(), channel)
    finally:
        channel.close()
        if not channel.left:
            request.content.feed_eof()
        connection.take_back()


def large(request: web.Request) -> bool:
    """Whether there is a body that is worth it, on a connection that can be borrowed."""
    return isinstance(request.transport, Connection) and _left(request) >= LARGE


def _left(request: web.Request) -> int:
    """Bytes that the connection still has of the body; 0 where nobody says."""
    if "Transfer-Encoding" in request.headers:
        return 0
    return (request.content_length or 0) - request.content.total_bytes


async def close_after(request: web.Request, answer: web.StreamResponse) -> None:
    """For `on_response_prepare`: a connection that was borrowed takes no other request."""
    if _BORROWED in request:
        answer.force_close()
        answer.headers["Connection"] = "close"


async def secured(sock: socket.socket, context: ssl.SSLContext) -> ssl.SSLSocket:
    """A server's end of TLS. Raises OSError."""
    loop = asyncio.get_running_loop()
    found = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
    with ExitStack() as stack:
        stack.enter_context(found)
        while True:
            try:
                found.do_handshake()
            except ssl.SSLWantReadError:
                await ready(found, loop.add_reader, loop.remove_reader)
            except ssl.SSLWantWriteError:
                await ready(found, loop.add_writer, loop.remove_writer)
            else:
                stack.pop_all()
                return found


async def ready(sock: socket.socket, add: Callable[..., Any], remove: Callable[..., Any]) -> None:
    """Return when the loop's `add_reader` or `add_writer` says so."""
    told = asyncio.Event()
    add(sock, told.set)
    try:
        await told.wait()
    finally:
        remove(sock)


class Connection(asyncio.Transport):
    """A transport over a non-blocking socket."""

    def __init__(
        self,
        sock: socket.socket,
        protocol: asyncio.Protocol,
        loop: AbstractEventLoop,
        among: set["Connection"],
    ) -> None:
        """`among`: those whose sockets are not closed yet; this one is added, and taken out in the end."""
        super().__init__(_facts(sock))
        self.sock = sock
        self._among = among
        self._on_lost: Callable[[], None] = _nobody
        self._protocol = protocol
        self._loop = loop
        self._out: deque[bytes] = deque()
        self._held = 0
        self._paused = self._lent = self._closing = self._ended = self._full = self._writing = False
        self._reading = False
        among.add(self)
        protocol.connection_made(self)
        self._follow()

    def lend(self, on_lost: Callable[[], None]) -> None:
        """Leave the socket to a thread, until it is taken back; `on_lost`: it has to end."""
        self._lent, self._on_lost = True, on_lost
        self._follow()

    def take_back(self) -> None:
        """Go on with it."""
        self._lent, self._on_lost = False, _nobody
        if self._ended:
            self._loop.call_soon(self._end)
            return
        self._flush()
        self._follow()

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        if isinstance(protocol, asyncio.Protocol):
            self._protocol = protocol

    def is_reading(self) -> bool:
        return self._reading

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self) -> None:
        self._paused = True
        self._follow()

    def resume_reading(self) -> None:
        self._paused = False
        self._follow()

    def write(self, piece: bytes | bytearray | memoryview) -> None:
        if self._ended or not piece:
            return
        self._out.append(bytes(piece))
        self._held += len(piece)
        self._flush()
        if self._held > _HIGH and not self._full:
            self._full = True
            self._protocol.pause_writing()

    def get_write_buffer_size(self) -> int:
        return self._held

    def close(self) -> None:
        """End when all is sent."""
        if self._closing:
            return
        self._closing = True
        self._follow()
        if self._out or self._lent:
            self._loop.call_later(_LAST, self._lose)
        else:
            self._lose()

    def abort(self) -> None:
        """End now."""
        self._lose()

    def _readable(self) -> None:
        try:
            piece = self.sock.recv(_PART)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except OSError:
            self._lose()
            return
        if piece:
            self._protocol.data_received(piece)
        else:
            self._protocol.eof_received()
            self.close()

    def _flush(self) -> None:
        if self._lent or self._ended:
            return
        try:
            while self._out:
                piece = self._out[0]
                count = self.sock.send(piece)
                self._held -= count
                if count < len(piece):
                    self._out[0] = piece[count:]
                else:
                    self._out.popleft()
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            pass
        except OSError:
            self._lose()
            return
        self._follow()
        if self._full and self._held < _LOW:
            self._full = False
            self._protocol.resume_writing()
        if self._closing and not self._out:
            self._lose()

    def _follow(self) -> None:
        """Have the loop tell what we want to know now."""
        free = not (self._lent or self._ended)
        reading = free and not (self._paused or self._closing)
        writing = free and bool(self._out)
        if reading != self._reading:
            self._reading = reading
            if reading:
                self._loop.add_reader(self.sock, self._readable)
            else:
                self._loop.remove_reader(self.sock)
        if writing != self._writing:
            self._writing = writing
            if writing:
                self._loop.add_writer(self.sock, self._flush)
            else:
                self._loop.remove_writer(self.sock)

    def _lose(self) -> None:
        if self._ended:
            return
        self._ended = self._closing = True
        self._out.clear()
        self._held = 0
        self._follow()
        if self._lent:
            self._on_lost()
        else:
            self._loop.call_soon(self._end)

    def _end(self) -> None:
        if isinstance(self.sock, ssl.SSLSocket):
            with suppress(OSError, ValueError):
                self.sock.unwrap()
        self.sock.close()
        self._among.discard(self)
        self._protocol.connection_lost(None)


def _facts(sock: socket.socket) -> dict[str, Any]:
    facts: dict[str, Any] = {"socket": sock, "sockname": sock.getsockname()}
    with suppress(OSError):  # it is gone already
        facts["peername"] = sock.getpeername()
    if isinstance(sock, ssl.SSLSocket):
        facts |= {
            "sslcontext": sock.context, "ssl_object": sock, "peercert": sock.getpeercert(),
            "cipher": sock.cipher(),
        }  # fmt: skip
    return facts


def _nobody() -> None:
    """Nobody wants to know."""
