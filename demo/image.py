"""A small disk that really boots: an MBR, a FAT partition with syslinux, Debian's kernel, busybox. Made without root.

python -m demo.image [DIRECTORY] prints where it is.
"""

import fcntl
import hashlib
import os
import random
import struct
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from demo.command import run
from demo.initramfs import HEAD, NO_FILES, SCRIPT, initramfs
from demo.kernel import Kernel, kernel
from diskyard.errors import Refused

CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "diskyard" / "demo"
SIZE: Final = 1 << 30
SECTOR: Final = 512
CHUNK: Final = 1 << 20
KEPT: Final = 7 * 24 * 3600
"""Seconds that an image is kept after its last use."""
PARTITION: Final = 1 << 20
FAT32_LBA: Final = 0x0C
BOOT_CODE: Final = (
    "/usr/lib/syslinux/mbr/mbr.bin",
    "/usr/share/syslinux/mbr.bin",
    "/usr/lib/SYSLINUX/mbr.bin",
)
BOOT_MENU: Final = """\
DEFAULT linux
PROMPT 0
TIMEOUT 0
LABEL linux
  LINUX /vmlinuz
  INITRD /initrd
  APPEND console=ttyS0 quiet mitigations=off nokaslr panic=-1 no_timer_check
"""


def build(
    directory: Path, *, init_extra: str = "", payload: int = 0, files: Mapping[str, Path] = NO_FILES
) -> Path:
    """The image, a compressed qcow2 of 1 GiB, made once for each content and kept in `directory`.

    `init_extra` are lines of shell for the guest; `payload` bytes of noise make it larger to fetch; `files` are in
    its root file system, by their names there, and one called `init` takes the place of ours.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        system = kernel(directory)
        image = directory / f"guest-{_digest(system, init_extra, payload, files)}.qcow2"
        if not image.exists():
            _make(image, initramfs(system, init_extra, files), system, payload)
        image.touch()
        _forget_unused(directory)
        return image


def expected_sum(image: Path) -> str:
    """The SHA-256 that a guest started from this image prints."""
    return _sum_file(image).read_text()


def head_sum(disk: Path) -> str:
    """The SHA-256 of the first bytes of a raw disk, as the guest computes it."""
    with disk.open("rb") as file:
        return hashlib.sha256(file.read(HEAD)).hexdigest()


def _sum_file(image: Path) -> Path:
    return image.with_suffix(".sha256")


def _make(image: Path, initrd: bytes, system: Kernel, payload: int) -> None:
    with tempfile.TemporaryDirectory(dir=image.parent, prefix=".image-") as work:
        disk, made = Path(work, "disk.img"), Path(work, image.name)
        _partition(disk)
        _fill(disk, initrd, system, payload)
        run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", disk, made)
        _sum_file(image).write_text(head_sum(disk))
        made.rename(image)


def _forget_unused(directory: Path) -> None:
    for image in directory.glob("guest-*.qcow2"):
        if image.stat().st_mtime < time.time() - KEPT:
            image.unlink()
            _sum_file(image).unlink(missing_ok=True)


def _digest(system: Kernel, extra: str, payload: int, files: Mapping[str, Path]) -> str:
    recipe = [
        SCRIPT.read_bytes(),
        Path(__file__).read_bytes(),
        Path(__file__).with_name("initramfs.py").read_bytes(),
    ]
    recipe += [
        system.version.encode(),
        extra.encode(),
        str(payload).encode(),
        *(part for name, file in files.items() for part in (name.encode(), file.read_bytes())),
    ]
    return hashlib.sha256(b"\0".join(recipe)).hexdigest()[:12]


def _partition(disk: Path) -> None:
    """One active FAT partition behind a boot sector (the layout of a classic MBR)."""
    start, length = PARTITION // SECTOR, (SIZE - PARTITION) // SECTOR
    no_chs = b"\xfe\xff\xff"  # beyond what cylinders, heads and sectors can say: read the LBA fields
    entry = struct.pack("<B3sB3sII", 0x80, no_chs, FAT32_LBA, no_chs, start, length)
    code = _boot_code().read_bytes()[:440].ljust(440, b"\0")
    with disk.open("wb") as file:
        file.write(code + b"YARD\0\0" + entry + bytes(48) + b"\x55\xaa")
        file.truncate(SIZE)


def _fill(disk: Path, initrd: bytes, system: Kernel, payload: int) -> None:
    volume = f"{disk}@@{PARTITION}"
    sectors = (SIZE - PARTITION) // SECTOR
    run(
        "mformat", "-i", volume, "-F", "-T", str(sectors), "-h", "255", "-s", "63",
        "-H", str(PARTITION // SECTOR), "-N", "59415244", "-v", "DISKYARD", "::",
    )  # fmt: skip
    run("syslinux", "--install", "--offset", str(PARTITION), disk)
    files = {"syslinux.cfg": BOOT_MENU.encode(), "initrd": initrd}
    run("mcopy", "-i", volume, system.image, "::vmlinuz")
    for name, content in files.items():
        run("mcopy", "-i", volume, "-", f"::{name}", given=content)
    if payload:
        run("mcopy", "-i", volume, _noise(disk.with_name("payload.bin"), payload), "::")


def _noise(file: Path, length: int) -> Path:
    """A file that no compression makes smaller, the same each time."""
    random_ = random.Random(0)
    with file.open("wb") as opened:
        for start in range(0, length, CHUNK):
            opened.write(random_.randbytes(min(CHUNK, length - start)))
    return file


def _boot_code() -> Path:
    found = next((Path(path) for path in BOOT_CODE if Path(path).exists()), None)
    if not found:
        raise Refused(f"expected syslinux' boot sector at {BOOT_CODE[0]}, found none: run ./packages.sh")
    return found


if __name__ == "__main__":
    print(build(Path(sys.argv[1]) if len(sys.argv) > 1 else CACHE))
