"""Watches on the wire: one JSON line for each change, or one WebSocket message, for as long as the client listens.

A watch costs a queue in the store and a coroutine here, no thread.
"""

import asyncio
import random
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Protocol

import orjson
from aiohttp import web

from diskyard.api.names.kubernetes import INITIAL_EVENTS_END
from diskyard.errors import ApiError, TooManyRequests
from diskyard.web import websocket
from diskyard.web.bridge import call
from standalone.store import page
from standalone.store.objects import Objects
from standalone.store.watch import Sent, Stream
from standalone.wire import body, show
from standalone.wire.answer import JSON, Shape, encoded
from standalone.wire.asked import Asked
from standalone.wire.crowd import MOST

LIMIT = 2048
"""So many watches at once; the next is asked to come back later."""
BOOKMARK = 60.0
_SHORTEST, _LONGEST = 1800, 3600
_PIECE = 1 << 18


class Watches:
    """Every watch of the server."""

    def __init__(self, objects: Objects, within: float = MOST.unread) -> None:
        """`within` so many seconds a client takes what it is told, or is cut off."""
        self._objects = objects
        self._within = within
        self._open: set[Stream] = set()
        self._bell: Bell | None = None

    async def watch(self, asked: Asked) -> web.StreamResponse:
        """Changes after `resourceVersion`; with none, or with `sendInitialEvents`, first all that is there."""
        if len(self._open) >= LIMIT:
            raise TooManyRequests(f"{LIMIT} watches are open already; close some, or come back later")
        self._bell = self._bell or Bell(asyncio.get_running_loop())
        sleeper = Sleeper()
        stream = await call(self._begun, asked, partial(self._bell.ring, sleeper))
        self._open.add(stream)
        try:
            if websocket.wanted(asked.request.headers):
                return await _framed(asked, stream, sleeper, self._within)
            return await _lined(asked, stream, sleeper, self._within)
        finally:
            self._open.discard(stream)
            stream.close()

    def close(self) -> None:
        """End them all: the clients come back to the next server."""
        for stream in tuple(self._open):
            stream.close()

    def _begun(self, asked: Asked, wake: Callable[[], None]) -> Stream:
        kind, asking = asked.resource.kind, asked.asking
        page.check(asking, watching=True)
        body.number(asked.request, "timeoutSeconds")  # what is wrong is said before the answer begins
        since = asking.resource_version
        if asking.initial:
            page.point(asking, self._objects.revision)
            since = ""
        elif asking.initial is False and since in ("", "0"):
            since = str(self._objects.revision)
        return self._objects.stream(kind, since, asked.selection, wake)


class Sleeper:
    """A watch that waits. To wake it costs more than to tell it: where `aside` can do that, it sleeps on."""

    def __init__(self) -> None:
        self.ready = asyncio.Event()
        self.aside: Callable[[], bool] | None = None
        """Set while it waits: whether everything there was has been told without it."""

    def come(self) -> None:
        """There is something to tell."""
        if self.aside is None or not self.aside():
            self.ready.set()


class Bell:
    """Wakes many watches from other threads with one call: one for each would cost as much as to tell them."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lock = threading.Lock()
        self._due: list[Sleeper] = []

    def ring(self, sleeper: Sleeper) -> None:
        """Have it come, soon."""
        with self._lock:
            self._due.append(sleeper)
            first = len(self._due) == 1
        if first:
            with suppress(RuntimeError):  # the loop has ended: nobody listens any more
                self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        with self._lock:
            due, self._due = self._due, []
        for sleeper in due:
            sleeper.come()


class _Reader(Protocol):
    """Whoever is told: a line at a time, or a message at a time."""

    async def tell(self, events: list[bytes]) -> None:
        """Each event is JSON without a line break. Raises ConnectionError when nobody listens any more."""

    def told(self, events: Callable[[], list[bytes]]) -> bool:
        """Tell a few events at once; False: they have not been asked for, `tell` is to wait for the reader."""


class _Lines:
    """A chunked answer."""

    def __init__(self, response: web.StreamResponse, transport: asyncio.Transport | None) -> None:
        self._response = response
        self._transport = transport

    def told(self, events: Callable[[], list[bytes]]) -> bool:
        """As one chunk (RFC 9112, 7.1), past aiohttp: its own way takes as long again as TLS and the kernel."""
        way = self._transport
        if way is None or way.is_closing() or way.get_write_buffer_size():
            return False
        if lines := events():
            chunk = b"\n".join(lines)
            way.write(b"%x\r\n%b\n\r\n" % (len(chunk) + 1, chunk))
        return True

    async def tell(self, events: list[bytes]) -> None:
        await self._response.write(b"\n".join(events) + b"\n")


class _Frames:
    """A WebSocket: every event a text message of its own."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket

    async def tell(self, events: list[bytes]) -> None:
        for event in events:
            await self._socket.send_str(event.decode())

    def told(self, events: Callable[[], list[bytes]]) -> bool:  # noqa: ARG002 - as asked
        """Never: a WebSocket's frames are aiohttp's."""
        return False


class _Hurried:
    """A reader that is cut off when it stops to take what it is told: its place, and the memory, are for others."""

    def __init__(self, reader: _Reader, transport: asyncio.Transport | None, within: float) -> None:
        self._reader = reader
        self._transport = transport
        self._within = within

    async def tell(self, events: list[bytes]) -> None:
        try:
            async with asyncio.timeout(self._within):
                await self._reader.tell(events)
        except TimeoutError as error:
            if self._transport is not None:
                self._transport.abort()
            raise ConnectionError("what was told was not taken in time") from error

    def told(self, events: Callable[[], list[bytes]]) -> bool:
        return self._reader.told(events)


async def _lined(asked: Asked, stream: Stream, sleeper: Sleeper, within: float) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": JSON})
    response.enable_chunked_encoding()
    await response.prepare(asked.request)
    with suppress(ConnectionError):
        way = asked.request.transport
        await _Telling(asked, _Hurried(_Lines(response, way), way, within), stream, sleeper).run()
        await response.write_eof()
    return response


async def _framed(asked: Asked, stream: Stream, sleeper: Sleeper, within: float) -> web.StreamResponse:
    socket = await websocket.opened(asked.request)

    async def heard() -> None:
        """What a client says on a watch means nothing, but its leaving ends it."""
        async for _ in socket:
            pass
        stream.close()

    listening = asyncio.create_task(heard())
    try:
        with suppress(ConnectionError):
            reader = _Hurried(_Frames(socket), asked.request.transport, within)
            await _Telling(asked, reader, stream, sleeper).run()
            await socket.close()
    finally:
        listening.cancel()
    return socket


class _Telling:
    """One watch while it lasts."""

    def __init__(self, asked: Asked, reader: _Reader, stream: Stream, sleeper: Sleeper) -> None:
        self._asked = asked
        self._reader = reader
        self._stream = stream
        self._sleeper = sleeper
        self._marks = body.flag(asked.request, "allowWatchBookmarks")
        self._first = True
        seconds = body.number(asked.request, "timeoutSeconds") or random.randint(_SHORTEST, _LONGEST)
        self._loop = asyncio.get_running_loop()
        self._end = self._loop.time() + seconds
        self._mark_at = self._loop.time() + BOOKMARK if self._marks else self._end
        self._alarm: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Tell until the time is over, the stream is closed or the client has gone."""
        initial = self._marks and self._asked.asking.initial is True
        try:
            while not self._stream.closed and self._loop.time() < self._end:
                self._sleeper.ready.clear()
                await self._tell(self._stream.take())
                if initial:
                    initial = not await self._mark({INITIAL_EVENTS_END: "true"})
                elif self._marks and self._loop.time() >= self._mark_at:
                    await self._mark({})
                    self._mark_at = self._loop.time() + BOOKMARK
                elif not self._stream.waiting:
                    await self._wait(min(self._end, self._mark_at))
        except ApiError as error:
            await self._reader.tell([_event("ERROR", encoded(error.status()))])
        finally:
            if self._alarm is not None:
                self._alarm.cancel()

    async def _wait(self, until: float) -> None:
        """Until there is something to tell, or until then: one timer for many changes."""
        if self._alarm is None or self._alarm.when() != until:
            if self._alarm is not None:
                self._alarm.cancel()
            self._alarm = self._loop.call_at(until, self._sleeper.ready.set)
        self._sleeper.aside = self._aside
        try:
            await self._sleeper.ready.wait()
        finally:
            self._sleeper.aside = None

    def _aside(self) -> bool:
        """Tell what waits without the coroutine: a few whole objects, to a reader that keeps up."""
        plain = self._asked.form.shape is Shape.WHOLE
        if self._sleeper.ready.is_set() or self._stream.closed or not plain or self._stream.size > _PIECE:
            return False
        return self._reader.told(
            lambda: [_event(one.type, self._asked.shown(one.body)) for one in self._stream.take()]
        )

    async def _tell(self, sent: Iterable[Sent]) -> None:
        """All of it, a bounded piece at a time: the next is made when the client has taken the last."""
        events, size = [], 0
        for one in sent:
            events.append(_event(one.type, self._shown(one.body)))
            size += len(events[-1])
            if size >= _PIECE:
                await self._reader.tell(events)
                events, size = [], 0
        if events:
            await self._reader.tell(events)

    async def _mark(self, annotations: dict[str, str]) -> bool:
        """Say how far the client has seen; False: something else is waiting to be told first."""
        mark = self._stream.bookmark()
        if mark is None:
            return False
        obj = orjson.loads(mark.body)
        obj["metadata"]["annotations"] = annotations
        await self._reader.tell([_event("BOOKMARK", self._shown(encoded(obj)))])
        return True

    def _shown(self, stored: bytes) -> bytes:
        first, self._first = self._first, False
        return show.change(self._asked, stored, first=first)


def _event(kind: str, shown: bytes) -> bytes:
    return b'{"type":"' + kind.encode() + b'","object":' + shown + b"}"
