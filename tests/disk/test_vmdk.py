"""streamOptimized vmdk is decoded while it passes: the disk that qemu-img gives, or a refusal."""

import gzip
import os
import random
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diskyard.disk.decoder import Piece
from diskyard.disk.head import Headed
from diskyard.disk.ingest import ingest
from diskyard.disk.preflight import Route, preflight
from diskyard.disk.target import Expect, Target
from diskyard.disk.vmdk import VmdkDecoder
from diskyard.disk.vmdk_format import header
from diskyard.errors import SourceUnavailable, UnsafeImage, UnsupportedImage
from tests.disk.images import MIB, converted, left_behind, qemu_img, raw, same
from tests.disk.sources import Bytes, breaking
from tests.disk.vmdks import SECTOR, Export, exported

PART = 32 << 20

EXPECT = Expect("image")
STREAM = ("-o", "subformat=streamOptimized")


def oracle(image: Path) -> Path:
    """What qemu-img makes of it."""
    disk = image.with_suffix(".oracle")
    qemu_img("convert", "-f", "vmdk", "-O", "raw", str(image), str(disk))
    return disk


def decoded(image: Path, source: Bytes | None = None) -> Path:
    """What we make of it, without ever keeping the image."""
    disk = image.with_suffix(".ours")
    body = image.read_bytes()
    assert preflight(Headed(Bytes(body)), None).route is Route.DECODE
    phases: set[str] = set()
    ingest(
        source or Bytes(body), Target(disk), expect=EXPECT, on_progress=lambda said: phases.add(said.phase)
    )
    assert "converting" not in phases
    return disk


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """96 MiB, half of them data: four tables, several chunks, grains across every border."""
    path = raw(tmp_path_factory.mktemp("disk") / "disk.raw", 96 * MIB + 3 * SECTOR)
    with path.open("r+b") as file:
        for place in range(8, 88, 4):
            file.seek(place * MIB + place * 100)
            file.write(os.urandom(MIB) + b"text " * 200_000)
    return path


@pytest.mark.parametrize("options", ["", "-W -m 8"])
def test_an_image_made_by_qemu_img(disk: Path, tmp_path: Path, options: str) -> None:
    image = converted(disk, tmp_path / "image.vmdk", "vmdk", *STREAM, *options.split())

    assert same(oracle(image), decoded(image))


@pytest.mark.parametrize("grain", [8, 128, 2048])
def test_an_export_with_grains_of(disk: Path, tmp_path: Path, grain: int) -> None:
    image = tmp_path / "image.vmdk"
    image.write_bytes(exported(disk.read_bytes(), grain=grain))

    assert same(oracle(image), decoded(image))


def test_grains_in_no_order(disk: Path, tmp_path: Path) -> None:
    order = list(range(96 * 16 + 1))
    random.Random(1).shuffle(order)
    image = tmp_path / "image.vmdk"
    image.write_bytes(exported(disk.read_bytes(), order=order))

    assert same(oracle(image), decoded(image))


def test_an_image_of_a_guests_writes_with_zeroed_grains(tmp_path: Path) -> None:
    image = tmp_path / "image.vmdk"
    qemu_img(
        "create", "-q", "-f", "vmdk", "-o", "subformat=streamOptimized,zeroed_grain=on", str(image), "8M"
    )

    assert same(oracle(image), decoded(image))


@pytest.mark.parametrize("way", ["made by qemu-img", "exported"])
@pytest.mark.parametrize("wrapping", ["no ranges", "packed"])
def test_needs_no_room_for_the_image_where_nothing_can_be_fetched_again(
    disk: Path, tmp_path: Path, way: str, wrapping: str
) -> None:
    image = tmp_path / "image.vmdk"
    if way == "exported":
        image.write_bytes(exported(disk.read_bytes()))
    else:
        converted(disk, image, "vmdk", *STREAM)
    body = image.read_bytes()
    source = Bytes(gzip.compress(body, 1)) if wrapping == "packed" else Bytes(body, None, ranged=False)

    assert same(oracle(image), decoded(image, source))


@pytest.mark.parametrize("way", ["made by qemu-img", "exported"])
@pytest.mark.parametrize("at", [PART + 5 * MIB, 2 * PART + MIB, None], ids=["early", "late", "at its end"])
def test_an_interrupted_run_goes_on(tmp_path: Path, noise: bytes, way: str, at: int | None) -> None:
    image, plain = tmp_path / "image.vmdk", tmp_path / "noise.raw"
    plain.write_bytes(noise)
    if way == "exported":
        image.write_bytes(exported(noise))
    else:
        converted(plain, image, "vmdk", *STREAM)
    body = image.read_bytes()
    stopped = breaking(at or len(body), SourceUnavailable("gone"))
    with pytest.raises(SourceUnavailable):
        ingest(Bytes(body, before=stopped), Target(tmp_path / "disk.img"), expect=EXPECT)
    source = Bytes(body)

    result = ingest(source, Target(tmp_path / "disk.img"), expect=EXPECT)

    assert result.resumed_at >= PART // 2
    assert source.read <= len(body) - result.resumed_at + 5 * MIB
    assert (tmp_path / "disk.img").read_bytes() == noise


@pytest.fixture(scope="module")
def noise() -> bytes:
    return os.urandom(3 * PART)


def test_a_grain_that_is_there_twice_is_left_to_qemu_img(tmp_path: Path) -> None:
    export = Export(8 * MIB)
    export.put(3, b"a" * 65536)
    export.put(3, b"b" * 65536)
    image = tmp_path / "image.vmdk"
    image.write_bytes(export.finish())

    ingest(Bytes(image.read_bytes()), Target(tmp_path / "disk.img"))

    assert same(oracle(image), tmp_path / "disk.img")
    assert (tmp_path / "disk.img").read_bytes()[3 * 65536 : 4 * 65536] == b"b" * 65536


def at(body: bytes, kind: int) -> int:
    """Where the marker of a kind lies in a small export."""
    return next(
        place
        for place in range(128 * SECTOR, len(body), SECTOR)
        if struct.unpack_from("<II", body, place + 8) == (0, kind) and not any(body[place + 16 : place + 512])
    )


def changed(body: bytes, place: int, content: bytes) -> bytes:
    return body[:place] + content + body[place + len(content) :]


@pytest.fixture(scope="module")
def small() -> bytes:
    """An export with two grains."""
    export = Export(8 * MIB)
    export.put(3, b"a" * 65536)
    export.put(5, b"b" * 65536)
    return export.finish()


GRAIN = 128 * SECTOR
NO_MARKER = struct.pack("<QII", 0, 0, 9)


@pytest.mark.parametrize(
    ("what", "where", "content", "words"),
    [
        ("a grain behind the disk", GRAIN, struct.pack("<Q", 8 * MIB // SECTOR), "belongs at 8388608"),
        ("a grain between two places", GRAIN, struct.pack("<Q", 7), "in grains of 65536"),
        ("a grain too long", GRAIN + 8, struct.pack("<I", 1 << 30), "packed into 1073741824"),
        ("no zlib stream", GRAIN + 12, b"\xff" * 8, "not the zlib stream"),
        ("an unknown marker", GRAIN, NO_MARKER, "type 9"),
        ("endless metadata", GRAIN, struct.pack("<QII", 1 << 40, 0, 2), "1099511627776 sectors"),
        ("an end before its end", GRAIN, bytes(16), "behind its end"),
    ],
)
def test_refuses_an_image_with(
    small: bytes, tmp_path: Path, what: str, where: int, content: bytes, words: str
) -> None:
    with pytest.raises(UnsupportedImage, match=words):
        ingest(Bytes(changed(small, where, content)), Target(tmp_path / "disk.img"))

    assert left_behind(tmp_path) == []


def test_refuses_tables_that_say_something_else_than_the_markers(small: bytes, tmp_path: Path) -> None:
    directory = at(small, 2) + SECTOR
    footer = at(small, 3) + SECTOR
    for place, content, words in (
        (directory, struct.pack("<I", 129), "directory has it"),
        (footer + 12, struct.pack("<Q", 999), "footer says something else"),
        (footer + 56, struct.pack("<Q", (1 << 64) - 1), "footer says something else"),
        (footer + 56, struct.pack("<Q", 200), "directory in another place"),
    ):
        with pytest.raises(UnsupportedImage, match=words):
            ingest(Bytes(changed(small, place, content)), Target(tmp_path / "disk.img"))


def test_refuses_what_lies_behind_the_end(small: bytes, tmp_path: Path) -> None:
    """qemu-img believes the last footer, wherever the stream ends."""
    with pytest.raises(UnsupportedImage, match="behind its end"):
        ingest(Bytes(small + small[-3 * SECTOR :]), Target(tmp_path / "disk.img"))

    ingest(Bytes(small + bytes(SECTOR)), Target(tmp_path / "disk.img"))


@pytest.mark.parametrize("way", ["made by qemu-img", "exported"])
def test_refuses_an_image_that_is_cut_short_wherever_it_is(disk: Path, tmp_path: Path, way: str) -> None:
    image = tmp_path / "image.vmdk"
    if way == "exported":
        image.write_bytes(exported(disk.read_bytes()))
    else:
        converted(disk, image, "vmdk", *STREAM)
    body = image.read_bytes()
    chance, last = random.Random(2), len(body.rstrip(b"\0"))

    for cut in [last - 1, last - 600, *(chance.randrange(MIB, last) for _ in range(4))]:
        with pytest.raises((UnsupportedImage, UnsafeImage)):
            ingest(Bytes(body[:cut]), Target(tmp_path / "disk.img"))

    assert left_behind(tmp_path) == ["image.vmdk"]


def unpacked(pieces: list[Piece]) -> dict[int, bytes]:
    return {
        piece.start: bytes(piece.codec(piece.view, piece.length))
        for piece in pieces
        if piece.codec and piece.view
    }


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.integers(1, 40_000), min_size=1, max_size=12))
def test_the_disk_is_the_same_in_chunks_of_any_length(small: bytes, steps: list[int]) -> None:
    decoder = VmdkDecoder(header(small))
    found: dict[int, bytes] = {}
    at, turn = 0, 0
    while at < len(small):
        chunk = small[at : at + steps[turn % len(steps)]]
        found |= unpacked([*decoder.feed(at, memoryview(chunk))])
        at, turn = at + len(chunk), turn + 1

    assert [*decoder.rest()] == []
    assert found == {3 * 65536: b"a" * 65536, 5 * 65536: b"b" * 65536}
