"""May this process write where a disk shall be? Asked before the source is, so that no byte is fetched in vain."""

import errno
import os
from pathlib import Path

from diskyard import linux
from diskyard.disk.target import Target
from diskyard.errors import Busy, InvalidRequest


def check_writable(target: Target) -> None:
    """Nothing where all that a transfer writes may be written. Raises InvalidRequest, and Busy for a device in use."""
    folder = target.folder
    if not folder.is_dir():
        raise InvalidRequest(
            f"expected a directory at {folder}, found none: create it, or correct the target"
        )
    _check(folder, os.W_OK | os.X_OK, f"cannot write in {folder}")
    for left in (target.part, *target.spools, target.journal):
        if left.exists() and not left.is_symlink():
            _check(
                left, os.R_OK | os.W_OK, f"cannot go on with {left}, which an interrupted transfer has left"
            )
    if linux.is_device(target.path):
        _check(target.path, os.R_OK | os.W_OK, f"cannot write to the block device {target.path}")
        _check_free(target.path)


def _check(path: Path, mode: int, failing: str) -> None:
    if os.access(path, mode):
        return
    if os.statvfs(path).f_flag & os.ST_RDONLY:
        raise InvalidRequest(
            f"{failing}: its file system is mounted read-only. Mount it for writing, or give another target"
        )
    facts = path.stat()
    raise InvalidRequest(
        f"{failing}: it belongs to {facts.st_uid}:{facts.st_gid} with mode {facts.st_mode & 0o7777:04o}, and this "
        f"process is {os.geteuid()}:{os.getegid()}. {advice(linux.file_system(path), os.geteuid(), os.getegid())}"
    )


def advice(kind: str, user: int, group: int) -> str:
    """What lets a user write on a file system of that kind."""
    if kind.startswith("nfs"):
        return (
            "It is on NFS, whose server may take this user for another one (root_squash, all_squash): change the owner "
            f"or mode there, or export it with all_squash,anonuid={user},anongid={group}"
        )
    return "Change its owner or mode"


def _check_free(device: Path) -> None:
    """Nothing where nobody else uses a device: open(2), O_EXCL."""
    try:
        os.close(os.open(device, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise InvalidRequest(f"cannot open the block device {device}: {error.strerror}") from error
        raise Busy(
            f"the block device {device} is in use: it is mounted, or another program holds it. Unmount it, or give "
            "another target"
        ) from error
