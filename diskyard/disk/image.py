"""Something that already is a flat disk: what it holds where, and its bytes."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, runtime_checkable

from diskyard import linux
from diskyard.disk.extent import Extent
from diskyard.errors import SourceUnavailable


@runtime_checkable
class Image(Protocol):
    """A flat disk that can be read at any offset, from several threads at once."""

    size: int
    """Bytes."""

    def extents(self) -> Iterator[Extent]:
        """The whole disk, in order, without overlap."""

    def preadinto(self, buf: memoryview, offset: int) -> None:
        """Fill all of `buf` from `offset`. Raises SourceUnavailable where the image is shorter."""


class FileImage:
    """A raw file or block device of this machine, with its holes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        self._device = stat.S_ISBLK(os.fstat(self._fd).st_mode)
        self.size = linux.device_size(self._fd) if self._device else os.fstat(self._fd).st_size

    def extents(self) -> Iterator[Extent]:
        if self._device:
            yield Extent(0, self.size, zero=False)
            return
        for start, length, hole in linux.extents(self._fd, self.size):
            yield Extent(start, length, hole)

    def preadinto(self, buf: memoryview, offset: int) -> None:
        filled = 0
        while filled < len(buf):
            count = os.preadv(self._fd, [buf[filled:]], offset + filled)
            if count == 0:
                raise SourceUnavailable(f"{self._path} ends at {offset + filled}, expected {self.size} bytes")
            filled += count

    def close(self) -> None:
        os.close(self._fd)
