"""The directory that an agent shares with one launcher. The launcher is not trusted: no link in it is followed."""

import os
import secrets
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from diskyard.api.names import kubevirt

FILE_LIMIT: Final = 4 << 20
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True)
class Mailbox:
    """A pod's `private` volume, as it lies on the node."""

    path: Path

    @property
    def there(self) -> bool:
        """Whether the node has made it yet."""
        return self.path.is_dir() and not self.path.is_symlink()

    def read(self, name: str = kubevirt.INSTANCE_FILE) -> bytes:
        """A file of ours; empty where there is none, or something else in its place."""
        with suppress(OSError), self._directory() as directory:
            handle = os.open(
                name,
                os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC,
                dir_fd=directory,
            )
            with os.fdopen(handle, "rb") as file:
                return file.read(FILE_LIMIT)
        return b""

    def write(self, content: bytes, name: str = kubevirt.INSTANCE_FILE) -> None:
        """Put a file of ours in place, whole or not at all, for its owner's eyes only. Raises OSError."""
        with self._directory() as directory:
            part = f".{name}.{secrets.token_hex(8)}"
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(part, flags, 0o600, dir_fd=directory), "wb") as file:
                if os.geteuid() == 0:  # the directory may not be the launcher's own yet
                    os.fchown(file.fileno(), kubevirt.QEMU_UID, kubevirt.QEMU_UID)
                file.write(content)
            os.rename(part, name, src_dir_fd=directory, dst_dir_fd=directory)

    def connect(self, name: str = kubevirt.CONTROL_SOCKET) -> socket.socket:
        """A connection to one of the launcher's sockets. Raises OSError."""
        with self._directory() as directory:
            # By the inode that was checked, not by its name: that could be exchanged meanwhile, and would be too
            # long for an address (107 bytes).
            flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
            handle = os.open(name, flags, dir_fd=directory)
        try:
            if not stat.S_ISSOCK(os.fstat(handle).st_mode):
                raise FileNotFoundError(f"{self.path / name} is not a socket")
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                connection.connect(f"/proc/self/fd/{handle}")
            except OSError:
                connection.close()
                raise
            return connection
        finally:
            os.close(handle)

    @contextmanager
    def _directory(self) -> Iterator[int]:
        handle = os.open(self.path, _DIRECTORY)
        try:
            yield handle
        finally:
            os.close(handle)


def mailbox(pods: Path, uid: str) -> Mailbox:
    """The one of the pod with that uid, below the directory of all pods (the kubelet's layout)."""
    return Mailbox(pods / uid / "volumes/kubernetes.io~empty-dir" / kubevirt.PRIVATE_VOLUME)
