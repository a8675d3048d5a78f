"""The one door: what comes out is the disk, bit for bit; what does not come out leaves nothing."""

import bz2
import gzip
import hashlib
import lzma
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from backports import zstd

from diskyard.disk.extent import Extent
from diskyard.disk.image import FileImage
from diskyard.disk.ingest import ingest
from diskyard.disk.journal import Journal
from diskyard.disk.probe import Format
from diskyard.disk.target import Expect, Progress, Target
from diskyard.errors import (
    Busy,
    ImageTooLarge,
    InvalidRequest,
    NoSpace,
    SourceUnavailable,
    UnsafeImage,
    UnsupportedImage,
)
from tests.disk.images import MIB, allocated, converted, left_behind, qemu_img, same
from tests.disk.sources import Bytes, breaking

PART = 32 << 20

EXPECT = Expect("http://images/disk", "http://images/disk", algorithm="sha256")


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    folder = tmp_path / "volume"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def noise() -> bytes:
    """Five journal steps that no compression shortens."""
    return os.urandom(5 * PART + 12_345)


@pytest.mark.parametrize(
    "name",
    ["disk.raw", "disk.qcow2", "zlib.qcow2", "zstd.qcow2", "v2.qcow2", "extended.qcow2", "small.qcow2",
     "disk.vmdk", "stream.vmdk", "disk.vdi", "disk.vhd", "disk.vhdx"],
)  # fmt: skip
def test_every_format_becomes_the_same_disk_with_its_holes(gallery: Path, volume: Path, name: str) -> None:
    body = (gallery / name).read_bytes()

    result = ingest(Bytes(body), Target(volume / "disk.img"), expect=EXPECT)

    assert same(gallery / "disk.raw", volume / "disk.img")
    assert allocated(volume / "disk.img") < 8 * MIB
    assert left_behind(volume) == ["disk.img"]
    assert result.digest == f"sha256:{hashlib.sha256(body).hexdigest()}"
    assert result.virtual_size == 24 * MIB
    assert len(body) <= result.bytes_fetched <= len(body) + 64


def xz(body: bytes) -> bytes:
    return lzma.compress(body, preset=0)


@pytest.mark.parametrize(
    ("pack", "name"),
    [
        (gzip.compress, "disk.raw"),
        (gzip.compress, "zlib.qcow2"),
        (xz, "disk.raw"),
        (bz2.compress, "zlib.qcow2"),
        (zstd.compress, "disk.raw"),
        (zstd.compress, "zlib.qcow2"),
    ],
)
def test_packed_images_are_unpacked_on_the_way(
    gallery: Path, volume: Path, pack: Callable[[bytes], bytes], name: str
) -> None:
    packed = pack((gallery / name).read_bytes())

    result = ingest(Bytes(packed), Target(volume / "disk.img"), expect=EXPECT)

    assert same(gallery / "disk.raw", volume / "disk.img")
    assert result.digest == f"sha256:{hashlib.sha256(packed).hexdigest()}"


def test_a_stream_of_unknown_length_becomes_the_disk(gallery: Path, volume: Path) -> None:
    body = (gallery / "disk.raw").read_bytes()

    ingest(Bytes(body, None, ranged=False, sized=False), Target(volume / "disk.img"))

    assert same(gallery / "disk.raw", volume / "disk.img")


def test_several_members_and_padding_are_one_stream(gallery: Path, volume: Path) -> None:
    body = (gallery / "disk.raw").read_bytes()
    packed = gzip.compress(body[: 5 * MIB]) + gzip.compress(body[5 * MIB :]) + bytes(700)

    ingest(Bytes(packed), Target(volume / "disk.img"))

    assert same(gallery / "disk.raw", volume / "disk.img")


def test_the_disk_is_grown_and_never_shrunk(gallery: Path, volume: Path) -> None:
    body = (gallery / "zlib.qcow2").read_bytes()

    ingest(Bytes(body), Target(volume / "grown.img", size=40 * MIB))
    ingest(Bytes(body), Target(volume / "kept.img", size=MIB))

    assert (volume / "grown.img").stat().st_size == 40 * MIB
    assert (volume / "kept.img").stat().st_size == 24 * MIB
    assert (volume / "grown.img").stat().st_mode & 0o777 == 0o660


def test_preallocation_reserves_all_of_the_room(gallery: Path, volume: Path) -> None:
    for name in ("disk.raw", "zlib.qcow2"):
        target = Target(volume / name, size=32 * MIB, preallocate=True)

        ingest(Bytes((gallery / name).read_bytes()), target)

        assert allocated(volume / name) >= 32 * MIB
        assert (volume / name).read_bytes()[: 24 * MIB] == (gallery / "disk.raw").read_bytes()


def test_asks_for_room_before_it_fetches_the_body(gallery: Path, volume: Path) -> None:
    source = Bytes((gallery / "disk.qcow2").read_bytes())

    with pytest.raises(ImageTooLarge) as refusal:
        ingest(source, Target(volume / "disk.img", room=8 * MIB))

    assert str(refusal.value) == (
        f"virtual image size {24 * MIB} is larger than the reported available storage {8 * MIB}. "
        "A larger PVC is required"
    )
    assert source.read <= MIB
    assert left_behind(volume) == []


def test_a_bomb_stops_at_the_room_that_there_is(volume: Path) -> None:
    bomb = Bytes(gzip.compress(bytes(64 * MIB)))

    with pytest.raises(ImageTooLarge, match="larger than the reported available storage"):
        ingest(bomb, Target(volume / "disk.img", room=8 * MIB))

    assert left_behind(volume) == []


def test_a_damaged_image_leaves_nothing(gallery: Path, volume: Path) -> None:
    body = bytearray((gallery / "zlib.qcow2").read_bytes())
    first_table = int.from_bytes(body[40:48], "big")
    body[first_table : first_table + 8] = b"\x80\0\0\0\0\0\3\1"

    with pytest.raises((UnsupportedImage, UnsafeImage), match="qemu-img"):
        ingest(Bytes(bytes(body)), Target(volume / "disk.img"))

    assert left_behind(volume) == []


@pytest.mark.parametrize("kind", ["backing", "data_file"])
def test_a_canary_outside_the_image_never_reaches_the_disk(tmp_path: Path, volume: Path, kind: str) -> None:
    canary = tmp_path / "canary"
    canary.write_bytes(b"CANARY" * 100_000)
    image = tmp_path / "hostile.qcow2"
    option = (
        ["-F", "raw", "-b", str(canary)]
        if kind == "backing"
        else ["-o", f"data_file={canary},data_file_raw=on"]
    )
    qemu_img("create", "-q", "-f", "qcow2", *option, str(image), "1M")
    canary.write_bytes(b"CANARY" * 100_000)

    with pytest.raises(UnsafeImage):
        ingest(Bytes(image.read_bytes()), Target(volume / "disk.img"))

    assert left_behind(volume) == []


def test_a_stream_that_is_packed_twice_is_refused(volume: Path) -> None:
    with pytest.raises(UnsupportedImage, match="compressed twice"):
        ingest(Bytes(gzip.compress(lzma.compress(bytes(MIB)))), Target(volume / "disk.img"))


def test_a_stream_that_is_cut_short_may_be_tried_again(volume: Path) -> None:
    with pytest.raises(SourceUnavailable, match="breaks off"):
        ingest(Bytes(gzip.compress(os.urandom(MIB))[:-100]), Target(volume / "disk.img"))

    assert left_behind(volume) == []


def test_an_empty_source_is_refused(volume: Path) -> None:
    with pytest.raises(UnsupportedImage, match="empty"):
        ingest(Bytes(b""), Target(volume / "disk.img"))


@pytest.mark.parametrize("kind", ["raw", "qcow2", "vdi"], ids=["streamed", "decoded", "spooled"])
@pytest.mark.parametrize("stop", [SourceUnavailable("gone"), KeyboardInterrupt()], ids=["broken", "Ctrl-C"])
def test_goes_on_from_what_is_durable(
    tmp_path: Path, volume: Path, noise: bytes, kind: str, stop: BaseException
) -> None:
    disk = tmp_path / "disk.raw"
    disk.write_bytes(noise)
    body = converted(disk, tmp_path / "image", kind).read_bytes()
    with pytest.raises(type(stop)):
        ingest(Bytes(body, before=breaking(3 * PART, stop)), Target(volume / "disk.img"), expect=EXPECT)
    source = Bytes(body)

    result = ingest(source, Target(volume / "disk.img"), expect=EXPECT)

    assert result.resumed_at >= 2 * PART
    assert source.read <= len(body) - 2 * PART + MIB
    assert result.digest == f"sha256:{hashlib.sha256(body).hexdigest()}"
    assert (volume / "disk.img").read_bytes()[: len(noise)] == noise
    assert left_behind(volume) == ["disk.img"]


@pytest.mark.parametrize(
    ("validator", "origin"), [("v2", "http://images/disk"), ("v1", "http://images/other")],
    ids=["another version", "another source"],
)  # fmt: skip
def test_starts_over_for(volume: Path, noise: bytes, validator: str, origin: str) -> None:
    broken = Bytes(noise, before=breaking(3 * PART, SourceUnavailable("gone")))
    with suppress(SourceUnavailable):
        ingest(broken, Target(volume / "disk.img"), expect=EXPECT)
    other = noise[::-1]

    result = ingest(Bytes(other, validator), Target(volume / "disk.img"), expect=Expect(origin))

    assert result.resumed_at == 0
    assert (volume / "disk.img").read_bytes() == other


def test_without_a_validator_an_interruption_leaves_nothing(volume: Path, noise: bytes) -> None:
    broken = Bytes(noise, None, before=breaking(3 * PART, SourceUnavailable("gone")))

    with pytest.raises(SourceUnavailable):
        ingest(broken, Target(volume / "disk.img"), expect=EXPECT)

    assert left_behind(volume) == []


def test_a_second_writer_is_kept_out(volume: Path, noise: bytes) -> None:
    target, refused = Target(volume / "disk.img"), []

    def before(offset: int) -> None:
        if offset == PART:
            thread = threading.Thread(target=second)
            thread.start()
            thread.join()

    def second() -> None:
        try:
            ingest(Bytes(noise), target)
        except Busy as error:
            refused.append(str(error))

    ingest(Bytes(noise, before=before), target)

    assert len(refused) == 1
    assert "another process" in refused[0]
    assert (volume / "disk.img").read_bytes() == noise


def test_goes_on_in_the_midst_of_zeros(volume: Path, noise: bytes) -> None:
    body = noise[:MIB] + bytes(3 * PART)
    broken = Bytes(body, before=breaking(len(body) - MIB, SourceUnavailable("gone")))
    with pytest.raises(SourceUnavailable):
        ingest(broken, Target(volume / "disk.img"), expect=EXPECT)

    result = ingest(Bytes(body), Target(volume / "disk.img"), expect=EXPECT)

    assert result.resumed_at >= PART
    assert (volume / "disk.img").read_bytes() == body


def test_a_journal_that_was_half_written_is_none(volume: Path) -> None:
    (volume / ".disk.img.journal").write_bytes(b'00000000 {"origin": "x", "offset": 5')
    journal = Journal(volume / ".disk.img.journal")

    assert journal.read() is None
    journal.close()


@pytest.mark.parametrize(
    ("name", "phases"),
    [
        ("zlib.qcow2", ["transferring", "complete"]),
        ("stream.vmdk", ["transferring", "complete"]),
        ("disk.vmdk", ["transferring", "converting", "complete"]),
    ],
)
def test_progress_never_falls_and_ends_at_the_whole(
    gallery: Path, volume: Path, name: str, phases: list[str]
) -> None:
    seen: list[Progress] = []

    ingest(Bytes((gallery / name).read_bytes()), Target(volume / "d"), on_progress=seen.append)

    percents = [progress.percent for progress in seen]
    assert percents == sorted(percents)
    assert percents[-1] == 100.0
    assert [*dict.fromkeys(p.phase for p in seen)] == phases


def test_a_flat_image_is_copied_by_its_extents(gallery: Path, volume: Path) -> None:
    image = FileImage(gallery / "disk.raw")

    result = ingest(image, Target(volume / "disk.img"))
    image.close()

    assert same(gallery / "disk.raw", volume / "disk.img")
    assert result.bytes_written < 8 * MIB
    assert result.format is Format.RAW


class Empty:
    """A disk of zeros."""

    size = 8 * MIB

    def extents(self) -> Iterator[Extent]:
        yield Extent(0, self.size, zero=True)

    def preadinto(self, buf: memoryview, offset: int) -> None:
        raise AssertionError("there is nothing to read")


def test_an_empty_image_costs_no_room(volume: Path) -> None:
    ingest(Empty(), Target(volume / "disk.img"))

    assert (volume / "disk.img").stat().st_size == 8 * MIB
    assert allocated(volume / "disk.img") == 0


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="no-such-folder"):
        ingest(Bytes(b"x" * 600), Target(tmp_path / "no-such-folder" / "disk.img"))


FULL = r"no space left on device while .*: \d+ bytes are free of 4194304"


def test_a_disk_that_fills_up_is_said_with_the_numbers(gallery: Path, small: Path) -> None:
    with pytest.raises(NoSpace, match=FULL):
        ingest(Bytes((gallery / "disk.raw").read_bytes()), Target(small / "disk.img"))

    assert "disk.img" not in left_behind(small)


def test_a_disk_that_fills_up_in_conversion_is_said_with_the_numbers(tmp_path: Path, small: Path) -> None:
    (tmp_path / "words").write_bytes(b"words that compress " * 500_000)
    image = converted(tmp_path / "words", tmp_path / "image", "qcow2", "-c", "-o", "cluster_size=512")

    with pytest.raises(NoSpace, match=FULL):
        ingest(Bytes(image.read_bytes()), Target(small / "disk.img"))

    assert "disk.img" not in left_behind(small)


@pytest.mark.parametrize("name", ["disk.vmdk", "disk.vdi", "disk.vhd", "disk.vhdx"])
def test_an_image_whose_end_is_missing_is_no_disk_with_zeros_at_its_end(
    gallery: Path, volume: Path, name: str
) -> None:
    body = (gallery / name).read_bytes()

    with pytest.raises(UnsupportedImage):
        ingest(Bytes(body[: len(body) - 3 * MIB // 2]), Target(volume / "disk.img"))

    assert "disk.img" not in left_behind(volume)


def test_an_image_larger_than_the_free_room_is_not_fetched(gallery: Path, small: Path) -> None:
    source = Bytes((gallery / "disk.vhdx").read_bytes())

    with pytest.raises(NoSpace, match=r"it has .* bytes and is kept in"):
        ingest(source, Target(small / "disk.img"))

    assert source.read <= MIB
