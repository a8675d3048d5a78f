"""A slow disk: an ext4 on a loop device whose writes the kernel holds back, whoever makes them.

Needs root and the blkio controller of cgroup v1, whose root group limits a device's direct and cached writes alike.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from images import CACHE

_LIMIT: Final = Path("/sys/fs/cgroup/blkio/blkio.throttle.write_bps_device")
_SIZE: Final = 8 << 30


def missing() -> str:
    """Why this machine has no slow disk; empty where it can have one."""
    return "" if os.geteuid() == 0 and _LIMIT.exists() else "root and cgroup v1's blkio controller"


@contextmanager
def slow_disk(speed: int) -> Iterator[Path]:
    """A folder on a disk that takes `speed` bytes in a second."""
    file, folder = CACHE / "slow.disk", CACHE / "slow"
    with ExitStack() as stack:
        stack.callback(file.unlink, missing_ok=True)
        with file.open("wb") as made:
            made.truncate(_SIZE)
        _run("mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", str(file))
        device = _run("losetup", "--find", "--show", "--direct-io=on", str(file))
        stack.callback(_run, "losetup", "--detach", device)
        folder.mkdir(exist_ok=True)
        _run("mount", device, str(folder))
        stack.callback(_run, "umount", str(folder))
        number = Path(device).stat().st_rdev
        _LIMIT.write_text(f"{os.major(number)}:{os.minor(number)} {speed}")
        stack.callback(_LIMIT.write_text, f"{os.major(number)}:{os.minor(number)} 0")
        yield folder


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
