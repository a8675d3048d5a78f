"""Block devices made of files, and file systems made of memory."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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


def backing() -> str:
    """What stands behind the loop devices of this machine; others come and go meanwhile."""
    found = []
    for path in Path("/sys/block").glob("loop*/loop/backing_file"):
        with suppress(OSError):
            found.append(path.read_text())
    return "".join(found)


@contextmanager
def reflinking(folder: Path, kind: str) -> Iterator[Path]:
    """A file system whose files share blocks. Skips the test where there is none of that kind."""
    file = folder.with_name(f"{folder.name}.img")
    folder.mkdir()
    with file.open("wb") as made:
        made.truncate(512 << 20)
    try:
        subprocess.run([f"mkfs.{kind}", "-q", str(file)], check=True, capture_output=True)
        subprocess.run(["mount", "-o", "loop", str(file), str(folder)], check=True, capture_output=True)
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no {kind} here: {error}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@contextmanager
def small_place(folder: Path, size: str) -> Iterator[Path]:
    """A file system with room for that much, as mount(8) writes it. Skips the test where nobody may mount."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount")
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
