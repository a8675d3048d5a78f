"""A damaged image becomes the disk that qemu-img gives, or is refused: no other error, no memory, nothing left."""

import random
import resource
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diskyard.disk.ingest import ingest
from diskyard.disk.inspect import head_window, inspect
from diskyard.disk.probe import Format, matches
from diskyard.disk.target import Target
from diskyard.errors import DiskyardError, Passing, Refused
from tests.disk.images import MIB, converted, left_behind
from tests.disk.sources import Bytes
from tests.disk.vmdks import exported
from tests.fuzz.mutations import Damage, bounded, damage, oracle

ROOM = 8 * MIB
MEMORY = 128 * MIB
"""What damage may add to this process, with the copy's buffers and the images themselves."""
FORMATS = {
    "plain.qcow2": ("qcow2", "-o", "cluster_size=4k"),
    "zlib.qcow2": ("qcow2", "-c"),
    "zstd.qcow2": ("qcow2", "-c", "-o", "compression_type=zstd,cluster_size=16k"),
    "extended.qcow2": ("qcow2", "-o", "extended_l2=on,cluster_size=16k"),
    "old.qcow2": ("qcow2", "-o", "compat=0.10"),
    "tiny.qcow2": ("qcow2", "-o", "cluster_size=512"),
    "sparse.vmdk": ("vmdk",),
    "stream.vmdk": ("vmdk", "-o", "subformat=streamOptimized"),
    "disk.vdi": ("vdi",),
    "disk.vhd": ("vpc", "-o", "force_size=on"),
    "disk.vhdx": ("vhdx",),
}
SPOOLED = {"tiny.qcow2", "sparse.vmdk", "disk.vdi", "disk.vhd", "disk.vhdx"}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """One small disk of text and noise in every format."""
    folder = tmp_path_factory.mktemp("images")
    disk, noise = folder / "disk.raw", random.Random(7).randbytes
    words = b"words that compress " * 6554
    body = (words[: MIB // 8] + noise(40_000) + bytes(90_000)).ljust(MIB // 2, b"\0") + noise(70_000)
    disk.write_bytes(body.ljust(2 * MIB, b"\0"))
    for name, (kind, *options) in FORMATS.items():
        converted(disk, folder / name, kind, *options)
    (folder / "export.vmdk").write_bytes(exported(disk.read_bytes()))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def tables(name: str, body: bytes) -> tuple[int, ...]:
    """Where an image keeps what leads to its data."""
    if name.endswith("qcow2"):
        first = int.from_bytes(body[40:48], "big")
        return first, int.from_bytes(body[first : first + 8], "big") & 0xFFFFFFFFFFFE00
    if name == "export.vmdk":
        return 128 * 512, len(body) - 1024, len(body) - 4096
    return 512, 21 * 512, 50 * 512, 192 << 10, 1 << 20


@pytest.mark.parametrize("name", [*FORMATS, "export.vmdk"])
def test_a_damaged(images: dict[str, bytes], tmp_path: Path, name: str) -> None:
    body, before = images[name], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    @bounded(12 if name in SPOOLED else 40)
    @given(done=damage(len(body), tables(name, body)))
    def stays_the_disk_or_is_refused(done: Damage) -> None:
        image = done.done(body)
        disk = tmp_path / "ours" / "disk.img"
        disk.parent.mkdir(exist_ok=True)
        disk.unlink(missing_ok=True)
        try:
            result = ingest(Bytes(image), Target(disk, room=ROOM))
        except (Refused, Passing):
            assert "disk.img" not in left_behind(disk.parent)
            return
        expected = oracle(image, result.format, tmp_path)
        found = disk.read_bytes()
        whole = len(found) // 512 * 512  # qemu-img drops the rest of a disk of an odd size
        assert expected is None or expected in (found, found[:whole])

    stays_the_disk_or_is_refused()

    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < MEMORY


@bounded(300)
@given(
    magic=st.sampled_from(
        [b"QFI\xfb", b"KDMV", b"COWD", b"# Disk DescriptorFile", b"conectix", b"vhdxfile", b"QED\0", b"LUKS\xba\xbe",
         b"\x1f\x8b\x08", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", b"BZh91AY&SY", b"<html", b"PK\x03\x04", b""]
    ),
    head=st.binary(max_size=2048),
    size=st.one_of(st.none(), st.integers(0, 1 << 63)),
)  # fmt: skip
def test_any_head_is_something_or_refused(magic: bytes, head: bytes, size: int | None) -> None:
    whole = magic + head
    assert len(matches(whole)) == len(set(matches(whole)))
    try:
        kind, found = inspect(head_window(whole, size))
    except DiskyardError:
        return
    assert isinstance(kind, Format)
    assert found is None or 0 < found <= 1 << 46


@bounded(30)
@given(image=st.binary(max_size=4096))
def test_a_grain_that_unpacks_to_anything_stays_in_its_place(
    tmp_path_factory: pytest.TempPathFactory, image: bytes
) -> None:
    body = bytearray(exported(b"x" * 65536 + bytes(65536)))
    packed = zlib.compress(image, 9)[:400]
    body[128 * 512 + 8 : 128 * 512 + 12 + len(packed)] = len(packed).to_bytes(4, "little") + packed
    folder = tmp_path_factory.mktemp("grain")
    try:
        ingest(Bytes(bytes(body)), Target(folder / "disk.img", room=ROOM))
    except Refused:
        assert left_behind(folder) == []
