"""Images made by qemu-img, and disks to compare with."""

import base64
import os
import random
import subprocess
from collections.abc import Iterable
from pathlib import Path

from diskyard.disk.qcow2 import CHUNK
from diskyard.disk.qcow2_format import header

MIB = 1 << 20


def raw(path: Path, size: int = 24 * MIB) -> Path:
    """A sparse disk: data at its start, in its middle and near its end, odd edges among them."""
    noise = random.Random(size).randbytes
    with path.open("wb") as file:
        file.truncate(size)
        for start, length in ((0, 3 * MIB), (size // 2 - 777, 2 * MIB), (size - MIB, MIB // 2 + 5)):
            file.seek(start)
            file.write(noise(length))
        file.seek(size // 3)
        file.write(b"words that compress " * 50_000)
    return path


def converted(disk: Path, image: Path, kind: str, *options: str) -> Path:
    """The same disk as an image of another format."""
    qemu_img("convert", "-f", "raw", "-O", kind, *options, str(disk), str(image))
    return image


def qemu_img(*arguments: str) -> str:
    done = subprocess.run(["qemu-img", *arguments], check=True, capture_output=True, text=True)
    return done.stdout


def same(disk: Path, other: Path) -> bool:
    """qemu-img and we agree that two raw disks hold the same bytes, to the last."""
    qemu_img("compare", "-f", "raw", "-F", "raw", str(disk), str(other))
    return disk.read_bytes() == other.read_bytes()


def allocated(path: Path) -> int:
    return path.stat().st_blocks * 512


def left_behind(folder: Path) -> list[str]:
    """What lies in a folder, hidden files too."""
    return sorted(path.name for path in folder.iterdir())


def put_last(image: Path) -> None:
    """Put the first table of an image behind all else."""
    image.write_bytes(late(image.read_bytes(), [0]))


def late(image: bytes, tables: Iterable[int]) -> bytes:
    """The same disk in an image whose tables of these numbers, where it has them, lie behind all else in this order."""
    body, head = bytearray(image), header(image)
    for at in (head.l1_offset + 8 * number for number in tables if number < head.l1_entries):
        place = int.from_bytes(body[at : at + 8], "big") & ~(1 << 63)
        if place:
            body += bytes(-len(body) % head.cluster)
            body[at : at + 8] = (len(body) | 1 << 63).to_bytes(8, "big")
            body += body[place : place + head.cluster]
    return bytes(body)


def crowded(tmp_path: Path) -> Path:
    """An image in which too many clusters cross one border of chunks to be followed: 100 are the same one."""
    words = tmp_path / "words.raw"
    words.write_bytes(base64.b64encode(os.urandom(30 * MIB)))
    image = converted(words, tmp_path / "image.qcow2", "qcow2", "-c")
    body = bytearray(image.read_bytes())
    head = header(bytes(body))
    first = int.from_bytes(body[head.l1_offset : head.l1_offset + 8], "big") & ~(1 << 63)
    entries = [body[at : at + 8] for at in range(first, first + head.cluster, 8)]
    hosts = [int.from_bytes(entry[2:], "big") for entry in entries]  # below 2^48: the sectors stand before
    last = max(number for number, host in enumerate(hosts) if 0 < host < CHUNK)
    body[first + 8 * (last + 1) : first + 8 * (last + 101)] = entries[last] * 100
    image.write_bytes(body)
    return image
