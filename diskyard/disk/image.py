"""Something that already is a flat disk: what it holds where, and its bytes."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from diskyard import linux
from diskyard.disk.extent import Extent
from diskyard.errors import SourceChanged, SourceUnavailable


@runtime_checkable
class Image(Protocol):
    """A flat disk that can be read at any offset, from several threads at once."""

    size: int
    """Bytes."""

    def extents(self) -> Iterator[Extent]:
        """The whole disk, in order, without overlap."""

    def preadinto(self, buf: memoryview, offset: int) -> None:
        """Fill all of `buf` from `offset`. Raises SourceUnavailable where the image is shorter."""


@runtime_checkable
class Lasting(Image, Protocol):
    """An image that says which version it is, so that an interrupted transfer of it can go on."""

    validator: str
    """The same text means the same bytes."""


@dataclass(frozen=True)
class Changes:
    """What has changed of a disk that is there already: the image's extents leave out what has not."""

    image: Image


class FileImage:
    """A raw file or block device of this machine, with its holes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        self._device = stat.S_ISBLK(os.fstat(self._fd).st_mode)
        self.size = linux.device_size(self._fd) if self._device else os.fstat(self._fd).st_size
        self.validator = self._version()

    def extents(self, start: int = 0) -> Iterator[Extent]:
        if self._device:
            yield from [Extent(start, self.size - start, zero=False)] if start < self.size else ()
            return
        for begin, length, hole in linux.extents(self._fd, self.size, start):
            yield Extent(begin, length, hole)

    def check(self) -> None:
        """Raises SourceChanged where the file is not what it was when it was opened."""
        if self._version() != self.validator:
            raise SourceChanged(
                f"{self._path} was written to while it was read: begin again, with nobody using it"
            )

    def _version(self) -> str:
        """Of a file; a device does not tell when it was written."""
        facts = os.fstat(self._fd)
        return f"{self.size}" if self._device else f"{facts.st_ino}-{facts.st_size}-{facts.st_mtime_ns}"

    def preadinto(self, buf: memoryview, offset: int) -> None:
        filled = 0
        while filled < len(buf):
            count = os.preadv(self._fd, [buf[filled:]], offset + filled)
            if count == 0:
                raise SourceUnavailable(f"{self._path} ends at {offset + filled}, expected {self.size} bytes")
            filled += count

    def fileno(self) -> int:
        """For who can share its blocks instead of reading them."""
        return self._fd

    def close(self) -> None:
        os.close(self._fd)
