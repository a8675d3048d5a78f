"""A Source whose first bytes can be looked at before they are read."""

import threading

from diskyard.disk.source import Source


def fill(source: Source, buf: memoryview, offset: int) -> int:
    """Bytes put into `buf` from `offset`: as many as fit, fewer only at the end of the source."""
    filled = 0
    while filled < len(buf):
        count = source.readinto(buf[filled:], offset + filled)
        if count == 0:
            break
        filled += count or 0
    return filled


def read(source: Source, offset: int, length: int) -> bytes:
    """The `length` bytes from `offset`, fewer only at the end of the source."""
    buf = bytearray(length)
    return bytes(buf[: fill(source, memoryview(buf), offset)])


class Headed:
    """A Source that keeps its head: `head(n)` reads it, `readinto` then gives it once more. `fetched` counts."""

    def __init__(self, source: Source) -> None:
        self.size = source.size
        self.validator = source.validator
        self.ranged = source.ranged
        self.fetched = 0
        self._source = source
        self._head = b""
        self._lock = threading.Lock()

    def head(self, length: int) -> bytes:
        """The first `length` bytes, fewer where the source is shorter."""
        missing = length - len(self._head)
        if missing > 0:
            more = read(self._source, len(self._head), missing)
            self._head += more
            self.fetched += len(more)
            self.size = self._source.size
        return self._head[:length]

    def readinto(self, buf: memoryview, offset: int) -> int | None:
        kept = self._head[offset : offset + len(buf)]
        if kept:
            buf[: len(kept)] = kept
            return len(kept)
        count = self._source.readinto(buf, offset)
        with self._lock:
            self.fetched += count or 0
        self.size = self._source.size
        return count

    def close(self) -> None:
        self._source.close()
