"""Free bytes, and the one sentence for when they run out."""

import errno
import os
from pathlib import Path
from typing import Final

from diskyard.errors import ImageTooLarge, NoSpace

FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""What a write says when there is no more room (or a limit on the size of files is met)."""


def free(folder: Path) -> int:
    """Bytes that this process may still write to the file system of a folder."""
    facts = os.statvfs(folder)
    return facts.f_bavail * facts.f_frsize


def taken(path: Path) -> int:
    """Bytes that a file occupies on its file system; 0 where there is none."""
    try:
        return path.stat().st_blocks * 512
    except FileNotFoundError:
        return 0


def full(path: Path, doing: str) -> NoSpace:
    """The error that says that there is no room left for `doing`, with the numbers."""
    facts = os.statvfs(path if path.exists() else path.parent)
    return NoSpace(
        f"no space left on device while {doing}: {facts.f_bavail * facts.f_frsize} bytes are free of "
        f"{facts.f_blocks * facts.f_frsize} on the file system of {path}. Make room, or use a larger volume"
    )


def check_kept(size: int, most: int | None) -> None:
    """Nothing where an image that has to be kept may be so long. Raises ImageTooLarge."""
    if most is not None and size > most:
        raise ImageTooLarge(
            f"the image is too long: {size} bytes of it would have to be kept until its disk is made, and {most} may "
            "be. It is damaged, made to fill volumes, or full of snapshots: export it again without them, or use a "
            "larger volume"
        )


def check_room(size: int | None, room: int | None) -> None:
    """Nothing where a disk fits. Raises ImageTooLarge in CDI's words, which its clients read."""
    if size is not None and room is not None and size > room:
        raise ImageTooLarge(
            f"virtual image size {size} is larger than the reported available storage {room}. A larger PVC is required"
        )
