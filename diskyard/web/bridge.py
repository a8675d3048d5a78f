"""The crossing between the event loop and blocking code: calls one way, bodies of requests the other."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_THREADS = 32
"""How many blocking calls run at once; further ones wait their turn."""
_ROOM: Final = 4 << 20
"""Bytes that a pipe holds before who writes has to wait; it goes on when half of them are read."""

_pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="call")


async def call(fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What `fn` returns or raises, run in a thread while the loop serves others."""
    return await asyncio.get_running_loop().run_in_executor(_pool, lambda: fn(*args, **kwargs))


class Closed(Exception):
    """Nobody reads this pipe any more."""


class Superseded(Exception):
    """Another writer has the pipe now, or its reader wants other bytes."""


class Pipe:
    """Bytes from the loop to one blocking reader, a few MiB of them at a time; one writer has it at a time."""

    def __init__(self, room: int = _ROOM) -> None:
        """Made on the loop that writes."""
        self._loop = asyncio.get_running_loop()
        self._room = room
        self._changed = threading.Condition()
        self._chunks: deque[memoryview] = deque()
        self._held = 0
        self._turn = 0
        self._waiting = False
        self._ended = False
        self._closed = False
        self._error: BaseException | None = None
        self._moved = asyncio.Event()

    @property
    def closed(self) -> bool:
        """Whether nobody reads any more."""
        return self._closed

    def claim(self) -> int:
        """A turn to write: every earlier one is over."""
        with self._changed:
            self._turn += 1
            self._wake()
            return self._turn

    async def write(self, chunk: bytes, turn: int) -> None:
        """Hand a chunk over, as soon as there is room. Raises Superseded, Closed."""
        while True:
            with self._changed:
                self._check(turn)
                if self._held < self._room:
                    self._chunks.append(memoryview(chunk))
                    self._held += len(chunk)
                    self._changed.notify_all()
                    return
                self._moved.clear()
            await self._moved.wait()

    async def drained(self, turn: int) -> None:
        """Return when the reader has taken everything and waits for more, or for nothing. Raises as `write` does."""
        while True:
            with self._changed:
                self._check(turn)
                if not self._chunks and (self._waiting or self._ended):
                    return
                self._moved.clear()
            await self._moved.wait()

    def end(self, turn: int) -> None:
        """That was all: the reader finds the end."""
        with self._changed:
            self._check(turn)
            self._ended = True
            self._changed.notify_all()

    def fail(self, error: BaseException) -> None:
        """Have the reader raise that, once it has taken everything."""
        with self._changed:
            self._error = error
            self._changed.notify_all()

    def read(self, room: int) -> memoryview:
        """At most `room` bytes, as soon as there are some; empty at the end. Blocks; raises what `fail` was given."""
        with self._changed:
            while not (self._chunks or self._ended or self._error or self._closed):
                self._waiting = True
                self._wake()
                self._changed.wait()
            self._waiting = False
            if not self._chunks:
                if self._error:
                    raise self._error
                return memoryview(b"")
            first = self._chunks[0]
            if len(first) <= room:
                self._chunks.popleft()
            else:
                self._chunks[0], first = first[room:], first[:room]
            self._held -= len(first)
            if self._held <= self._room // 2:
                self._wake()
            return first

    def restart(self) -> None:
        """Drop what has been written and not been read, and end the writer's turn: other bytes are wanted."""
        with self._changed:
            self._turn += 1
            self._ended = False
            self._chunks.clear()
            self._held = 0
            self._wake()

    def close(self) -> None:
        """Read no more, from any thread: who writes is told, who reads finds the end."""
        with self._changed:
            self._closed = True
            self._chunks.clear()
            self._changed.notify_all()
            self._wake()

    def _check(self, turn: int) -> None:
        if self._closed:
            raise Closed
        if turn != self._turn:
            raise Superseded

    def _wake(self) -> None:
        if not self._moved.is_set():
            with suppress(RuntimeError):  # the loop has ended: nobody writes any more
                self._loop.call_soon_threadsafe(self._moved.set)
