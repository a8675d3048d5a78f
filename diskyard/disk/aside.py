"""Bytes of an image that passed before any of its tables had named them: kept until one does.

Where a source cannot seek, what a late table maps can be had nowhere else. It lies in a file without a name on the
target's own volume, which is gone with whoever opened it, kill -9 included.
"""

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from diskyard.disk import space
from diskyard.disk.extent import Range

GRAIN: Final = 64 << 10
"""Kept as a whole where one byte of it is not named."""
_DIRTY: Final = 32 << 20
"""Bytes after which what is kept is written back: a slow disk must not fill the memory."""
_SECTOR: Final = 512
"""A compressed cluster is named in whole sectors: what it shares with its neighbour may be the neighbour's alone."""


class Aside:
    """What is kept of one stream. Put by one thread, read by several."""

    def __init__(self, folder: Path, most: int | None = None) -> None:
        """`most`: bytes that are kept; None: as many as there is room for."""
        self.taken = 0
        """Bytes that are kept."""
        self._folder = folder
        self._most = most
        self._fd: int | None = None
        self._grains = bytearray()
        """A bit for each grain of the image: whether it is kept."""

    def put(self, offset: int, body: bytes | memoryview, named: Iterable[Range]) -> None:
        """Keep of `body`, which lay at `offset`, what is not named. Raises NoSpace, ImageTooLarge."""
        for span in _unnamed(Range(offset, len(body)), named):
            self._write(span.start, memoryview(body)[span.start - offset : span.end - offset])
            for grain in range(span.start // GRAIN, -(-span.end // GRAIN)):
                self._grains.extend(bytes(max(0, grain // 8 + 1 - len(self._grains))))
                self._grains[grain // 8] |= 1 << grain % 8

    def has(self, span: Range) -> bool:
        """Whether all of it is kept."""
        grains = range(span.start // GRAIN, -(-span.end // GRAIN))
        return all(
            grain // 8 < len(self._grains) and self._grains[grain // 8] >> grain % 8 & 1 for grain in grains
        )

    def read(self, span: Range) -> bytes:
        """What was kept of it; zeros behind the end of what came."""
        if self._fd is None:
            return bytes(span.length)
        return os.pread(self._fd, span.length, span.start).ljust(span.length, b"\0")

    def close(self) -> None:
        """Give its room back."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    def _write(self, offset: int, view: memoryview) -> None:
        space.check_kept(self.taken + len(view), self._most)
        try:
            if self._fd is None:
                self._fd = _nameless(self._folder)
            done = 0
            while done < len(view):
                done += os.pwrite(self._fd, view[done:], offset + done)
            if (self.taken + done) // _DIRTY > self.taken // _DIRTY:
                os.fdatasync(self._fd)
        except OSError as error:
            if error.errno in space.FULL:
                doing = (
                    f"keeping the {len(view)} bytes from {offset} of an image whose tables lie behind its data "
                    f"({self.taken} bytes are kept until a table says where they belong)"
                )
                raise space.full(self._folder, doing) from error
            raise
        self.taken += len(view)


def _unnamed(whole: Range, named: Iterable[Range]) -> list[Range]:
    """The grains of a range that are not wholly named, neighbours as one."""
    found: list[Range] = []
    position = whole.start
    for span in [*sorted(named, key=_start), Range(whole.end, 0)]:
        if span.start > position:
            start = max(whole.start, (position - _SECTOR) // GRAIN * GRAIN)
            end = min(whole.end, -(-(span.start + _SECTOR) // GRAIN) * GRAIN)
            if found and found[-1].end >= start:
                found[-1] = Range(found[-1].start, end - found[-1].start)
            else:
                found.append(Range(start, end - start))
        position = max(position, span.end)
    return found


def _start(span: Range) -> int:
    return span.start


def _nameless(folder: Path) -> int:
    """A file that nobody else sees: tempfile knows which file systems have no such thing."""
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        return os.dup(file.fileno())
