"""Where volumes lie: one directory a PersistentVolume, on one file system whose room is promised only once."""

import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from diskyard.api import meta, quantity
from diskyard.api.meta import Obj
from diskyard.api.names import cdi, kubernetes
from diskyard.api.pod import WORKER_UID
from diskyard.api.quantity import GIB
from standalone.storage import loop

RESERVE: Final = GIB
"""Bytes that are never promised (of a small file system, a twentieth): logs and objects lie there too."""
_DOOMED: Final = ".deleting"


@dataclass(frozen=True)
class Place:
    """The directory of all volumes."""

    volumes: Path

    def volume(self, name: str) -> Path:
        """The directory of the PersistentVolume of that name."""
        return self.volumes / name

    def size(self) -> int:
        """Bytes that can be promised in all."""
        found = os.statvfs(self.volumes)
        total = found.f_frsize * found.f_blocks
        return total - min(RESERVE, total // 20)

    def make(self, name: str, block: int | None) -> None:
        """Make a volume's directory; for a block volume, its backing file of so many bytes."""
        path = self.volume(name)
        path.mkdir(mode=0o770, parents=True, exist_ok=True)
        path.chmod(0o770)
        if os.geteuid() == 0:
            os.chown(path, WORKER_UID, WORKER_UID)
        if block is not None:
            with (path / loop.BACKING_FILE).open("ab") as file:
                file.truncate(block)

    def remove(self, name: str, block: bool) -> None:
        """Take a volume away. Renamed first: no half-deleted directory is ever found under its name."""
        path, doomed = self.volume(name), self.volume(name + _DOOMED)
        if block and path.exists():
            loop.detach(path)
        shutil.rmtree(doomed, ignore_errors=True)
        with suppress(FileNotFoundError):
            path.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)

    def sweep(self) -> None:
        """Finish the removals that a crash has interrupted."""
        for path in self.volumes.glob(f"*{_DOOMED}"):
            shutil.rmtree(path, ignore_errors=True)


def promised(volumes: Iterable[Obj]) -> int:
    """Bytes that these PersistentVolumes have of ours."""
    return sum(
        quantity.parse((meta.spec(volume).get("capacity") or {}).get("storage") or 0)
        for volume in volumes
        if meta.annotations(volume).get(cdi.PROVISIONED_BY) == kubernetes.PROVISIONER
    )
