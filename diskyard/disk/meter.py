"""What limits a transfer, and how long it has stood still: read off beside it, about once a second.

Whoever is slower is seldom waited for by the other: a copy whose reads are under way all the time waits for its
source, one whose writes are for its disk, and one where neither is, for the processor.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Final

from diskyard.disk.extent import Extent
from diskyard.disk.image import Image
from diskyard.disk.source import Source
from diskyard.disk.target import Limit
from diskyard.disk.writer import DiskWriter

PERIOD: Final = 1.0
"""Seconds between two readings."""
_MOSTLY: Final = 0.5
"""Part of a period that something must have been under way in, to be the limit."""

Clock = Callable[[], float]


class Meter:
    """Watches reads and writes that go through what it hands out."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._reads = _Gauge(clock)
        self._writes = _Gauge(clock)
        self._since = clock()

    def source(self, source: Source) -> Source:
        """The same source, watched."""
        return _Source(source, self._reads)

    def image(self, image: Image) -> Image:
        """The same image, watched."""
        return _Image(image, self._reads)

    def writer(self, writer: DiskWriter) -> DiskWriter:
        """The same writer, watched."""
        return _Writer(writer, self._writes)

    def still(self) -> float:
        """Seconds in which nothing was read or written."""
        return self._clock() - max(self._reads.moved, self._writes.moved)

    def limit(self) -> Limit:
        """What limited since this was asked last; where nothing moves, what is waited for."""
        now = self._clock()
        elapsed, self._since = now - self._since, now
        reading, writing = self._reads.busy(), self._writes.busy()
        if self.still() >= elapsed:
            return Limit.SOURCE if self._reads.running else Limit.DISK
        if max(reading, writing) < _MOSTLY * elapsed:
            return Limit.CPU
        return Limit.SOURCE if reading >= writing else Limit.DISK


@contextmanager
def watched(on_tick: Callable[[], None], period: float = PERIOD) -> Iterator[None]:
    """Have `on_tick` called now and then, on a thread of its own."""
    over = threading.Event()

    def tick() -> None:
        while not over.wait(period):
            on_tick()

    thread = threading.Thread(target=tick, name="meter", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


class _Gauge:
    """How long at least one of something has been under way, and when one was last done."""

    def __init__(self, clock: Clock) -> None:
        self.moved = clock()
        self.running = 0
        self._clock = clock
        self._lock = threading.Lock()
        self._since = self.moved
        self._busy = 0.0

    def __enter__(self) -> None:
        with self._lock:
            if not self.running:
                self._since = self._clock()
            self.running += 1

    def __exit__(self, kind: type[BaseException] | None, _: object, __: TracebackType | None) -> None:
        with self._lock:
            now = self._clock()
            self.running -= 1
            if not self.running:
                self._busy += now - self._since
            if kind is None:
                self.moved = now

    def busy(self) -> float:
        """Seconds since this was asked last."""
        with self._lock:
            now = self._clock()
            if self.running:
                self._busy += now - self._since
                self._since = now
            busy, self._busy = self._busy, 0.0
        return busy


class _Source:
    def __init__(self, source: Source, gauge: _Gauge) -> None:
        self.size = source.size
        self.validator = source.validator
        self.ranged = source.ranged
        self._source = source
        self._gauge = gauge

    def readinto(self, buf: memoryview, offset: int) -> int | None:
        with self._gauge:
            count = self._source.readinto(buf, offset)
        self.size = self._source.size
        return count

    def close(self) -> None:
        self._source.close()


class _Image:
    def __init__(self, image: Image, gauge: _Gauge) -> None:
        self.size = image.size
        self._image = image
        self._gauge = gauge

    def extents(self) -> Iterator[Extent]:
        return self._image.extents()

    def preadinto(self, buf: memoryview, offset: int, /) -> None:
        with self._gauge:
            self._image.preadinto(buf, offset)


class _Writer:
    def __init__(self, writer: DiskWriter, gauge: _Gauge) -> None:
        self._writer = writer
        self._gauge = gauge

    def pwrite(self, buf: memoryview, offset: int) -> None:
        with self._gauge:
            self._writer.pwrite(buf, offset)

    def zero(self, offset: int, length: int) -> None:
        with self._gauge:
            self._writer.zero(offset, length)

    def resize(self, size: int) -> None:
        self._writer.resize(size)

    def flush(self) -> None:
        with self._gauge:
            self._writer.flush()

    def close(self) -> None:
        self._writer.close()
