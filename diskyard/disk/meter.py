"""What limits a transfer, and how long it has stood still: read off beside it, about once a second.

Whoever is slower is seldom waited for by the other: a copy whose reads are under way all the time waits for its
source, one whose writes are for its disk, and one where neither is, for the processor; so does one whose source unpacks
what has long come. A source that lets bytes come to this machine without a pause does what it can: then the network is
what limits.
"""

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Final

from diskyard.disk.extent import Extent
from diskyard.disk.image import Image
from diskyard.disk.source import Source, silence, waits
from diskyard.disk.target import Limit
from diskyard.disk.writer import DiskWriter

PERIOD: Final = 1.0
"""Seconds between two readings."""
_LOOKS: Final = 20
"""In each period, at whether bytes come."""
_PAUSE: Final = 0.1
"""Seconds without a byte that are the source's own, and not a slow line's."""
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
        self._wire: Source | None = None
        self._seen = Counter[Limit]()

    def source(self, source: Source) -> Source:
        """The same source, watched."""
        self._wire = source
        return _Source(source, self._reads)

    def image(self, image: Image) -> Image:
        """The same image, watched."""
        return _Image(image, self._reads)

    def writer(self, writer: DiskWriter) -> DiskWriter:
        """The same writer, watched."""
        return _Writer(writer, self._writes)

    def still(self) -> float:
        """Seconds in which nothing was read or written."""
        still, silent = self._clock() - max(self._reads.moved, self._writes.moved), self._silence()
        return still if silent is None else min(still, silent)

    def look(self) -> None:
        """See whether bytes come while they are waited for."""
        if self._wire and self._reads.running and not waits(self._wire):
            self._seen[Limit.CPU] += 1
        elif (silent := self._silence()) is not None:
            self._seen[Limit.SOURCE if silent > _PAUSE else Limit.NETWORK] += 1

    def limit(self) -> Limit:
        """What limited since this was asked last; where nothing moves, what is waited for."""
        now = self._clock()
        elapsed, self._since = now - self._since, now
        reading, writing = self._reads.busy(), self._writes.busy()
        seen, self._seen = self._seen, Counter[Limit]()
        if self.still() >= elapsed:
            return Limit.SOURCE if self._reads.running else Limit.DISK
        if max(reading, writing) < _MOSTLY * elapsed:
            return Limit.CPU
        if writing > reading:
            return Limit.DISK
        return max((Limit.SOURCE, Limit.CPU, Limit.NETWORK), key=lambda limit: seen[limit])

    def _silence(self) -> float | None:
        return silence(self._wire) if self._wire and self._reads.running else None


@contextmanager
def watched(meter: Meter, on_tick: Callable[[], None]) -> Iterator[None]:
    """Have a meter look, and `on_tick` called now and then, on a thread of its own."""
    over = threading.Event()

    def tick() -> None:
        for count in itertools.count(1):
            if over.wait(PERIOD / _LOOKS):
                return
            meter.look()
            if count % _LOOKS == 0:
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
