"""A yard's data directory: one owner at a time, a version that it was written by."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from diskyard.disk import lock
from diskyard.errors import Busy, InvalidRequest, NoSpace

VERSION: Final = 1
"""Of the layout and of what lies in it. A newer one is never opened."""


@dataclass(frozen=True)
class Directory:
    """A data directory, and where things are in it."""

    path: Path

    @property
    def store(self) -> Path:
        """The objects: SQLite."""
        return self.path / "store.db"

    @property
    def pki(self) -> Path:
        """Keys, certificates and the token."""
        return self.path / "pki"

    @property
    def kubeconfig(self) -> Path:
        """What kubectl needs to get in."""
        return self.path / "kubeconfig"

    def kubeconfig_at(self, address: str) -> Path:
        """What kubectl needs on another machine; no colon in its name, at which $KUBECONFIG would part it."""
        return self.path / f"kubeconfig-{address.replace(':', '-')}"

    @property
    def pods(self) -> Path:
        """One folder a pod, as the kubelet lays it out."""
        return self.path / "pods"

    @property
    def volumes(self) -> Path:
        """One folder a PersistentVolume."""
        return self.path / "volumes"

    @property
    def network(self) -> Path:
        """Which addresses its guests have."""
        return self.path / "network.json"

    @property
    def cache(self) -> Path:
        """What can be found out again."""
        return self.path / "cache"


def default() -> Path:
    """`$DISKYARD_DATA_DIR`; else /var/lib/diskyard for root, ~/.local/share/diskyard for others."""
    named = os.environ.get("DISKYARD_DATA_DIR")
    if named:
        return Path(named)
    return Path("/var/lib/diskyard") if os.geteuid() == 0 else Path.home() / ".local/share/diskyard"


class Hold:
    """The right to be the yard of a directory, until closed or this process ends (flock: kill -9 included)."""

    def __init__(self, file: int, path: Path) -> None:
        self._file = file
        self._path = path

    @classmethod
    def take(cls, directory: Directory) -> "Hold":
        """Make the directory where needed and take it. Raises Busy with the process id of who has it."""
        _prepare(directory)
        pid_file = directory.path / "yard.pid"
        file = lock.taken(pid_file, 0o644, patience=lock.MOMENT)
        if file is None:
            owner = pid_file.read_text(errors="replace").strip()[:32] or "unknown"
            raise Busy(
                f"{directory.path} already has a yard: process {owner}. "
                f"Use that one (kubeconfig: {directory.kubeconfig}), stop it (kill {owner}), or give another --data-dir"
            )
        os.ftruncate(file, 0)
        os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        return cls(file, pid_file)

    @property
    def lost(self) -> bool:
        """Whether the directory was removed, or another lies in its place: what was held is there no more."""
        try:
            return not os.path.samestat(os.fstat(self._file), self._path.stat())
        except FileNotFoundError:
            return True

    def close(self) -> None:
        """Let go."""
        os.ftruncate(self._file, 0)
        os.close(self._file)


def _prepare(directory: Directory) -> None:
    path = directory.path
    try:
        path.mkdir(mode=0o711, parents=True, exist_ok=True)
        for folder in (directory.pods, directory.volumes):
            folder.mkdir(mode=0o711, exist_ok=True)
        for folder in (directory.pki, directory.cache):
            folder.mkdir(mode=0o700, exist_ok=True)
        _check_version(path / "version")
    except PermissionError as error:
        raise InvalidRequest(
            f"cannot write to the data directory {path} as uid {os.geteuid()}: {error.strerror}. "
            "Give one of your own with --data-dir, or run as its owner"
        ) from error
    except OSError as error:
        if error.errno in (28, 122):  # ENOSPC, EDQUOT
            raise NoSpace(
                f"no room in {path}: {error.strerror}. Free some, or give another --data-dir"
            ) from error
        raise InvalidRequest(f"cannot use {path} as a data directory: {error.strerror}") from error


def _check_version(file: Path) -> None:
    with suppress(FileNotFoundError):
        text = file.read_text().strip()
        if not text.isdigit() or int(text) > VERSION:
            raise InvalidRequest(
                f"{file.parent} was written by a newer Diskyard: its version is {text[:20]!r}, this one reads up to "
                f"{VERSION}. Upgrade Diskyard, or give another --data-dir"
            )
        return
    file.write_text(f"{VERSION}\n")
