"""Open bodies of one remote object: whoever reads on where one of them stops goes on with its connection."""

import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final, Protocol

from diskyard.errors import SourceUnavailable

_WALK: Final = 4 << 20
"""A read at least this long is part of a walk to the end; a shorter one asks for what it needs."""
_KEPT: Final = 16
"""Connections that wait for their next byte to be asked for."""


class Body(Protocol):
    """The bytes of an answer, in order."""

    def readinto(self, buf: memoryview, /) -> int:
        """Bytes put at the start of `buf`; 0 at the end. Raises SourceUnavailable where it breaks off."""

    def abort(self) -> None:
        """End a read that waits in another thread."""

    def close(self) -> None:
        """Give back the connection."""


@dataclass(eq=False)
class _Stream:
    body: Body
    position: int
    end: int | None


class Streams:
    """Reads at any offset, from several threads at once, a connection each."""

    def __init__(self, opened: Callable[[int, int | None], Body]) -> None:
        """`opened(start, end)` gives those bytes; all to the last where `end` is None."""
        self._opened = opened
        self._lock = threading.Lock()
        self._waiting: list[_Stream] = []
        self._reading: set[_Stream] = set()
        self._closed = False

    def readinto(self, buf: memoryview, offset: int) -> int:
        """Bytes put at the start of `buf`, read from `offset`. Raises SourceUnavailable."""
        stream = self._taken(offset) or self._asked(offset, len(buf))
        with ExitStack() as broken:
            broken.callback(self._drop, stream)
            self._hold(stream)
            count = stream.body.readinto(buf)
            broken.pop_all()
        stream.position += count
        self._keep(stream)
        return count

    def keep(self, body: Body) -> None:
        """Have the whole body, just opened, for whoever reads its first byte."""
        self._keep(_Stream(body, 0, None))

    def close(self) -> None:
        """End everything, also reads that wait in other threads."""
        with self._lock:
            self._closed = True
            waiting, self._waiting = self._waiting, []
            for stream in self._reading:
                stream.body.abort()
        for stream in waiting:
            stream.body.close()

    def _asked(self, offset: int, length: int) -> _Stream:
        end = None if length >= _WALK else offset + length
        return _Stream(self._opened(offset, end), offset, end)

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
        with self._lock:
            self._reading.discard(stream)
            ended = self._closed or stream.position == stream.end
            if not ended:
                self._waiting.append(stream)
            oldest = self._waiting.pop(0) if len(self._waiting) > _KEPT else None
        if ended:
            stream.body.close()
        if oldest:
            oldest.body.close()
