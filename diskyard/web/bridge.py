"""The crossing between the event loop and blocking code: calls one way, bodies of requests the other."""

import asyncio
import threading
from asyncio import AbstractEventLoop
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

from diskyard.web.channel import Channel

P = ParamSpec("P")
T = TypeVar("T")

_THREADS: Final = 32
"""How many blocking calls of one loop run at once; further ones wait their turn."""
_ROOM: Final = 4 << 20
"""Bytes that a pipe holds before who writes has to wait; it goes on when half of them are read."""

_LASTING: Final = 1024
"""How many long ones."""

_pools: WeakKeyDictionary[AbstractEventLoop, ThreadPoolExecutor] = WeakKeyDictionary()
"""A pool for each loop: a call that waits for another server of this process cannot take the threads it needs."""
_lasting = ThreadPoolExecutor(_LASTING, thread_name_prefix="lasting")


async def call(fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What `fn` returns or raises, run in a thread while the loop serves others."""
    loop = asyncio.get_running_loop()
    pool = _pools.get(loop)
    if pool is None:
        pool = _pools[loop] = ThreadPoolExecutor(_THREADS, thread_name_prefix="call")
    return await loop.run_in_executor(pool, lambda: fn(*args, **kwargs))


async def lasting(fn: Callable[[], T], stop: Callable[[], None]) -> T:
    """The same of what may take as long as it likes, and ends soon after `stop` is called.

    It has ended when this has, however often we are cancelled (a server's end does so twice): what it works with is
    not closed before.
    """
    task = asyncio.get_running_loop().run_in_executor(_lasting, fn)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        stop()
        while not task.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait({task})
        raise


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
        self._lent: Channel | None = None
        self._read: Channel | None = None
        """What the reader is at just now."""
        self._lost: OSError | None = None
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
            self._recall()
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

    async def lend(self, channel: Channel, turn: int) -> None:
        """Have the reader take from a channel all that is left in it. Raises as `write` does, and as the channel."""
        try:
            with self._changed:
                self._check(turn)
                self._lent, self._lost = channel, None
                self._changed.notify_all()
            await self._until(turn, lambda: self._lent is not channel)
            if self._lost:
                raise self._lost
        finally:
            await self._out_of(channel)

    async def drained(self, turn: int) -> None:
        """Return when the reader has taken everything and waits for more, or for nothing. Raises as `write` does."""
        await self._until(turn, lambda: self._idle() and (self._waiting or self._ended))

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

    def readinto(self, buf: memoryview) -> int:
        """Bytes put into `buf`, as soon as there are some; 0 at the end. Blocks; raises what `fail` was given."""
        count = 0
        while not count:
            with self._changed:
                while not (self._chunks or self._lent or self._ended or self._error or self._closed):
                    self._waiting = True
                    self._wake()
                    self._changed.wait()
                self._waiting = False
                if self._chunks:
                    return self._unpacked(buf)
                if self._lent is None:
                    if self._error:
                        raise self._error
                    return 0
                self._read = self._lent
            count = self._taken(self._read, buf)
        return count

    def restart(self) -> None:
        """Drop what has been written and not been read, and end the writer's turn: other bytes are wanted."""
        with self._changed:
            self._turn += 1
            self._recall()
            self._ended = False
            self._chunks.clear()
            self._held = 0
            self._wake()

    def close(self) -> None:
        """Read no more, from any thread: who writes is told, who reads finds the end."""
        with self._changed:
            self._closed = True
            self._recall()
            self._chunks.clear()
            self._changed.notify_all()
            self._wake()

    def _unpacked(self, buf: memoryview) -> int:
        first = self._chunks[0]
        count = min(len(first), len(buf))
        buf[:count] = first[:count]
        if count == len(first):
            self._chunks.popleft()
        else:
            self._chunks[0] = first[count:]
        self._held -= count
        if self._held <= self._room // 2:
            self._wake()
        return count

    def _taken(self, channel: Channel, buf: memoryview) -> int:
        """Bytes put into `buf` from a channel; 0: it has been taken away, or has nothing more."""
        count = 0
        lost: OSError | None = None
        try:
            count = channel.readinto(buf)
        except OSError as error:
            lost = error
        with self._changed:
            self._read = None
            if self._lent is channel and (lost or not channel.left):
                self._lent, self._lost = None, lost
            if self._lent is not channel:
                self._wake()
        return count

    def _recall(self) -> None:
        if self._lent is not None:
            self._lent.cancel()
            self._lent = None

    async def _out_of(self, channel: Channel) -> None:
        """Return when the reader does not touch a channel any more, nor will; not before, when cancelled, either."""
        cancelled: asyncio.CancelledError | None = None
        while True:
            with self._changed:
                if self._lent is channel:
                    self._recall()
                if self._read is not channel:
                    break
                self._moved.clear()
            try:
                await self._moved.wait()
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled:
            raise cancelled

    async def _until(self, turn: int, done: Callable[[], bool]) -> None:
        """Return when that holds. Raises as `write` does."""
        while True:
            with self._changed:
                self._check(turn)
                if done():
                    return
                self._moved.clear()
            await self._moved.wait()

    def _idle(self) -> bool:
        return not (self._chunks or self._lent or self._read)

    def _check(self, turn: int) -> None:
        if self._closed:
            raise Closed
        if turn != self._turn:
            raise Superseded

    def _wake(self) -> None:
        if not self._moved.is_set():
            with suppress(RuntimeError):  # the loop has ended: nobody writes any more
                self._loop.call_soon_threadsafe(self._moved.set)
