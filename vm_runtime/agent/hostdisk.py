"""Disks that are files of the machine: made by the agent, who may, for launchers, who may not.

A path is followed from the root with no link on the way, and what is made is made through the directory that was
reached: nobody who can write somewhere along the path leads us elsewhere (CVE-2025-64324).
"""

import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from diskyard.api import quantity
from diskyard.api.instance import HOST_DISK, Volume
from diskyard.api.names.kubevirt import QEMU_UID
from diskyard.api.quantity import round_down
from diskyard.errors import Refused

CREATE: Final = "DiskOrCreate"
_STEP: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True)
class HostDisks:
    """What of the machine may be used, and how it is made ready."""

    allowed: Sequence[Path] = ()
    """Directories below which disks may lie."""

    def prepare(self, volume: Volume) -> None:
        """See to it that the disk is there, and its directory. Raises Refused, which says why it cannot be."""
        path = PurePosixPath(str(volume.source.get("path") or ""))
        self._check_place(volume, path)
        made = volume.source.get("type") == CREATE
        directory = _reached(volume, path.parent, make=made)
        try:
            found = _mode(directory, path.name)
            if found is None and made:
                _make(directory, path.name, round_down(quantity.parse(volume.source.get("capacity") or 0)))
            elif found is None:
                raise _refused(volume, f"{path} is not there: make it, or say type {CREATE} and a capacity")
            elif not stat.S_ISREG(found):
                raise _refused(volume, f"{path} is not a plain file")
        except OSError as failure:
            raise _refused(volume, f"{path} cannot be made ready: {failure.strerror}") from failure
        finally:
            os.close(directory)

    def _check_place(self, volume: Volume, path: PurePosixPath) -> None:
        if not any(path.is_relative_to(each) for each in self.allowed):
            raise _refused(
                volume,
                f"{path} is not allowed on this node: its operator can allow it, by `diskyard up --allow-host-path "
                f"{path.parent}`",
            )


NO_HOST_DISKS: Final = HostDisks()
"""Nothing of the machine may be used."""


def host_disks(volumes: Sequence[Volume]) -> tuple[Volume, ...]:
    """Those among an instance's volumes."""
    return tuple(volume for volume in volumes if volume.kind == HOST_DISK)


def _reached(volume: Volume, path: PurePosixPath, *, make: bool) -> int:
    """The directory, open; missing ones are made on the way."""
    here = os.open("/", _STEP)
    for name in path.parts[1:]:
        try:
            if make:
                with suppress(FileExistsError):
                    os.mkdir(name, 0o755, dir_fd=here)
            below = os.open(name, _STEP, dir_fd=here)
        except NotADirectoryError as failure:
            raise _refused(volume, f"{name!r} on the way to {path} is a link or no directory") from failure
        except OSError as failure:
            raise _refused(volume, f"{path} cannot be reached: {failure.strerror}") from failure
        finally:
            os.close(here)
        here = below
    return here


def _mode(directory: int, name: str) -> int | None:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return None


def _make(directory: int, name: str, size: int) -> None:
    """A sparse file for the launcher's user, whole or not at all."""
    part = f".{name}.part"
    with suppress(FileNotFoundError):
        os.unlink(part, dir_fd=directory)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    file = os.open(part, flags, 0o600, dir_fd=directory)
    try:
        os.fchmod(file, 0o660)
        os.ftruncate(file, size)
        if os.geteuid() == 0:
            os.fchown(file, QEMU_UID, QEMU_UID)
        os.fsync(file)
    finally:
        os.close(file)
    os.link(part, name, src_dir_fd=directory, dst_dir_fd=directory)
    os.unlink(part, dir_fd=directory)


def _refused(volume: Volume, why: str) -> Refused:
    return Refused(f"hostDisk volume {volume.name}: {why}")
