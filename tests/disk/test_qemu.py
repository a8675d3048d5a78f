"""What qemu-img may cost and how it is called, as the program in its place finds it; then what its failures mean."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from diskyard.disk import qemu
from diskyard.disk.probe import Format
from diskyard.errors import ImageTooLarge, UnsupportedImage
from tests.disk.images import MIB

WITNESS = """#!/bin/sh
{ echo "$@"; cat /proc/self/limits; env; } > "$(dirname "$0")/found"
"""


CONVERT = """
import sys
from pathlib import Path
from diskyard.disk import qemu
from diskyard.disk.probe import Format
image, kind, disk, room = sys.argv[1:]
qemu.convert(Path(image), Format(kind), Path(disk), room=int(room), on_percent=lambda _: None)
"""


def witnessed(folder: Path, kind: Format, room: int) -> list[str]:
    """What a program in the place of qemu-img has found."""
    (folder / "qemu-img").write_text(WITNESS)
    (folder / "qemu-img").chmod(0o755)
    (folder / "image").write_bytes(b"x")
    env = {"PATH": f"{folder}:{os.environ['PATH']}", "AWS_SECRET_ACCESS_KEY": "canary"}
    command = [sys.executable, "-c", CONVERT, f"{folder}/image", kind, f"{folder}/disk", str(room)]
    subprocess.run(command, env=env, check=True, timeout=60)
    return (folder / "found").read_text().splitlines()


def silent(_: float) -> None:
    pass


def test_memory_time_and_size_are_limited(tmp_path: Path) -> None:
    lines = witnessed(tmp_path, Format.VDI, room=7 * MIB)

    limits = {line[:26].strip(): line[26:].split()[0] for line in lines if line.startswith("Max")}
    assert limits["Max address space"] == str(2 << 30)
    assert limits["Max cpu time"] == "300"
    assert limits["Max file size"] == str(7 * MIB)
    assert limits["Max core file size"] == "0"


def test_formats_and_drivers_are_named_and_no_secret_is_passed_on(tmp_path: Path) -> None:
    lines = witnessed(tmp_path, Format.VHDX, room=MIB)

    assert "-f vhdx -O raw" in lines[0]
    assert lines[0].endswith(f"file:{tmp_path}/image file:{tmp_path}/disk")
    assert "MALLOC_ARENA_MAX=1" in lines
    assert not any("canary" in line for line in lines)


def test_a_disk_that_outgrows_its_room_is_stopped(gallery: Path, tmp_path: Path) -> None:
    with pytest.raises(ImageTooLarge, match="larger PVC"):
        qemu.convert(gallery / "disk.vdi", Format.VDI, tmp_path / "disk", room=MIB, on_percent=silent)


def test_an_image_of_another_format_is_not_guessed(tmp_path: Path, gallery: Path) -> None:
    shutil.copy(gallery / "disk.qcow2", tmp_path / "image")

    with pytest.raises(UnsupportedImage, match=r"could not convert the vdi image: .*the image"):
        qemu.convert(tmp_path / "image", Format.VDI, tmp_path / "disk", room=None, on_percent=silent)
