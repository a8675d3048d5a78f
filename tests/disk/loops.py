"""Block devices made of files."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def loop(backing: Path, size: int) -> Iterator[Path]:
    """A block device, full of what someone else has left. Skips the test where nobody may make one."""
    if os.geteuid() != 0 or not Path("/dev/loop-control").exists():
        pytest.skip("only root makes loop devices")
    backing.write_bytes(b"\xa5" * size)
    made = subprocess.run(
        ["losetup", "-f", "--show", str(backing)], check=True, capture_output=True, text=True
    ).stdout.strip()
    try:
        yield Path(made)
    finally:
        subprocess.run(["losetup", "-d", made], check=True)
