"""Where a disk's bytes go: a sparse file or a block device, positional, durable when flushed.

Both write aligned runs past the page cache (O_DIRECT) where the file system lets them: memory stays flat
and no write-back stalls the copy. What is not aligned, or refused, goes through the cache.
"""

import errno
import hashlib
import mmap
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Final, Protocol

from diskyard import linux
from diskyard.disk import space
from diskyard.disk.extent import Extent, coalesced
from diskyard.errors import ImageTooLarge, InvalidRequest, NoSpace

ALIGNMENT: Final = 4096
_BLOCK: Final = 64 << 10
_MANY: Final = 1 << 20
_ZEROS: Final = bytes(1 << 20)
_ZERO_GRAINS: Final = tuple(bytearray(size) for size in (_BLOCK, ALIGNMENT))
"""Of what zeros are found by. A bytearray compares itself with a view in place; others copy, or are slow."""
_REFUSED: Final = frozenset({errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTTY, errno.ENOSYS, errno.EPERM})


class DiskWriter(Protocol):
    """A disk that is being written. Calls may come from several threads, for ranges that do not overlap."""

    def pwrite(self, buf: memoryview, offset: int) -> None:
        """All of `buf`, at `offset`. Raises NoSpace."""

    def zero(self, offset: int, length: int) -> None:
        """Zeros, as a hole where that is possible. Raises NoSpace."""

    def resize(self, size: int) -> None:
        """A file becomes this long, what is new as a hole; a device stays as it is."""

    def flush(self) -> None:
        """Durable on return. Raises NoSpace."""

    def close(self) -> None:
        """Give back the descriptors; flushes nothing."""


class FileWriter:
    """A file that holds a disk: what was never written is a hole."""

    def __init__(self, path: Path, *, keep: int = 0, preallocate: int = 0) -> None:
        """Open or create; what lies behind the first `keep` bytes is dropped, `preallocate` bytes get room."""
        self._path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        os.ftruncate(self._fd, keep)
        self._old = keep
        self._changed = True
        self._flushing = Lock()
        self._cached = _Cached(self._fd, path)
        if preallocate:
            self._preallocate(preallocate)

    def pwrite(self, buf: memoryview, offset: int) -> None:
        self._cached.pwrite(buf, offset)
        self._changed = True  # once it is done: a flush that begins meanwhile may have missed it

    def zero(self, offset: int, length: int) -> None:
        stale = min(offset + length, self._old) - offset
        if stale > 0:
            linux.punch(self._fd, offset, stale)
            self._changed = True

    def resize(self, size: int) -> None:
        os.ftruncate(self._fd, size)
        self._changed = True

    def share(self, source: int) -> bool:
        """Become what another file is, on the same blocks; False: the file system cannot. Raises NoSpace."""
        try:
            shared = linux.reflinked(self._fd, source)
        except OSError as error:
            if error.errno in space.FULL:
                raise space.full(self._path, "sharing the blocks of another file") from error
            raise
        self._changed = self._changed or shared
        return shared

    def flush(self) -> None:
        """Where only holes have passed there is nothing that the disk must be asked."""
        with self._flushing:
            if self._changed:
                self._changed = False
                try:
                    self._cached.flush()
                except (OSError, NoSpace):
                    self._changed = True
                    raise

    def close(self) -> None:
        self._cached.close()

    def _preallocate(self, size: int) -> None:
        try:
            linux.allocate(self._fd, 0, size)
        except OSError as error:
            if error.errno in space.FULL:
                os.ftruncate(self._fd, self._old)
                raise space.full(self._path, f"preallocating {size} bytes") from error
            if error.errno not in _REFUSED:
                raise
            self._write_holes(size)

    def _write_holes(self, size: int) -> None:
        os.ftruncate(self._fd, max(size, self._old))
        for start, length, hole in linux.extents(self._fd, size):
            if hole:
                _write_zeros(self._cached, start, length)


class DeviceWriter:
    """A block device: what it held before is overwritten, with zeros where the disk has none of its own."""

    def __init__(self, path: Path, *, preallocate: bool = False) -> None:
        self._path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_EXCL | os.O_NOFOLLOW)
        self._cached = _Cached(self._fd, path)
        self._ways = [linux.zero_device] if preallocate else [linux.punch, linux.zero_device]
        self.size = linux.device_size(self._fd)
        self._last: tuple[int, int] | None = None
        self._durable: tuple[int, int] | None = None

    def pwrite(self, buf: memoryview, offset: int) -> None:
        self._cached.pwrite(buf, offset)
        self._last = (offset, min(len(buf), _BLOCK))

    def mark(self) -> str:
        """What was written last before the last flush, read again: `known` finds it; empty before that."""
        return _mark(self._fd, *self._durable) if self._durable else ""

    def zero(self, offset: int, length: int) -> None:
        start, end = -(-offset // ALIGNMENT) * ALIGNMENT, (offset + length) // ALIGNMENT * ALIGNMENT
        if start >= end:
            _write_zeros(self._cached, offset, length)
            return
        _write_zeros(self._cached, offset, start - offset)
        self._zero_aligned(start, end - start)
        _write_zeros(self._cached, end, offset + length - end)

    def resize(self, size: int) -> None:
        if size > self.size:
            raise ImageTooLarge(
                f"virtual image size {size} is larger than the reported available storage {self.size}. "
                "A larger PVC is required"
            )

    def flush(self) -> None:
        last = self._last
        self._cached.flush()
        self._durable = last

    def close(self) -> None:
        self._cached.close()

    def _zero_aligned(self, offset: int, length: int) -> None:
        for way in tuple(self._ways):
            try:
                return way(self._fd, offset, length)
            except OSError as error:
                if error.errno not in _REFUSED:
                    raise
                with suppress(ValueError):  # another thread has found out as well
                    self._ways.remove(way)
        return _write_zeros(self._cached, offset, length)


def write_sparse(writer: DiskWriter, buf: memoryview, offset: int) -> int:
    """Write what is not zero, zero the rest; bytes written. The grain is 64 KiB, then 4 KiB."""
    written = 0
    for run in coalesced(_runs(buf)):
        if run.zero:
            writer.zero(offset + run.start, run.length)
        else:
            writer.pwrite(buf[run.start : run.end], offset + run.start)
            written += run.length
    return written


def write_plain(writer: DiskWriter, buf: memoryview, offset: int) -> int:
    """Write everything, zeros too; bytes written."""
    writer.pwrite(buf, offset)
    return len(buf)


def _runs(buf: memoryview) -> Iterator[Extent]:
    """Most pages of data begin with something else than zero: one look at the first bytes of all of them tells."""
    firsts = bytes(buf[::ALIGNMENT])
    position, page = 0, firsts.find(0)
    while page >= 0:
        start = page * ALIGNMENT
        length = _zeros_at(buf, start)
        if length:
            yield Extent(position, start - position, zero=False)
            position = start + length
            yield Extent(start, length, zero=True)
        page = firsts.find(0, max(page + 1, -(-position // ALIGNMENT)))
    yield Extent(position, len(buf) - position, zero=False)


def _zeros_at(buf: memoryview, start: int) -> int:
    """Bytes from there that are known to be zero: many, a block, a page, or none."""
    many = buf[start : start + _MANY]
    if len(many) == _MANY and not many.readonly and linux.is_zero(many):
        return _MANY
    for zeros in _ZERO_GRAINS:
        if zeros == buf[start : start + len(zeros)]:
            return len(zeros)
    rest = len(buf) - start
    return rest if rest < ALIGNMENT and bytearray(rest) == buf[start:] else 0


class _Cached:
    """Positional writes through O_DIRECT where offset, length and buffer allow it, else through the page cache."""

    def __init__(self, fd: int, path: Path) -> None:
        self._fd = fd
        self._path = path
        self._direct: int | None = None
        with suppress(OSError):
            self._direct = os.open(path, os.O_WRONLY | os.O_DIRECT | os.O_CLOEXEC | os.O_NOFOLLOW)

    def pwrite(self, buf: memoryview, offset: int) -> None:
        done = 0
        while done < len(buf):
            try:
                done += self._pwrite_some(buf[done:], offset + done)
            except OSError as error:
                if error.errno in space.FULL:
                    raise space.full(self._path, f"writing at byte {offset + done}") from error
                raise

    def _pwrite_some(self, buf: memoryview, offset: int) -> int:
        whole = len(buf) // ALIGNMENT * ALIGNMENT
        if self._direct is not None and whole and offset % ALIGNMENT == 0:
            try:
                return os.pwrite(self._direct, buf[:whole], offset)
            except OSError as error:
                if error.errno != errno.EINVAL:  # EINVAL: this buffer is not aligned
                    raise
        return os.pwrite(self._fd, buf, offset)

    def flush(self) -> None:
        try:
            os.fsync(self._fd)
        except OSError as error:
            if error.errno in space.FULL:
                raise space.full(self._path, "flushing") from error
            raise

    def close(self) -> None:
        os.close(self._fd)
        if self._direct is not None:
            os.close(self._direct)


def device_size(path: Path) -> int:
    """Bytes of a block device. Raises InvalidRequest where it may not be opened."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        raise InvalidRequest(
            f"cannot open the block device {path} as {os.geteuid()}:{os.getegid()}: {error.strerror}"
        ) from error
    try:
        return linux.device_size(fd)
    finally:
        os.close(fd)


def known(path: Path, mark: str) -> bool:
    """Whether a block device still holds what it held when a writer of it gave that mark."""
    start, length = marked(mark)
    if not length:
        return False
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        return _mark(fd, start, length) == mark
    finally:
        os.close(fd)


def marked(mark: str) -> tuple[int, int]:
    """Where what a mark was made of lies on its device, and its length; 0 bytes of what is no mark."""
    start, _, rest = mark.partition("+")
    length = rest.partition(":")[0]
    numbers = start.isdecimal() and length.isdecimal() and len(start) < 19 and len(length) < 19
    return (int(start), min(int(length), _BLOCK)) if numbers else (0, 0)


def _mark(fd: int, start: int, length: int) -> str:
    """START+LENGTH:DIGEST, the device's size in the digest: two devices may begin alike."""
    found = hashlib.sha256(b"%d " % linux.device_size(fd) + os.pread(fd, length, start)).hexdigest()
    return f"{start}+{length}:{found[:16]}"


def takes_direct(path: Path) -> bool:
    """Whether the file system of a file lets writes pass the page cache."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_DIRECT | os.O_CLOEXEC | os.O_NOFOLLOW))
    except OSError:
        return False
    return True


def aligned(size: int) -> mmap.mmap:
    """A buffer that O_DIRECT takes: anonymous memory that starts on a page."""
    return mmap.mmap(-1, size)


def _write_zeros(writer: _Cached, offset: int, length: int) -> None:
    for start in range(offset, offset + length, len(_ZEROS)):
        writer.pwrite(memoryview(_ZEROS)[: min(len(_ZEROS), offset + length - start)], start)
