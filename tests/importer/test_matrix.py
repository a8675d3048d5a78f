"""Every format in every wrapping by every way onto every target: always the disk that qemu-img makes of it (C-10).

What is no cell, and why:

* Of what is converted (`CONVERTED`) qemu-img reads a file, which is the same however it came: each such format goes by
  every way onto every target, and in every wrapping by every second way. So does all that comes from S3 (`SLOW`):
  boto3 takes a fifth of a second to begin.
* A source of flat disks (`FLAT`) knows neither formats nor wrappings: its own tests bring it onto files and devices.
* What is refused (`REFUSED`) becomes no disk: tests/disk/test_hostile.py; so do wrappings in wrappings
  (tests/disk/test_ingest.py).
"""

import bz2
import gzip
import lzma
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from itertools import groupby, product
from operator import itemgetter
from pathlib import Path

import pytest
from backports import zstd

from diskyard.disk import probe
from diskyard.disk.probe import Format
from diskyard.disk.target import Target
from importer.transfer import IMAGES, OPENERS
from tests.disk.images import MIB, converted, left_behind, qemu_img
from tests.disk.loops import loop
from tests.disk.tars import entry, tar
from tests.importer.ways import KINDS, WAYS

SIZE = MIB + 12_800
"""No multiple of any cluster: what is last is always a part."""
ROOM = 2 * MIB
FORMATS: dict[str, tuple[str, str]] = {
    "raw": ("raw", ""),
    "iso": ("raw", ""),
    "qcow2": ("qcow2", ""),
    "qcow2 v2": ("qcow2", "-o compat=0.10"),
    "qcow2 zlib": ("qcow2", "-c"),
    "qcow2 zstd": ("qcow2", "-c -o compression_type=zstd"),
    "qcow2 extended": ("qcow2", "-o extended_l2=on,cluster_size=128k"),
    "qcow2 tiny": ("qcow2", "-o cluster_size=512"),
    "qcow2 huge zlib": ("qcow2", "-c -o cluster_size=2M"),
    "vmdk": ("vmdk", ""),
    "vmdk stream": ("vmdk", "-o subformat=streamOptimized"),
    "vdi": ("vdi", ""),
    "vdi fixed": ("vdi", "-o static=on"),
    "vhd": ("vpc", "-o force_size=on"),
    "vhdx": ("vhdx", ""),
    "vhdx fixed": ("vhdx", "-o subformat=fixed"),
}
"""Name -> qemu-img's format and options."""
CONVERTED = {"qcow2 tiny", "vmdk", "vdi", "vdi fixed", "vhd", "vhdx", "vhdx fixed"}
SLOW = {"Swift's S3", "moto's S3"}
REFUSED = {Format.QED, Format.LUKS, Format.ZIP, Format.SEVEN_ZIP, Format.HTML}
FLAT = {"imageio", "vddk", "clone"}


def ova(body: bytes, name: str = "guest-disk1.img") -> bytes:
    """What describes the machine, and its disk."""
    return tar([entry("guest.ovf", b"<Envelope/>"), entry(name, body)])


WRAPPINGS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gz": lambda body: gzip.compress(body, 1),
    "xz": lambda body: lzma.compress(body, preset=0),
    "zst": lambda body: zstd.compress(body, 1),
    "bz2": lambda body: bz2.compress(body, 1),
    "tar": ova,
    "tar.gz": lambda body: gzip.compress(ova(body), 1),
    "gz in tar": lambda body: ova(gzip.compress(body, 1), "guest-disk1.img.gz"),
}
TARGETS = ("sparse", "reserved", "device")
Packed = Callable[[str, str], bytes]


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image of each format, and beside it what qemu-img makes of it: it is the disk that the image was made of."""
    folder = tmp_path_factory.mktemp("matrix")
    noise = random.Random(SIZE).randbytes
    body = bytearray(noise(200_000) + bytes(300_000) + b"words that compress " * 20_000)
    body += bytes(SIZE - len(body) - 5000) + noise(5000)
    (folder / "raw").write_bytes(body)
    body[0x8001:0x8006] = b"CD001"
    (folder / "iso").write_bytes(body)
    for name, (kind, options) in FORMATS.items():
        image, disk = folder / name, folder / f"{name}.disk"
        if kind != "raw":
            converted(folder / "raw", image, kind, *options.split())
        qemu_img("convert", "-f", kind, "-O", "raw", str(image), str(disk))
        same = disk.read_bytes() == (folder / ("iso" if name == "iso" else "raw")).read_bytes()
        assert same, name
    return folder


@pytest.fixture(scope="module")
def packed(shelf: Path) -> Packed:
    """An image in its wrapping, packed once for all ways."""
    return cache(lambda form, wrapping: WRAPPINGS[wrapping]((shelf / form).read_bytes()))


@pytest.fixture(scope="module")
def memory() -> Iterator[Path]:
    """A folder that nobody waits for: what it holds need not survive."""
    place = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=place if os.access(place, os.W_OK) else None) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def device(memory: Path) -> Iterator[Path]:
    with loop(memory / "backing", ROOM) as found:
        yield found


def cells(way: str, wrapping: str) -> list[tuple[str, str]]:
    """Formats, and the targets that each has a cell for."""
    row = [*WAYS].index(way) + [*WRAPPINGS].index(wrapping)
    found = []
    for (number, form), (turn, target) in product(enumerate(FORMATS), enumerate(TARGETS)):
        if (row + number) % 6 == 2 * turn or not (form in CONVERTED or way in SLOW):
            found.append((form, target))
    return found


@pytest.mark.parametrize("wrapping", WRAPPINGS)
@pytest.mark.parametrize("way", WAYS)
def test_becomes_the_disk(
    shelf: Path, packed: Packed, memory: Path, device: Path, tmp_path: Path, way: str, wrapping: str,
    request: pytest.FixtureRequest,
) -> None:  # fmt: skip
    """One test for all cells of a way and a wrapping: starting each by itself takes longer than the cell does."""
    wrong, volume = [], memory / "volume"
    for form, onto in groupby(cells(way, wrapping), itemgetter(0)):
        folder, expected = tmp_path / form, (shelf / f"{form}.disk").read_bytes()
        folder.mkdir()
        fill = WAYS[way](request.getfixturevalue, folder, packed(form, wrapping))
        for _, target in onto:
            volume.mkdir()
            place = Target(volume / "disk.img", room=ROOM, preallocate=target == "reserved")
            if target == "device":
                place = replace(place, path=device, scratch=volume)
            size = fill(place).virtual_size
            whole, left = (
                (expected.ljust(ROOM, b"\0"), []) if target == "device" else (expected, ["disk.img"])
            )
            if size != SIZE or place.path.read_bytes() != whole or left_behind(volume) != left:
                wrong.append(f"{form} onto {target}")
            shutil.rmtree(volume)

    assert wrong == []


def test_the_matrix_is_whole() -> None:
    """Who adds a source, a format or a wrapping adds it here, or says above why it is no cell."""
    kinds = {kind for kind, _ in FORMATS.values()} | {Format.ISO}
    wrappings = {part for name in WRAPPINGS for part in name.replace(" in ", ".").split(".")} - {"plain"}
    met = {(way, *cell) for way, wrapping in product(WAYS, WRAPPINGS) for cell in cells(way, wrapping)}

    assert {*OPENERS, *IMAGES} == KINDS | FLAT
    assert kinds | wrappings | REFUSED == set(Format)
    assert wrappings == probe.WRAPPINGS
    assert met == set(product(WAYS, FORMATS, TARGETS)), "each way meets each target with each format"
