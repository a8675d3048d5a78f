"""Limits on memory, by whatever this host allows: a control group for each container, else a limit on each process.

The kernel's documentation: cgroup-v1/memory.rst, cgroup-v2.rst; setrlimit(2).
"""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path("/sys/fs/cgroup")
NAME: Final = "diskyard"
V1, V2, RLIMIT = "cgroup v1", "cgroup v2", "rlimit"


@dataclass(frozen=True)
class Memory:
    """How memory is limited here, and the folder of our control groups."""

    how: str
    folder: Path | None = None

    def group(self, name: str, limit: int) -> Path | None:
        """A control group that holds its processes to so many bytes; None where there is none. Raises OSError."""
        if self.folder is None:
            return None
        path = self.folder / name
        path.mkdir(exist_ok=True)
        if self.how == V1:
            (path / "memory.limit_in_bytes").write_text(str(limit))
            with suppress(OSError):  # kernels without swap accounting have no such file
                (path / "memory.memsw.limit_in_bytes").write_text(str(limit))
        else:
            (path / "memory.max").write_text(str(limit))
            for file, text in (("memory.swap.max", "0"), ("memory.oom.group", "1")):
                with suppress(OSError):
                    (path / file).write_text(text)
        return path

    def clean(self, prefix: str) -> None:
        """Take away the control groups of that name on; one that still has processes stays."""
        for path in self.folder.glob(f"{prefix}*") if self.folder else ():
            with suppress(OSError):
                path.rmdir()

    def __str__(self) -> str:
        if self.how == RLIMIT:
            return "memory limits hold for each process alone (rlimit): control groups need root"
        return f"memory limits hold by {self.how}"


UNLIMITED: Final = Memory(RLIMIT)


def memory(root: Path = ROOT) -> Memory:
    """What this host allows this user."""
    with suppress(OSError):
        if (root / "cgroup.controllers").exists():
            (root / "cgroup.subtree_control").write_text("+memory")
            folder = root / NAME
            folder.mkdir(exist_ok=True)
            (folder / "cgroup.subtree_control").write_text("+memory")
            return Memory(V2, folder)
        if (root / "memory" / "memory.limit_in_bytes").exists():
            folder = root / "memory" / NAME
            folder.mkdir(exist_ok=True)
            (folder / "probe").mkdir(exist_ok=True)
            (folder / "probe").rmdir()
            return Memory(V1, folder)
    return UNLIMITED
