"""Where volumes lie: one directory a PersistentVolume, on one file system whose room is promised only once.

Snapshots lie among them, in a directory whose name no volume can have, so that both are on one file system.

Volumes that somebody made by hand lie elsewhere on this machine, where the operator allows it.
"""

import os
import shutil
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Final

from diskyard import linux
from diskyard.api.pod import WORKER_UID
from diskyard.api.quantity import GIB
from diskyard.disk.imagestore import ImageStore
from diskyard.errors import Passing
from standalone.storage import loop
from standalone.storage.copies import UNFINISHED

RESERVE: Final = GIB
"""Bytes that are never promised (of a small file system, a twentieth): logs and objects lie there too."""
_DOOMED: Final = ".deleting"
_SNAPSHOTS: Final = ".snapshots"
_SYSTEMS_OWN: Final = "lost+found"
"""What every ext4 has in its root."""


@dataclass(frozen=True)
class Place:
    """The directory of all volumes."""

    volumes: Path
    allowed: tuple[Path, ...] = ()
    """Directories of this machine that pods and volumes may name, with all below them."""
    keeps: bool = True
    """Whether the node keeps the images that were fetched."""
    floor: int | None = None
    """Bytes that are to stay free; None: half of what is never promised."""

    def volume(self, name: str) -> Path:
        """The directory of the PersistentVolume of that name."""
        return self.volumes / name

    def snapshot(self, handle: str) -> Path:
        """The directory of the snapshot of that name."""
        return self.volumes / _SNAPSHOTS / handle

    def shares(self) -> bool:
        """Whether files there can share their blocks: a copy then needs no room."""
        with TemporaryFile(dir=self.volumes) as one, TemporaryFile(dir=self.volumes) as other:
            one.write(bytes(4096))
            one.flush()
            return linux.reflinked(other.fileno(), one.fileno())

    def images(self) -> ImageStore | None:
        """The node's image store, made beside the volumes where it is not there; None: the node keeps none."""
        folder = self.volumes.parent / "images"
        if not self.keeps:
            return None
        if not folder.is_dir():
            folder.mkdir(mode=0o770, exist_ok=True)
            if os.geteuid() == 0:
                os.chown(folder, WORKER_UID, WORKER_UID)
        return ImageStore(folder)

    def free(self) -> int:
        """Bytes that can still be written there."""
        found = os.statvfs(self.volumes)
        return found.f_frsize * found.f_bavail

    def pressed(self) -> bool:
        """Whether so little is free that nothing new should begin."""
        return self.free() < (self._reserve() // 2 if self.floor is None else self.floor)

    def room(self, promised: Mapping[str, int]) -> int:
        """Bytes that can be promised beside what these volumes were promised: what they use already is theirs."""
        used = sum(min(self._used(name), size) for name, size in promised.items())
        return self.free() - self._reserve() + used - sum(promised.values())

    def make(self, name: str, block: int | None) -> None:
        """Make a volume's directory; for a block volume, its backing file of so many bytes. It never shrinks."""
        path = self.volume(name)
        path.mkdir(mode=0o770, parents=True, exist_ok=True)
        path.chmod(0o770)
        if os.geteuid() == 0:
            os.chown(path, WORKER_UID, WORKER_UID)
        if block is not None:
            with (path / loop.BACKING_FILE).open("ab") as file:
                grows = file.tell() < block
                if grows:
                    file.truncate(block)
            if grows:
                loop.grow(path)

    def remove(self, name: str, block: bool) -> None:
        """Take a volume away. Renamed first: no half-deleted directory is ever found under its name."""
        path = self.volume(name)
        if block and path.exists():
            loop.detach(path)
        _take_away(path)

    def release(self) -> None:
        """Give block volumes' devices back to the machine; the next pod of one gets it attached again."""
        with suppress(Passing):
            loop.release(self.volumes.resolve())

    def discard(self, handle: str) -> None:
        """Take a snapshot away, in the same way."""
        _take_away(self.snapshot(handle))

    def sweep(self) -> None:
        """Finish the removals that a crash has interrupted; forget the copies."""
        for folder in (self.volumes, self.volumes / _SNAPSHOTS):
            for path in (*folder.glob(f"*{_DOOMED}"), *folder.glob(f"*{UNFINISHED}")):
                shutil.rmtree(path, ignore_errors=True)

    def refusal(self, path: Path) -> str:
        """Why a path of this machine may not be named; empty: it may. No link leads out of what is allowed."""
        if not path.is_absolute() or ".." in path.parts:
            return f"{path} is no absolute path without '..'"
        way = "diskyard up --allow-host-path"
        if not any(path.is_relative_to(one) for one in self.allowed):
            return f"{path} is not allowed on this node: its operator can allow it, {way} {path}"
        real = path.resolve()
        if not any(real.is_relative_to(one.resolve()) for one in self.allowed):
            return f"{path} leads to {real}, which is not allowed on this node: {way} {real}"
        if real.is_relative_to(self.volumes.parent.resolve()):
            return f"{path} lies in the node's own data directory, which no pod may name"
        return ""

    def adopt(self, path: Path) -> None:
        """Make a directory (or a device) of this machine usable as a volume by workers, as fsGroup does on a cluster.

        What is in it stays as it is, but for a disk of ours: its worker may write to it.
        """
        with suppress(FileExistsError):
            path.mkdir(mode=0o770, parents=True)
        if os.geteuid() != 0 or path.is_block_device():
            return
        for one in (path, path / loop.BACKING_FILE):
            with suppress(FileNotFoundError):
                found = one.lstat()
                if stat.S_ISDIR(found.st_mode) or (stat.S_ISREG(found.st_mode) and found.st_nlink == 1):
                    os.chown(one, -1, WORKER_UID, follow_symlinks=False)
                    one.chmod(found.st_mode | (0o070 if stat.S_ISDIR(found.st_mode) else 0o060))

    def foreign(self, path: Path) -> tuple[str, ...]:
        """What lies in a directory of this machine besides a disk and what an import leaves for the next one."""
        with suppress(OSError):
            names = {each.name for each in path.iterdir()} - {loop.BACKING_FILE, _SYSTEMS_OWN}
            return tuple(sorted(name for name in names if not name.startswith(f".{loop.BACKING_FILE}")))
        return ()

    def _reserve(self) -> int:
        found = os.statvfs(self.volumes)
        return min(RESERVE, found.f_frsize * found.f_blocks // 20)

    def _used(self, name: str) -> int:
        return allocated(self.volume(name))


def allocated(directory: Path) -> int:
    """Bytes that the files in a directory take on the disk."""
    return sum(_blocks(Path(folder, file)) for folder, _, files in os.walk(directory) for file in files)


def _take_away(path: Path) -> None:
    doomed = path.with_name(path.name + _DOOMED)
    shutil.rmtree(doomed, ignore_errors=True)
    with suppress(FileNotFoundError):
        path.rename(doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def _blocks(path: Path) -> int:
    with suppress(OSError):
        return path.lstat().st_blocks * 512
    return 0
