"""Images to upload."""

import os
import subprocess
from pathlib import Path

MIB = 1 << 20


def noise(size: int) -> bytes:
    """Bytes that no two places share."""
    return os.urandom(size)


def qcow2(folder: Path, raw: bytes, *options: str) -> bytes:
    """The same disk as a compressed qcow2."""
    source, made = folder / "image.raw", folder / "image.qcow2"
    source.write_bytes(raw)
    subprocess.run(
        ["qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", *options, source, made], check=True
    )
    return made.read_bytes()


def broken_vhdx(folder: Path) -> bytes:
    """A vhdx that only shows when it is converted that its table leads nowhere."""
    source, made = folder / "image.raw", folder / "image.vhdx"
    source.write_bytes(noise(5 * MIB))
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "vhdx", source, made], check=True)
    image = bytearray(made.read_bytes())
    image[2 * MIB : 3 * MIB] = b"\x56" * MIB  # of an entry: present, somewhere beyond the end
    return bytes(image)


def holds(disk: Path, raw: bytes) -> bool:
    """Whether a disk is that one, and zeros behind it."""
    with disk.open("rb") as file:
        if file.read(len(raw)) != raw:
            return False
        return not any(file.read(MIB).strip(b"\0") for _ in range(64))
