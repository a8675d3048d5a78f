"""Where a disk comes to lie: the hidden files around it, its writers, and how it takes its name.

A file is published by its rename. A block device shows at every moment what is on it, so a refusal wipes it.
"""

from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from diskyard import linux
from diskyard.disk import space
from diskyard.disk.inspect import MAX_SIZE
from diskyard.disk.journal import Journal, Record
from diskyard.disk.permission import check_writable
from diskyard.disk.preflight import Preflight, Route
from diskyard.disk.target import FILE_MODE, Target
from diskyard.disk.writer import ALIGNMENT, DeviceWriter, DiskWriter, FileWriter, known, marked
from diskyard.errors import Busy, InvalidRequest, NoSpace

_SHARE: Final = 2
"""Of what is free in a spare folder, which others use as well, half may be taken."""
_BESIDE: Final = 512 << 20
"""Bytes that an image of a small disk may have beside it: the largest block of a vhdx, and its log and tables."""


class Place(Protocol):
    """A file or a block device that shall be the disk."""

    target: Target
    disk: Path
    """What is written; not yet what it will be called."""

    def writer(self, path: Path, keep: int, size: int | None, /) -> DiskWriter:
        """A writer of the disk or the spool that keeps the first `keep` bytes; `size`: of the disk, where known."""

    def reopened(self) -> int:
        """Take the disk that is there back, to be written over; its size. Raises InvalidRequest where there is none."""

    def clear(self, writer: DiskWriter, size: int) -> None:
        """Make the disk `size` bytes of zeros, before pieces of it are written in any order."""

    def stretch(self, writer: DiskWriter, path: Path, size: int) -> None:
        """Make the disk or the spool as long as what will come: zeros are not written, yet they are there."""

    def cover(self, writer: DiskWriter, size: int) -> None:
        """Make what lies behind the disk's `size` bytes part of it, as zeros."""

    def converted(self, size: int, /) -> int:
        """What a conversion has left, taken over: its real size."""

    def mark(self) -> str:
        """What the disk is known by, as far as it is durable; empty where there is nothing yet."""

    def holds(self, path: Path, offset: int, mark: str, /) -> bool:
        """Whether the disk or the spool still has its first `offset` bytes."""

    def forget(self, mark: str, /) -> None:
        """Make sure that the disk is not known by a mark any more, wherever its journal is kept."""

    def published(self, mark: str, /) -> bool:
        """Whether the disk of that mark has taken its name already: who was to say so was killed."""

    def publish(self, size: int, /) -> None:
        """Complete and durable: let it be seen."""

    def discard(self) -> None:
        """Leave nothing of a transfer."""


def opened(target: Target) -> Place:
    """The place of a target. Raises InvalidRequest where it cannot be written, Busy where a device is in use."""
    for left in (target.part, *target.spools, target.journal):
        if left.is_symlink():  # none of ours, and led who knows where
            left.unlink()
    check_writable(target)
    return _Device(target) if linux.is_device(target.path) else _File(target)


def journal(target: Target) -> Journal:
    """The journal of a target, locked; a new one begins with what was reported of a lost one. Raises Busy."""
    found = Journal(target.journal)
    reported = Record.from_text(target.reported) if target.reported else None
    if reported and found.read() is None:
        found.write(reported)
    return found


def fetched(place: Place, route: Route) -> Path:
    """Where the bytes of a source are kept on this route."""
    return place.target.spool if route is Route.SPOOL else place.disk


def bound(place: Place, plan: Preflight) -> Callable[[int], None]:
    """What refuses a source of unknown length that has become too long: a bomb, or too large."""
    room = place.target.room
    if plan.route is Route.SPOOL:
        free, most = _room_for(place.target.spool), most_kept(place.target)
        return partial(space.check_kept, most=free if most is None else min(free, most))
    if room is None:
        room = _room_for(place.disk) if plan.virtual_size is None else MAX_SIZE
    return partial(space.check_room, room=room)


def most_kept(target: Target) -> int | None:
    """Bytes of an image that may be kept until its disk is made; None: as many as there is room for.

    A disk of that size twice over, for what its image has of its past, and what it has beside data.
    """
    return None if target.room is None else 2 * target.room + _BESIDE


def make_room(place: Place, size: int | None) -> None:
    """Have an image of `size` bytes kept where there is room until it is converted. Raises NoSpace, ImageTooLarge.

    Beside the disk, unless there is too little room for both and enough elsewhere. The disk's data is taken to be as
    long as the image: no header says it. An image of unknown length is kept beside the disk.
    """
    size = size or 0
    space.check_kept(size, most_kept(place.target))
    here, there = replace(place.target, apart=False), replace(place.target, apart=True)
    room = _room_for(here.spool)
    both = size if linux.is_device(here.path) else 2 * size
    if both <= room + space.taken(here.part):
        place.target = here
        return
    spare = _room_for(there.spool) // _SHARE if there.spare else 0
    if size > max(room, spare):
        or_there = f", nor in {there.spare}, where {spare} may be used" if there.spare else ""
        elsewhere = "" if there.spare else ", or name a folder for it (--scratch)"
        raise NoSpace(
            f"no space left on device for the image: it has {size} bytes and is kept in {here.folder} until it is "
            f"converted, where {room} are free{or_there}. Make room there, or use a larger volume{elsewhere}"
        )
    place.target = there if size <= spare else here


def _room_for(path: Path) -> int:
    return space.free(path.parent) + space.taken(path)


class _File:
    """A file that takes its name when it is complete."""

    def __init__(self, target: Target) -> None:
        if target.path.is_dir() and not target.path.is_symlink():
            raise InvalidRequest(f"expected a file at {target.path}, found a directory")
        self.target = target
        self.disk = target.part
        self._own = ""
        """The inode of the disk that we write; whoever replaces the folder puts another one under its name."""

    def writer(self, path: Path, keep: int, size: int | None, /) -> DiskWriter:
        wanted = max(size or 0, self.target.size or 0)
        preallocate = wanted if self.target.preallocate and path == self.disk else 0
        writer = FileWriter(path, keep=keep, preallocate=preallocate)
        if path == self.disk:
            self._own = self.mark()
        return writer

    def reopened(self) -> int:
        if _has(self.target.path, 0):
            self.target.path.rename(self.disk)
        if not _has(self.disk, 0):
            raise InvalidRequest(
                f"expected the disk of the stage before at {self.target.path}, found none: what has changed of it is "
                "of no use. Delete the DataVolume and begin with its first checkpoint"
            )
        return self.disk.stat().st_size

    def clear(self, writer: DiskWriter, size: int) -> None:
        writer.resize(size)

    def stretch(self, writer: DiskWriter, path: Path, size: int) -> None:
        _stretch(writer, path, size)

    def cover(self, writer: DiskWriter, size: int) -> None:
        writer.resize(max(size, self.target.size or 0))

    def converted(self, size: int, /) -> int:
        self._own = self.mark()
        found = self.disk.stat().st_size
        rounded = -(-size // ALIGNMENT) * ALIGNMENT  # by qemu-img, where direct writes end on whole blocks
        return size if found == rounded else found

    def mark(self) -> str:
        return _inode(self.disk)

    def _foreign(self) -> bool:
        """Whether the name of the disk that we wrote stands for another file now."""
        return bool(self._own) and self.mark() != self._own

    def holds(self, path: Path, offset: int, _mark: str, /) -> bool:
        return _has(path, offset)

    def forget(self, _mark: str, /) -> None:
        """The journal of a file is beside it."""

    def published(self, mark: str, /) -> bool:
        return bool(mark) and not self.disk.exists() and _inode(self.target.path) == mark

    def publish(self, size: int, /) -> None:
        if self._foreign():
            raise Busy(
                f"expected {self.disk} to be the disk that was just written, found another file or none: its folder "
                f"was removed or replaced meanwhile. Let one import at a time fill {self.target.path}, and run it again"
            )
        final = max(size, self.target.size or 0)
        preallocate = final if self.target.preallocate else 0
        with closing(FileWriter(self.disk, keep=size, preallocate=preallocate)) as writer:
            writer.resize(final)
            self.disk.chmod(FILE_MODE)
            writer.flush()
        _remove(self.target.spools)
        self.disk.rename(self.target.path)
        linux.sync_folder(self.target.folder)

    def discard(self) -> None:
        if self._foreign():
            return
        _remove((self.disk, *self.target.spools))
        self._own = ""


class _Device:
    """A block device: the disk is what is on it, and zeros to its end."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.disk = target.path
        self._touched = False
        self._writer: DeviceWriter | None = None

    def writer(self, path: Path, keep: int, _size: int | None, /) -> DiskWriter:
        if path != self.disk:
            return FileWriter(path, keep=keep)
        self._touched = True
        self._writer = DeviceWriter(path, preallocate=self.target.preallocate)
        return self._writer

    def reopened(self) -> int:
        with closing(DeviceWriter(self.disk)) as writer:
            return writer.size

    def clear(self, writer: DiskWriter, size: int) -> None:
        writer.resize(size)
        writer.zero(0, size)

    def stretch(self, writer: DiskWriter, path: Path, size: int) -> None:
        if path != self.disk:
            _stretch(writer, path, size)

    def cover(self, writer: DiskWriter, size: int) -> None:
        if isinstance(writer, DeviceWriter):
            writer.zero(size, writer.size - size)

    def converted(self, size: int, /) -> int:
        self._touched = True
        with closing(DeviceWriter(self.disk, preallocate=self.target.preallocate)) as writer:
            writer.zero(size, writer.size - size)
            writer.flush()
        return size

    def mark(self) -> str:
        return self._writer.mark() if self._writer else ""

    def holds(self, path: Path, offset: int, mark: str, /) -> bool:
        return known(path, mark) if path == self.disk else _has(path, offset)

    def forget(self, mark: str, /) -> None:
        if known(self.disk, mark):
            with closing(DeviceWriter(self.disk)) as writer:
                writer.zero(*marked(mark))
                writer.flush()

    def published(self, _mark: str, /) -> bool:
        return False

    def publish(self, _size: int, /) -> None:
        _remove(self.target.spools)

    def discard(self) -> None:
        _remove(self.target.spools)
        if self._touched:
            with closing(DeviceWriter(self.disk)) as writer:
                writer.zero(0, writer.size)
                writer.flush()


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _has(path: Path, offset: int) -> bool:
    return path.is_file() and not path.is_symlink() and path.stat().st_size >= offset


def _stretch(writer: DiskWriter, path: Path, size: int) -> None:
    if path.stat().st_size < size:
        writer.resize(size)


def _inode(path: Path) -> str:
    """A file keeps it when it takes its name; empty where there is no file."""
    try:
        return str(path.lstat().st_ino)
    except FileNotFoundError:
        return ""
