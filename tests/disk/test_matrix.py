"""Every format in every wrapping, from sources that go anywhere or only forward, onto a file, reserved or sparse, and a
block device: always the disk that qemu-img makes of it, which is the one that the image was made of."""

import bz2
import gzip
import io
import lzma
import random
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path

import pytest
from backports import zstd

from diskyard.disk.ingest import ingest
from diskyard.disk.target import Target
from tests.disk.images import MIB, converted, left_behind, qemu_img, same
from tests.disk.loops import loop
from tests.disk.sources import Bytes

SIZE = MIB + 12_800
DEVICE = 4 * MIB
"""No multiple of any cluster: what is last is always a part."""
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


def tarred(body: bytes, name: str = "guest-disk1.img") -> bytes:
    """As an OVA: what describes the machine, and its disk."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for each, content in (("guest.ovf", b"<Envelope/>"), (name, body)):
            member = tarfile.TarInfo(each)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


WRAPPINGS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gz": lambda body: gzip.compress(body, 1),
    "xz": lambda body: lzma.compress(body, preset=0),
    "zst": lambda body: zstd.compress(body, 1),
    "bz2": lambda body: bz2.compress(body, 1),
    "tar": tarred,
    "tar.gz": lambda body: gzip.compress(tarred(body), 1),
    "gz in tar": lambda body: tarred(gzip.compress(body, 1), "guest-disk1.img.gz"),
}
WAYS = tuple(product(("ranged", "stream"), ("sparse", "reserved", "device")))
"""What the image comes from, and what it goes onto."""


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The disk, the same one as an ISO, and an image of each format."""
    folder = tmp_path_factory.mktemp("matrix")
    noise = random.Random(SIZE).randbytes
    body = bytearray(noise(200_000) + bytes(300_000) + b"words that compress " * 20_000)
    body += bytes(SIZE - len(body) - 5000) + noise(5000)
    (folder / "raw").write_bytes(body)
    body[0x8001:0x8006] = b"CD001"
    (folder / "iso").write_bytes(body)
    for name, (kind, options) in FORMATS.items():
        if kind != "raw":
            converted(folder / "raw", folder / name, kind, *options.split())
    return folder


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with loop(tmp_path_factory.mktemp("device") / "backing", DEVICE) as found:
        yield found


@pytest.fixture(scope="module")
def packed(shelf: Path) -> Callable[[str, str], bytes]:
    """An image in its wrapping, packed once for all ways."""
    return cache(lambda form, wrapping: WRAPPINGS[wrapping]((shelf / form).read_bytes()))


@pytest.mark.parametrize(("source", "target"), WAYS, ids=[", ".join(way) for way in WAYS])
@pytest.mark.parametrize("wrapping", WRAPPINGS)
@pytest.mark.parametrize("form", FORMATS)
def test_becomes_the_disk(
    shelf: Path, packed: Callable[[str, str], bytes], tmp_path: Path, form: str, wrapping: str, source: str,
    target: str, request: pytest.FixtureRequest,
) -> None:  # fmt: skip
    body = packed(form, wrapping)
    ranged = source == "ranged"
    place = Target(tmp_path / "disk.img", room=DEVICE, preallocate=target == "reserved")
    if target == "device":
        place = replace(place, path=request.getfixturevalue("device"), scratch=tmp_path)

    ingest(Bytes(body, "v1" if ranged else None, ranged=ranged, sized=ranged), place)

    expected = shelf / ("iso" if form == "iso" else "raw")
    if target == "device":
        assert place.path.read_bytes() == expected.read_bytes() + bytes(DEVICE - SIZE)
        assert left_behind(tmp_path) == []
    else:
        assert place.path.read_bytes() == expected.read_bytes()
        assert left_behind(tmp_path) == ["disk.img"]


@pytest.mark.parametrize("form", [form for form, (kind, _) in FORMATS.items() if kind != "raw"])
def test_qemu_img_makes_the_same_of_it(shelf: Path, tmp_path: Path, form: str) -> None:
    qemu_img("convert", "-f", FORMATS[form][0], "-O", "raw", str(shelf / form), str(tmp_path / "oracle"))

    assert same(shelf / "raw", tmp_path / "oracle")
