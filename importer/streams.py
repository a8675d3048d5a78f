"""Open bodies of one remote object: whoever reads on where one of them stops goes on with its connection."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final, Protocol

from diskyard.errors import SourceUnavailable

_WALK: Final = 4 << 20
"""A read at least this long is part of a walk to the end; a shorter one asks for what it needs."""
_KEPT: Final = 16
"""Connections that wait for their next byte to be asked for."""


class Body(Protocol):
    """The bytes of an answer, in order."""

    end: int | None
    """Where in the source it ends; None where the source does."""

    def readinto(self, buf: memoryview, /) -> int:
        """Bytes put at the start of `buf`; 0 at the end. Raises SourceUnavailable where it breaks off."""

    def silence(self) -> float | None:
        """Seconds since its last byte came to this machine; None where that is not known."""

    def abort(self) -> None:
        """End a read that waits in another thread."""

    def close(self) -> None:
        """Give back the connection."""


@dataclass(eq=False)
class _Stream:
    body: Body
    position: int


class Streams:
    """Reads at any offset, from several threads at once, a connection each."""

    def __init__(
        self, opened: Callable[[int, int | None], Body], size: int | None, first: Body | None
    ) -> None:
        """`opened(start, end)` gives those bytes of `size`; all to the last where `end` is None.

        `first` is open from the first byte on, for whoever reads that.
        """
        self._opened = opened
        self._size = size
        self._lock = threading.Lock()
        self._waiting = [_Stream(first, 0)] if first else []
        self._reading: set[_Stream] = set()
        self._readers = 0
        self._several = False
        self._closed = False

    def readinto(self, buf: memoryview, offset: int) -> int:
        """Bytes put at the start of `buf`, read from `offset`. Raises SourceUnavailable."""
        if self._size is not None and offset >= self._size:
            return 0
        with self._counted():
            return self._read(buf, offset)

    def _read(self, buf: memoryview, offset: int) -> int:
        stream = self._taken(offset) or self._asked(offset, len(buf))
        with ExitStack() as broken:
            broken.callback(self._drop, stream)
            self._hold(stream)
            count = stream.body.readinto(buf)
            broken.pop_all()
        stream.position += count
        self._keep(stream)
        return count

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """Know of each reader before it asks: a walk that others cut short has been sent in vain."""
        with self._lock:
            self._readers += 1
            self._several = self._several or self._readers > 1
        try:
            yield
        finally:
            with self._lock:
                self._readers -= 1

    def silence(self) -> float | None:
        """Seconds since bytes last came for any of the reads that are under way; None where that is not known."""
        with self._lock:
            found = [stream.body.silence() for stream in self._reading]
        return min((each for each in found if each is not None), default=None)

    def close(self) -> None:
        """End everything, also reads that wait in other threads."""
        with self._lock:
            self._closed = True
            for stream in self._reading:
                stream.body.abort()
        self._let_go()

    def _asked(self, offset: int, length: int) -> _Stream:
        """A connection from there: to the source's end where one reader walks through it."""
        walks = length >= _WALK and not self._several
        end = None if walks else min(offset + length, self._size or offset + length)
        try:
            return _Stream(self._opened(offset, end), offset)
        except SourceUnavailable:
            self._let_go()
            raise

    def _let_go(self) -> None:
        """Close what waits: a server that takes no more connections counts it."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        for stream in waiting:
            stream.body.close()

    def _taken(self, offset: int) -> _Stream | None:
        """The connection that is at this offset, for the caller alone."""
        with self._lock:
            for place, stream in enumerate(self._waiting):
                if stream.position == offset:
                    return self._waiting.pop(place)
        return None

    def _hold(self, stream: _Stream) -> None:
        with self._lock:
            self._reading.add(stream)
            if self._closed:
                raise SourceUnavailable("the source was closed while it was read")

    def _drop(self, stream: _Stream) -> None:
        with self._lock:
            self._reading.discard(stream)
        stream.body.close()

    def _keep(self, stream: _Stream) -> None:
        """Have it wait for whoever reads on; a walk that several readers have cut short is over."""
        walks = stream.body.end is None
        with self._lock:
            self._reading.discard(stream)
            done = stream.position == (self._size if walks else stream.body.end)
            ended = done or self._closed or (walks and self._several)
            if not ended:
                self._waiting.append(stream)
            oldest = self._waiting.pop(0) if len(self._waiting) > _KEPT else None
        if ended:
            stream.body.close()
        if oldest:
            oldest.body.close()
