"""The disks of claims: found, checked, and made where an empty claim has none yet."""

import mmap
import os
import stat
from pathlib import Path, PurePosixPath
from typing import Final

from diskyard import linux, log
from diskyard.api.instance import EPHEMERAL, Claim, Disk, Instance, Volume
from diskyard.api.names.cdi import DISK_FILE
from diskyard.api.quantity import MIB, round_down
from diskyard.errors import InvalidRequest, NoSpace
from vm_runtime.domain.disk import Backing
from vm_runtime.launcher.place import Place

_log = log.logger("disks")

TOLERATED: Final = 10
"""Per cent of a claim's size that may be missing (KubeVirt's pvcTolerateLessSpaceUpToPercent)."""
_STORED: Final = 512
"""Bytes of a block, as stat(2) counts them."""
RESERVED: Final = 131072
"""Bytes left free beside a disk that we make (KubeVirt's minimumReservePVCBytes)."""


def claimed(instance: Instance, volume: Volume, place: Place) -> Backing:
    """The disk of a claim, which grows with it; an empty file system gets one. Raises InvalidRequest, NoSpace."""
    claim = instance.claims[volume.name]
    path = where(claim, volume, place)
    made = not claim.block and volume.kind != EPHEMERAL and not os.path.lexists(path)
    small = make(path, claim) if made else ""
    called = f"volume {volume.name}: {path} of claim {claim.name}"
    _check_file(path, called, block=claim.block, written=_written(instance, volume))
    if not made and not claim.block and own(instance, volume):
        small = grow(path, claim)
    if small:
        _log.warning(small)
    return Backing(
        str(path),
        claim.block,
        direct(path),
        claim.preallocated,
        filled(path),
        sectors=sectors(path),
        small=small,
    )


def where(claim: Claim, volume: Volume, place: Place) -> Path:
    """The file or device of a claim that is there from the start."""
    return place.devices / volume.name if claim.block else place.disks / volume.name / DISK_FILE


def on_host(instance: Instance, volume: Volume, place: Place) -> Backing:
    """A disk of the machine itself, which the node's agent has looked at. Raises InvalidRequest."""
    path = place.disks / volume.name / PurePosixPath(str(volume.source.get("path"))).name
    called = f"volume {volume.name}: {volume.source.get('path')}"
    _check_file(path, called, block=False, written=_written(instance, volume))
    return Backing(str(path), direct=direct(path), filled=filled(path), sectors=sectors(path))


def make(path: Path, claim: Claim) -> str:
    """A sparse disk of the claim's size, or of what room there is within the tolerance; why it is smaller.

    Raises NoSpace.
    """
    size = room(claim.size, _free(path.parent))
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o660)
    try:
        os.ftruncate(handle, size)
    finally:
        os.close(handle)
    _log.info("made an empty disk", path=path, size=size)
    wanted = round_down(claim.size)
    if size == wanted:
        return ""
    return (
        f"PV size too small: expected {wanted} B, found {size} B. Using it anyway, it is within "
        f"{TOLERATED} % toleration"
    )


def grow(path: Path, claim: Claim, *, linked: bool = False) -> str:
    """Have a disk take what its claim gives, which may have been expanded; why it is smaller. What it holds stays.

    `linked`: the path is a link of ours to it.
    """
    wanted = round_down(claim.most)
    if path.stat().st_size >= wanted:
        return ""
    try:
        size = _extend(path, wanted, filled=claim.preallocated, linked=linked)
    except OSError as failure:
        return f"the disk of claim {claim.name} cannot grow to {wanted} B: {failure.strerror}"
    _log.info("the disk has grown with its claim", claim=claim.name, size=size)
    if size == wanted:
        return ""
    return f"PV size too small: claim {claim.name} gives its disk {wanted} B, and its file system has room for {size} B"


def _extend(path: Path, wanted: int, *, filled: bool, linked: bool) -> int:
    """Make a file that long, as far as there is room; `filled`: on blocks of its own. Raises OSError."""
    handle = os.open(path, os.O_RDWR | os.O_CLOEXEC | (0 if linked else os.O_NOFOLLOW))
    try:
        found, rest = os.fstat(handle), os.fstatvfs(handle)
        free = rest.f_bavail * rest.f_frsize
        size = max(found.st_size, round_down(min(wanted, found.st_blocks * _STORED + free)))
        if filled:
            linux.allocate(handle, 0, size)
        else:
            os.ftruncate(handle, size)
    finally:
        os.close(handle)
    return size


def length(path: Path) -> int:
    """Bytes of a file or device. Raises OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.lseek(handle, 0, os.SEEK_END)
    finally:
        os.close(handle)


def own(instance: Instance, volume: Volume) -> bool:
    """Whether the guest writes to the volume, and no other does: its disk grows with its claim."""
    found = on(instance, volume)
    writes = all(disk.device != "cdrom" and not disk.readonly and not disk.shareable for disk in found)
    claimed = volume.name in instance.claims and volume.kind != EPHEMERAL
    return bool(found) and claimed and writes and not volume.source.get("readOnly")


def on(instance: Instance, volume: Volume) -> list[Disk]:
    """The guest's disks that stand on a volume."""
    return [disk for disk in instance.disks if disk.name == volume.name]


def room(wanted: int, free: int) -> int:
    """The size of a disk where `wanted` bytes were asked for and `free` are there. Raises NoSpace."""
    size = round_down(wanted)
    usable = round_down(max(0, free - RESERVED))
    if 0 < size <= usable:
        return size
    if not size or usable < size * (100 - TOLERATED) // 100 or usable < MIB:
        raise NoSpace(
            f"unable to create {DISK_FILE}, not enough space, demanded size {size} B is bigger than available "
            f"space {usable} B, also after taking {TOLERATED} % toleration into account"
        )
    return usable


def sectors(path: Path) -> tuple[int, int]:
    """Bytes that a device, or the file system of a file, reads and writes at least and at once. Raises OSError."""
    handle = os.open(path, os.O_RDONLY)
    try:
        if stat.S_ISBLK(os.fstat(handle).st_mode):
            return linux.sectors(handle)
        size = min(os.fstatvfs(handle).f_bsize, mmap.PAGESIZE)  # a network's may be a mebibyte
        return size, size
    finally:
        os.close(handle)


def filled(path: Path) -> bool:
    """Whether a file has all its blocks."""
    found = path.stat()
    return found.st_blocks * _STORED >= found.st_size


def direct(path: Path) -> bool:
    """Whether O_DIRECT reads work on the file or device."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECT)
    except OSError:
        return False
    try:
        with mmap.mmap(-1, mmap.PAGESIZE) as page:
            os.preadv(handle, [page], 0)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


def _written(instance: Instance, volume: Volume) -> bool:
    """Whether the guest writes to the volume itself."""
    return volume.kind != EPHEMERAL and any(not disk.readonly for disk in on(instance, volume))


def _check_file(path: Path, called: str, *, block: bool, written: bool) -> None:
    try:
        mode = path.lstat().st_mode
    except OSError as failure:
        raise InvalidRequest(f"{called} cannot be read: {failure.strerror}") from failure
    if block != stat.S_ISBLK(mode) or not (block or stat.S_ISREG(mode)):
        raise InvalidRequest(f"{called} is not {'a block device' if block else 'a plain file'}")
    if not os.access(path, os.R_OK):
        raise InvalidRequest(f"{called} cannot be read by user {os.getuid()}: give the file to that user")
    if written and not os.access(path, os.W_OK):
        raise InvalidRequest(
            f"{called} cannot be written by user {os.getuid()}: give the file to that user, or make the disk readonly"
        )


def _free(directory: Path) -> int:
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize
