"""What Linux offers for disks and Python does not: holes, zeroed ranges, sizes of devices.

The only ioctls and the only ctypes of the project but for saved digest states.
"""

import ctypes
import errno
import fcntl
import os
import platform
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

# include/uapi/linux/falloc.h
_KEEP_SIZE: Final = 0x01
_PUNCH_HOLE: Final = 0x02
# include/uapi/linux/fs.h
_BLKGETSIZE64: Final = 0x80081272
_BLKSSZGET: Final = 0x1268
_BLKPBSZGET: Final = 0x127B
_BLKZEROOUT: Final = 0x127F
_FICLONE: Final = 0x40049409

_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}
"""What uname(2) calls a machine -> what Go, and so images and Kubernetes, call it; others have one name."""

_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
_libc.memcmp.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
_PAGE: Final = 4096
_zeros = bytearray(_PAGE)


def is_zero(buf: memoryview) -> bool:
    """Whether a buffer that can be written is zero; other threads run meanwhile.

    All of it is compared with itself one page on: what is read a second time is still in the fastest cache.
    """
    if len(buf) < _PAGE or _zeros != buf[:_PAGE]:
        return len(buf) < _PAGE and bytearray(len(buf)) == buf
    start = ctypes.addressof(ctypes.c_char.from_buffer(buf))
    return int(_libc.memcmp(start, start + _PAGE, len(buf) - _PAGE)) == 0


def allocate(fd: int, start: int, length: int) -> None:
    """Reserve room; what is new reads as zeros. Grows the file. Raises OSError."""
    _fallocate(fd, 0, start, length)


def punch(fd: int, start: int, length: int) -> None:
    """Make a range read as zeros and give its room back, in a file or (since 4.9) a device. Raises OSError."""
    _fallocate(fd, _PUNCH_HOLE | _KEEP_SIZE, start, length)


def zero_device(fd: int, start: int, length: int) -> None:
    """Make a range of a block device read as zeros, its room kept. In whole sectors. Raises OSError."""
    fcntl.ioctl(fd, _BLKZEROOUT, struct.pack("=QQ", start, length))


def reflinked(target: int, source: int) -> bool:
    """Make a file share all blocks of another (ioctl_ficlone(2)); False: the file system cannot. Raises OSError."""
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError as error:
        if error.errno in (
            errno.EOPNOTSUPP,
            errno.EINVAL,
            errno.EXDEV,
            errno.ENOTTY,
            errno.ENOSYS,
            errno.EPERM,
        ):
            return False
        raise
    return True


def file_system(path: Path) -> str:
    """The kind of file system that a path is in, as mount(8) calls it; empty where /proc does not say."""
    device = path.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    try:
        lines = Path("/proc/self/mountinfo").read_text(errors="replace").splitlines()
    except OSError:
        return ""
    found = (line.partition(" - ")[2].split(" ")[0] for line in lines if line.split(" ")[2] == number)
    return next(found, "")


def device_size(fd: int) -> int:
    """Bytes of a block device. Raises OSError."""
    answer = fcntl.ioctl(fd, _BLKGETSIZE64, bytes(8))
    return int.from_bytes(answer, "little")


def sectors(fd: int) -> tuple[int, int]:
    """Bytes that a block device reads and writes at least, and those that it does at once. Raises OSError."""
    logical, physical = (fcntl.ioctl(fd, asked, bytes(4)) for asked in (_BLKSSZGET, _BLKPBSZGET))
    return int.from_bytes(logical, "little"), int.from_bytes(physical, "little")


def is_device(path: Path) -> bool:
    """Whether a path is a block device. A link to one is none: whoever had the folder before may have left it."""
    try:
        return stat.S_ISBLK(path.lstat().st_mode)
    except FileNotFoundError:
        return False


def architecture() -> str:
    """The machine's, as images and Kubernetes call it."""
    return _ARCHITECTURES.get(platform.machine(), platform.machine())


def resident() -> int:
    """Bytes of memory that this process holds now (proc(5), statm). A process that ran before it does not count."""
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def sync_folder(folder: Path) -> None:
    """What was made, renamed or removed in a folder stays so. Raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_volume(folder: Path) -> None:
    """All of the file system of a folder becomes durable: for many small files at once. Raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if _libc.syncfs(fd) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(folder))
    finally:
        os.close(fd)


def extents(fd: int, size: int, start: int = 0) -> Iterator[tuple[int, int, bool]]:
    """(start, length, hole) over the first `size` bytes of a file from `start` on, in order."""
    position = start
    while position < size:
        begin = _seek(fd, position, os.SEEK_DATA, size)
        if begin > position:
            yield position, begin - position, True
        if begin >= size:
            return
        end = _seek(fd, begin, os.SEEK_HOLE, size)
        yield begin, end - begin, False
        position = end


def _seek(fd: int, offset: int, whence: int, size: int) -> int:
    try:
        return min(os.lseek(fd, offset, whence), size)
    except OSError as error:
        if error.errno == errno.ENXIO:  # no more data: lseek(2)
            return size
        if error.errno == errno.EINVAL:  # block devices know no holes: all is data
            return offset if whence == os.SEEK_DATA else size
        raise


def _fallocate(fd: int, mode: int, start: int, length: int) -> None:
    while _libc.fallocate(fd, mode, start, length) != 0:
        code = ctypes.get_errno()
        if code != errno.EINTR:
            raise OSError(code, os.strerror(code))
