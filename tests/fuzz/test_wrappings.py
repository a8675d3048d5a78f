"""Damaged compression and archives: what Python's own readers give, or a refusal; and nothing outside the volume."""

import bz2
import gzip
import io
import lzma
import os
import random
import sys
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diskyard.disk.extract import extract
from diskyard.disk.ingest import ingest
from diskyard.disk.target import Target
from diskyard.errors import Passing, Refused
from tests.disk.images import MIB, left_behind
from tests.disk.sources import Bytes
from tests.disk.tars import entry, folder, link, tar
from tests.fuzz.mutations import Damage, bounded, damage

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ROOM = 4 * MIB
DISK = b"words that compress " * 5000 + random.Random(3).randbytes(30_000)
SKIPPABLE = b"\x5a\x2a\x4d\x18" + (8).to_bytes(4, "little") + b"comments"
PACKED = {
    "gz": gzip.compress(DISK) + gzip.compress(DISK),
    "xz": lzma.compress(DISK, preset=0) + lzma.compress(DISK, preset=0),
    "bz2": bz2.compress(DISK) + bz2.compress(DISK),
    "zst": zstd.compress(DISK) + zstd.compress(DISK),
}
READERS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.decompress, "xz": lzma.decompress, "bz2": bz2.decompress, "zst": zstd.decompress
}  # fmt: skip


def _reference(kind: str, image: bytes) -> bytes | None:
    """What Python's reader gives; None where it refuses."""
    try:
        return READERS[kind](image)
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, zstd.ZstdError):
        return None


@pytest.mark.parametrize("kind", PACKED)
def test_a_damaged_stream_of(tmp_path: Path, kind: str) -> None:
    body = PACKED[kind]
    second = len(body) // 2

    @bounded(60)
    @given(done=damage(len(body), (second, len(body) - 64)))
    def is_what_it_was_or_refused(done: Damage) -> None:
        disk = tmp_path / "disk.img"
        disk.unlink(missing_ok=True)
        image = done.done(body)
        try:
            result = ingest(Bytes(image), Target(disk, room=ROOM))
        except (Refused, Passing):
            assert left_behind(tmp_path) == []
            return
        expected = _reference(kind, image) if result.format == "raw" else None
        assert disk.read_bytes() == image or expected is None or disk.read_bytes() == expected

    is_what_it_was_or_refused()


@pytest.mark.parametrize("kind", PACKED)
def test_what_follows_a_stream_and_is_none_is_refused(tmp_path: Path, kind: str) -> None:
    """A second part whose first byte is wrong would otherwise be missing from the disk."""
    body = bytearray(PACKED[kind])
    half = len(body) // 2
    body[half] ^= 0xFF

    with pytest.raises(Refused, match="damaged"):
        ingest(Bytes(bytes(body)), Target(tmp_path / "disk.img"))

    assert left_behind(tmp_path) == []


def test_frames_to_skip_are_part_of_zst(tmp_path: Path) -> None:
    body = zstd.compress(DISK) + SKIPPABLE + zstd.compress(DISK) + SKIPPABLE

    ingest(Bytes(body), Target(tmp_path / "disk.img"))

    assert (tmp_path / "disk.img").read_bytes() == DISK * 2


ARCHIVE = tar(
    [
        folder("etc"), entry("etc/motd", b"hello"), link("etc/issue", "motd"),
        link("again", "etc/motd", tarfile.LNKTYPE), entry("n" * 120, b"long"), entry("disk.img", DISK),
    ],
    tarfile.PAX_FORMAT,
)  # fmt: skip


@bounded(150)
@given(
    done=damage(len(ARCHIVE), (512, 1024, 2048, 3072)),
    names=st.sampled_from(["", "../x", "/etc/x", "etc/../../x"]),
)
def test_a_damaged_archive_stays_in_its_volume(
    tmp_path_factory: pytest.TempPathFactory, done: Damage, names: str
) -> None:
    around = tmp_path_factory.mktemp("around")
    volume = around / "volume"
    volume.mkdir()
    image = done.done(
        ARCHIVE.replace(b"etc/motd\0", (names.encode() + b"\0").ljust(9, b"\0")[:9]) if names else ARCHIVE
    )
    try:
        extract(Bytes(image), Target(volume / "disk.img", room=ROOM))
    except (Refused, Passing):
        assert left_behind(volume) == []
    assert left_behind(around) == ["volume"]
    for root, folders, files in os.walk(volume):
        for name in [*folders, *files]:
            assert Path(root, name).resolve().is_relative_to(volume)


@bounded(100)
@given(done=damage(len(ARCHIVE), (512, 1024, len(ARCHIVE) - 160_000)))
def test_the_disk_of_a_damaged_archive_is_the_one_that_tar_gives(
    tmp_path_factory: pytest.TempPathFactory, done: Damage
) -> None:
    disk = tmp_path_factory.mktemp("volume") / "disk.img"
    image = done.done(ARCHIVE)
    try:
        ingest(Bytes(image), Target(disk, room=ROOM))
    except (Refused, Passing):
        assert left_behind(disk.parent) == []
        return
    assert disk.read_bytes() == image or disk.read_bytes() == _member(image)


def _member(image: bytes) -> bytes | None:
    with tarfile.open(fileobj=io.BytesIO(image)) as archive:
        found = [member for member in archive if member.name.endswith(".img")]
        content = archive.extractfile(found[0]) if found else None
        return content.read() if content else None
