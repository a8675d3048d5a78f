"""The forward-only decoder gives the disk that qemu-img gives, however the image was written."""

import base64
import gzip
import os
import random
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diskyard.disk.decoder import Fragmented, Piece
from diskyard.disk.head import Headed
from diskyard.disk.ingest import ingest
from diskyard.disk.preflight import Route, preflight
from diskyard.disk.qcow2 import CHUNK, Qcow2Decoder
from diskyard.disk.qcow2_format import header
from diskyard.disk.target import Expect, Target
from diskyard.errors import NoSpace, SourceUnavailable, UnsupportedImage
from tests.disk.images import MIB, converted, crowded, left_behind, put_last, qemu_img, raw, same
from tests.disk.sources import Bytes, breaking

EXPECT = Expect("image")


def qemu_io(image: Path, *commands: str) -> None:
    arguments = [part for command in commands for part in ("-c", command)]
    subprocess.run(["qemu-io", "-f", "qcow2", *arguments, str(image)], check=True, capture_output=True)


def oracle(image: Path) -> Path:
    """What qemu-img makes of it."""
    disk = image.with_suffix(".oracle")
    qemu_img("convert", "-f", "qcow2", "-O", "raw", str(image), str(disk))
    return disk


def decoded(image: Path, source: Bytes | None = None) -> Path:
    """What we make of it, without ever keeping the image."""
    disk = image.with_suffix(".ours")
    body = image.read_bytes()
    assert preflight(Headed(Bytes(body)), None).route is Route.DECODE
    ingest(source or Bytes(body), Target(disk), expect=EXPECT)
    return disk


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """96 MiB, half of them data: several chunks and, with small clusters, many tables."""
    path = raw(tmp_path_factory.mktemp("disk") / "disk.raw", 96 * MIB)
    with path.open("r+b") as file:
        for place in range(8, 88, 4):
            file.seek(place * MIB + place * 100)
            file.write(os.urandom(MIB) + b"text " * 200_000)
    return path


@pytest.mark.parametrize(
    "options",
    [
        "-c", "-c -o cluster_size=4k", "-c -o cluster_size=2M", "-c -o compression_type=zstd,cluster_size=128k",
        "-o cluster_size=4k", "-o cluster_size=2M", "-o compat=0.10", "-o extended_l2=on", "-o preallocation=metadata",
        "-o refcount_bits=1", "-W -m 8", "-c -W -m 8", "-c -W -m 8 -o compression_type=zstd",
    ],
)  # fmt: skip
def test_an_image_made_with(disk: Path, tmp_path: Path, options: str) -> None:
    image = converted(disk, tmp_path / "image.qcow2", "qcow2", *options.split())

    assert same(disk, decoded(image))


def written(image: Path, seed: int, *, options: str = "cluster_size=64k", size: int = 64) -> Path:
    """An image that a guest has written in no order at all: data, zeros, holes punched, parts overwritten."""
    chance = random.Random(seed)
    qemu_img("create", "-q", "-f", "qcow2", "-o", options, str(image), f"{size}M")
    commands = []
    for number in range(150):
        start, length = chance.randrange(size * MIB - 300_000) // 512 * 512, chance.randrange(1, 512) * 512
        pattern = f"write -q -P {1 + number % 250} {start} {length}"
        commands.append(
            chance.choice(
                [pattern, pattern, pattern, f"write -q -z {start} {length}", f"discard -q {start} {length}"]
            )
        )
    qemu_io(image, *commands)
    return image


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "options", ["cluster_size=64k", "cluster_size=4k", "extended_l2=on,cluster_size=64k"]
)
def test_an_image_written_at_random(tmp_path: Path, seed: int, options: str) -> None:
    image = written(tmp_path / "image.qcow2", seed, options=options)

    assert same(oracle(image), decoded(image))


def behind(tmp_path: Path) -> Path:
    """An image whose second table lies behind data that the first and it map."""
    image = tmp_path / "image.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", str(image), "64M")
    order = [f"write -q -P {1 + place % 200} {place * 64}k 64k" for place in range(1024)]
    random.Random(1).shuffle(order)
    qemu_io(image, *order)
    put_last(image)
    return image


def test_a_table_behind_its_data_has_the_data_fetched_again(tmp_path: Path) -> None:
    image = behind(tmp_path)
    source = Bytes(image.read_bytes())

    assert same(oracle(image), decoded(image, source))
    assert source.read > len(image.read_bytes())


def test_what_is_fetched_again_is_not_fetched_once_more_after_a_crash(tmp_path: Path) -> None:
    image = behind(tmp_path)
    body, target = image.read_bytes(), Target(tmp_path / "disk.img")
    first = Bytes(body, before=lambda _: _gone() if first.read > len(body) + MIB else None)
    with pytest.raises(SourceUnavailable):
        ingest(first, target, expect=EXPECT)

    rest = Bytes(body)
    ingest(rest, target, expect=EXPECT)

    assert same(oracle(image), target.path)
    assert rest.read < 2 * MIB


def test_a_crash_while_a_disordered_image_is_fetched_as_a_whole_costs_only_the_rest(tmp_path: Path) -> None:
    image = crowded(tmp_path)
    body, target = image.read_bytes(), Target(tmp_path / "disk.img")
    broken = Bytes(body, before=breaking(28 * MIB, SourceUnavailable("gone")))
    with pytest.raises(SourceUnavailable):
        ingest(broken, target, expect=EXPECT)
    assert target.spool.exists()

    rest = Bytes(body)
    result = ingest(rest, target, expect=EXPECT)

    assert result.resumed_at >= 8 * MIB
    assert rest.read < len(body) - 7 * MIB
    assert same(oracle(image), target.path)


def _gone() -> None:
    raise SourceUnavailable("gone")


@pytest.mark.parametrize("way", ["no ranges", "packed"])
def test_where_nothing_can_be_fetched_again_the_image_is_spooled(tmp_path: Path, way: str) -> None:
    image = behind(tmp_path)
    body = image.read_bytes()
    source = Bytes(gzip.compress(body)) if way == "packed" else Bytes(body, None, ranged=False)

    assert same(oracle(image), decoded(image, source))
    assert sorted(left_behind(tmp_path)) == ["image.oracle", "image.ours", "image.qcow2"]


@pytest.mark.parametrize("size", [4, 24], ids=["in memory", "beside the disk"])
@pytest.mark.parametrize("options", ["-c", "-c -o compression_type=zstd", "-o cluster_size=16k"])
def test_a_table_however_far_behind_its_data_is_no_reason_to_ask_once_more(
    tmp_path: Path, options: str, size: int
) -> None:
    words = tmp_path / "words.raw"
    words.write_bytes(base64.b64encode(os.urandom(size * MIB * 3 // 4)))
    image = converted(words, tmp_path / "image.qcow2", "qcow2", *options.split())
    put_last(image)
    source = Bytes(image.read_bytes(), None, ranged=False)

    assert same(oracle(image), decoded(image, source))
    assert source.read == image.stat().st_size
    assert sorted(left_behind(tmp_path)) == ["image.oracle", "image.ours", "image.qcow2", "words.raw"]


def test_where_what_no_table_has_named_finds_no_room_the_numbers_are_said(
    tmp_path: Path, small: Path
) -> None:
    words = tmp_path / "words.raw"
    words.write_bytes(base64.b64encode(os.urandom(18 * MIB)))
    image = converted(words, tmp_path / "image.qcow2", "qcow2", "-c")
    put_last(image)
    source = Bytes(image.read_bytes(), None, ranged=False)

    with pytest.raises(
        NoSpace, match=r"while keeping the \d+ bytes from \d+ of .* behind its data .* are free of 4194304"
    ):
        ingest(source, Target(small / "disk.img"))

    assert left_behind(small) == []


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("options", ["cluster_size=4k", "extended_l2=on,cluster_size=64k"])
def test_a_stream_of_an_image_written_at_random_is_read_once(tmp_path: Path, seed: int, options: str) -> None:
    image = written(tmp_path / "image.qcow2", seed, options=options)
    put_last(image)
    source = Bytes(image.read_bytes(), None, ranged=False)

    assert same(oracle(image), decoded(image, source))
    assert source.read == image.stat().st_size


def test_a_killed_run_of_a_disordered_image_goes_on(tmp_path: Path, noise: bytes) -> None:
    image = converted(noise_disk(tmp_path, noise), tmp_path / "image.qcow2", "qcow2", "-W", "-m", "8")
    body = image.read_bytes()
    target = Target(tmp_path / "disk.img")
    for at in (33 * MIB, 70 * MIB, 100 * MIB):
        with pytest.raises(SourceUnavailable):
            ingest(Bytes(body, before=breaking(at, SourceUnavailable("gone"))), target, expect=EXPECT)

    result = ingest(Bytes(body), target, expect=EXPECT)

    assert result.resumed_at >= 64 * MIB
    assert (tmp_path / "disk.img").read_bytes() == noise


@pytest.fixture(scope="module")
def noise() -> bytes:
    return os.urandom(128 * MIB)


def noise_disk(folder: Path, noise: bytes) -> Path:
    path = folder / "noise.raw"
    path.write_bytes(noise)
    return path


def test_internal_snapshots_are_no_part_of_the_disk(tmp_path: Path) -> None:
    image = tmp_path / "image.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", str(image), "16M")
    qemu_io(image, "write -q -P 7 0 4M")
    qemu_img("snapshot", "-c", "before", str(image))
    qemu_io(image, "write -q -P 9 1M 2M")

    assert same(oracle(image), decoded(image))


@pytest.mark.parametrize("options", ["-c", "", "-o cluster_size=4k", "-o extended_l2=on"])
@pytest.mark.parametrize("ranged", [True, False], ids=["ranged", "one stream"])
def test_a_cut_image_is_refused(gallery: Path, tmp_path: Path, options: str, ranged: bool) -> None:
    image = converted(gallery / "disk.raw", tmp_path / "image.qcow2", "qcow2", *options.split())
    body = image.read_bytes()

    for cut in (len(body) // 2, len(body) - 2 * MIB, len(body) - 66 * 1024):
        source = Bytes(body[:cut], "v1" if ranged else None, ranged=ranged, sized=ranged)
        with pytest.raises(UnsupportedImage, match=r"damaged or cut short|could not convert"):
            ingest(source, Target(tmp_path / "disk.img"))

    assert "disk.img" not in left_behind(tmp_path)


def test_a_last_cluster_that_is_not_written_to_its_end_is_filled_up_with_zeros(
    gallery: Path, tmp_path: Path
) -> None:
    image = converted(gallery / "disk.raw", tmp_path / "image.qcow2", "qcow2", "-o", "cluster_size=2M")
    os.truncate(image, image.stat().st_size - 123_392)

    assert same(oracle(image), decoded(image))


def test_a_damaged_cluster_is_refused(disk: Path, tmp_path: Path) -> None:
    image = converted(disk, tmp_path / "image.qcow2", "qcow2", "-c", "-o", "compression_type=zstd")
    body = bytearray(image.read_bytes())
    place = body.index(b"\x28\xb5\x2f\xfd", 500_000)
    body[place : place + 4] = b"\xff\xff\xff\xff"

    with pytest.raises(UnsupportedImage, match="not the zstd stream"):
        ingest(Bytes(bytes(body)), Target(tmp_path / "disk.img"))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(writes=st.lists(st.tuples(st.integers(0, 1023), st.integers(1, 64), st.integers(0, 3)), max_size=40))
def test_any_writes_in_any_order(tmp_path: Path, writes: list[tuple[int, int, int]]) -> None:
    image = tmp_path / "image.qcow2"
    for path in tmp_path.iterdir():
        path.unlink()
    qemu_img("create", "-q", "-f", "qcow2", "-o", "extended_l2=on,cluster_size=16k", str(image), "1M")
    kinds = ("write -q -P 65", "write -q -P 66", "write -q -z", "discard -q")
    spans = [(kinds[kind], start * 1024, min(length, 1024 - start) * 1024) for start, length, kind in writes]
    if spans:
        qemu_io(image, *(f"{command} {start} {length}" for command, start, length in spans))

    assert same(oracle(image), decoded(image))


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("empty") / "image.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", str(path), "2M")
    return path.read_bytes()


@settings(max_examples=150, deadline=None)
@given(entries=st.lists(st.integers(0, (1 << 64) - 1), max_size=8), body=st.binary(max_size=2000))
def test_hostile_tables_are_refused_or_read_nothing_outside(
    empty: bytes, entries: list[int], body: bytes
) -> None:
    head = header(empty)
    image = bytearray(empty) + bytes(head.cluster)
    table = len(empty)
    for place, entry in enumerate(entries):
        image[table + 8 * place : table + 8 * place + 8] = entry.to_bytes(8, "big")
    image += body
    l1 = table.to_bytes(8, "big") + bytes(8 * head.l1_entries - 8)
    try:
        decoder = Qcow2Decoder(head, l1, len(image))
        pieces = [*decoder.feed(0, memoryview(image)), *decoder.rest()]
    except (UnsupportedImage, Fragmented):
        return
    assert all(piece.start >= 0 and piece.end <= head.size and piece.length <= CHUNK for piece in pieces)


def put(disk: bytearray, pieces: Iterable[Piece]) -> None:
    """What copy does with pieces."""
    for piece in pieces:
        out = piece.codec(piece.view, piece.length) if piece.codec and piece.view else piece.view
        disk[piece.start : piece.end] = out or bytes(piece.length)


@pytest.mark.parametrize("kind", ["zlib", "zstd"])
def test_a_cluster_across_the_places_of_two_crashes_is_not_forgotten(tmp_path: Path, kind: str) -> None:
    disk = tmp_path / "words.raw"
    disk.write_bytes(base64.b64encode(os.urandom(9 * MIB)))
    image = converted(disk, tmp_path / "image.qcow2", "qcow2", "-c", "-o", f"compression_type={kind}")
    body = image.read_bytes()
    head = header(body)
    made = bytearray(head.size)
    for start in range(0, len(body), CHUNK):
        decoder = Qcow2Decoder(head, body[head.l1_offset :][: 8 * head.l1_entries], len(body))
        decoder.catch_up(start, lambda at, length: body[at : at + length])
        put(made, decoder.feed(start, memoryview(body)[start : start + CHUNK]))
    put(made, decoder.rest())
    for span in decoder.missed():
        put(made, decoder.feed(span.start, memoryview(body)[span.start : span.end]))

    assert made == disk.read_bytes()
