"""Tar archives: read as tar reads them, bounded where tar trusts, and never out of the volume."""

import gzip
import hashlib
import os
import stat
import subprocess
import tarfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from diskyard.disk.archive import MAX_EXTENDED, Archive, Kind
from diskyard.disk.digest import Expected
from diskyard.disk.extract import extract
from diskyard.disk.ingest import ingest
from diskyard.disk.target import NOTHING, Expect, Target
from diskyard.errors import (
    ChecksumMismatch,
    ImageTooLarge,
    InvalidRequest,
    SourceUnavailable,
    UnsafeImage,
    UnsupportedImage,
)
from tests.disk.sources import Bytes, breaking
from tests.disk.tars import entry, folder, link, tar

FORMS = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)


def listed(body: bytes, *, ranged: bool = False) -> list[tuple[str, Kind, bytes]]:
    """Name, kind and content of every member."""
    archive, found = Archive(Bytes(body, ranged=ranged)), []
    for member in archive:
        content = bytearray(member.size)
        view, filled = memoryview(content), 0
        while count := archive.readinto(view[filled:]):
            filled += count
        found.append((member.name, member.kind, bytes(content)))
    return found


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("ranged", [True, False])
def test_members_of_every_form_come_with_their_bodies(form: int, ranged: bool) -> None:
    body = os.urandom(300_000)
    made = tar([folder("a"), entry("a/one", b"1" * 513), entry("two", body), entry("three")], form)

    assert listed(made, ranged=ranged) == [
        ("a/", Kind.FOLDER, b""),
        ("a/one", Kind.FILE, b"1" * 513),
        ("two", Kind.FILE, body),
        ("three", Kind.FILE, b""),
    ]


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_and_foreign_names_are_whole(form: int) -> None:
    name = "ä" * 60 + "/" + "n" * 120

    assert listed(tar([entry(name, b"x")], form)) == [(name, Kind.FILE, b"x")]


def test_bodies_that_nobody_reads_are_passed_over() -> None:
    archive = Archive(Bytes(tar([entry("a", b"x" * 100_000), entry("b"), entry("c", b"y")])))

    assert [member.name for member in archive] == ["a", "b", "c"]


def test_a_sparse_file_is_listed_as_such(tmp_path: Path) -> None:
    with (tmp_path / "disk").open("wb") as file:
        file.truncate(8 << 20)
        file.seek(4 << 20)
        file.write(b"x")
    for form in ("gnu", "pax"):
        subprocess.run(
            ["tar", "-C", tmp_path, "-S", f"--format={form}", "-cf", tmp_path / form, "disk"], check=True
        )

        assert [kind for _, kind, _ in listed((tmp_path / form).read_bytes())] == [Kind.SPARSE]


def damaged_checksum() -> bytes:
    body = bytearray(tar([entry("a", b"x")]))
    body[0] ^= 1
    return bytes(body)


def with_size(field: bytes) -> bytes:
    made = tarfile.TarInfo("a").tobuf()
    block = bytearray(made[:512])
    block[124:136] = field
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (damaged_checksum(), "wrong checksum"),
        (tar([entry("a", b"x" * 5000)])[:2000], "cut short"),
        (tar([entry("a")])[:300], "cut short"),
        (with_size(b"zzzzzzzzzzz\0"), "expected a number"),
        (with_size(b"\xff" * 12), "expected a number"),
        (tar([entry("a", type=b"Z")]), "do not know"),
    ],
)
def test_a_damaged_archive_is_refused_with_words(body: bytes, words: str) -> None:
    with pytest.raises(UnsupportedImage, match=words):
        listed(body)


def test_an_extended_header_is_bounded() -> None:
    bomb = entry("a", b"x" * (MAX_EXTENDED + 1), type=b"x")

    with pytest.raises(UnsafeImage, match="extended header"):
        listed(tar([bomb]))


def test_a_name_is_bounded() -> None:
    with pytest.raises(UnsafeImage, match="name of 5000"):
        listed(tar([entry("n" * 5000)]))


@settings(max_examples=300, deadline=None)
@given(some.data())
def test_whatever_is_done_to_an_archive_it_is_read_or_refused(choice: some.DataObject) -> None:
    body = bytearray(
        tar(
            [entry("n" * 120, b"x" * 700), link("l", "t"), folder("d")],
            choice.draw(some.sampled_from(FORMS[1:])),
        )
    )
    for place in choice.draw(some.lists(some.integers(0, len(body) - 1), max_size=8)):
        body[place] = choice.draw(some.integers(0, 255))
    end = choice.draw(some.integers(0, len(body)))

    with suppress(UnsafeImage, UnsupportedImage):
        listed(bytes(body[:end]))


# One disk in a tar.


def imported(tmp_path: Path, body: bytes, expect: Expect = NOTHING) -> bytes:
    ingest(Bytes(body, ranged=False), Target(tmp_path / "disk.img"), expect=expect)
    return (tmp_path / "disk.img").read_bytes()


@pytest.mark.parametrize("name", ["disk.raw", "zlib.qcow2", "stream.vmdk", "disk.vdi"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_the_one_disk_of_an_archive_is_imported(
    gallery: Path, tmp_path: Path, name: str, pack: type[bytes]
) -> None:
    body = tar(
        [
            entry("machine.ovf", b"<xml/>"),
            entry(f"x/{name}", (gallery / name).read_bytes()),
            entry("machine.mf", b"SHA256"),
        ]
    )

    assert imported(tmp_path, pack(body)) == (gallery / "disk.raw").read_bytes()


def test_a_packed_disk_in_an_archive_is_imported(gallery: Path, tmp_path: Path) -> None:
    raw = (gallery / "disk.raw").read_bytes()

    assert imported(tmp_path, tar([entry("disk.img.gz", gzip.compress(raw, 1))])) == raw


def test_the_checksum_is_of_the_whole_archive(gallery: Path, tmp_path: Path) -> None:
    body = tar([entry("disk.raw", (gallery / "disk.raw").read_bytes()), entry("behind.txt", b"more" * 9000)])
    expect = Expect(digest=Expected("sha256", hashlib.sha256(body).hexdigest()))

    assert imported(tmp_path, body, expect)


def test_a_wrong_checksum_of_an_archive_leaves_nothing(gallery: Path, tmp_path: Path) -> None:
    body = tar([entry("disk.raw", (gallery / "disk.raw").read_bytes())])

    with pytest.raises(ChecksumMismatch):
        imported(tmp_path, body, Expect(digest=Expected("sha256", "0" * 64)))

    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("members", "words"),
    [
        (
            [entry("a.raw", b"1" * 999), entry("b.txt"), entry("c.vmdk", b"2")],
            r"2 disk images \(a.raw, c.vmdk\)",
        ),
        ([entry("readme"), entry("b.txt")], "no disk image.*readme, b.txt"),
        ([], "empty|no disk"),
        ([link("disk.raw", "/etc/shadow")], "as a symbolic link"),
    ],
)
def test_an_archive_without_exactly_one_disk_says_what_it_has(
    members: list[tuple[tarfile.TarInfo, bytes]], words: str, tmp_path: Path
) -> None:
    with pytest.raises(UnsupportedImage, match=words):
        imported(tmp_path, tar([*members, folder("last")]))

    assert not list(tmp_path.iterdir())


# An archive as the files of a volume.


def unpacked(tmp_path: Path, body: bytes, **how: object) -> Path:
    volume = tmp_path / "volume"
    volume.mkdir(exist_ok=True)
    room = how.get("room")
    extract(
        Bytes(body, ranged=False), Target(volume / "disk.img", room=room if isinstance(room, int) else None)
    )
    return volume


@pytest.mark.parametrize("pack", ["cat", "gzip", "xz", "bzip2"])
def test_unpacks_as_tar_does(tmp_path: Path, pack: str) -> None:
    made = tmp_path / "made"
    (made / "sub/deep").mkdir(parents=True)
    (made / "run.sh").write_text("#!/bin/sh\n")
    (made / "run.sh").chmod(0o4755)
    (made / "sub/deep/file").write_bytes(os.urandom(3 << 20))
    (made / "sub/link").symlink_to("../run.sh")
    (made / "hard").hardlink_to(made / "run.sh")
    (made / "sub").chmod(0o550)
    body = subprocess.run(
        ["sh", "-c", f"tar -C {made} -c . | {pack}"], check=True, capture_output=True
    ).stdout

    volume = unpacked(tmp_path, body)

    assert sorted(path.name for path in volume.iterdir()) == ["hard", "run.sh", "sub"]
    assert (volume / "sub/deep/file").read_bytes() == (made / "sub/deep/file").read_bytes()
    assert stat.S_IMODE((volume / "run.sh").stat().st_mode) == 0o755
    assert stat.S_IMODE((volume / "sub").stat().st_mode) == 0o550
    assert (volume / "sub/link").readlink() == Path("../run.sh")
    assert (volume / "hard").samefile(volume / "run.sh")
    assert (volume / "run.sh").stat().st_mtime == int((made / "run.sh").stat().st_mtime)


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([entry("../out", b"x")], "leads out"),
        ([entry("/etc/out", b"x")], "leads out"),
        ([entry("a/../../out", b"x")], "leads out"),
        ([link("l", "/etc")], "links 'l' to '/etc'"),
        ([link("l", "../out")], "out of the volume"),
        ([folder("d"), link("d/l", "../../out")], "out of the volume"),
        ([link("s", "."), link("t", "s/../x")], "out of the volume"),
        ([folder("d"), link("l", "d"), entry("l/file", b"x")], "no directory"),
        ([folder("d"), link("l", "d"), folder("l")], "no directory"),
        ([link("h", "../out", tarfile.LNKTYPE)], "out of it"),
        ([link("h", "/etc/passwd", tarfile.LNKTYPE)], "out of it"),
        ([entry("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3)], "device"),
        ([entry("pipe", type=tarfile.FIFOTYPE)], "device or pipe"),
        ([folder("d"), entry("d", b"x")], "as a directory and as a file"),
        ([entry("n" * 300, b"x")], "longer than 255"),
    ],
)
def test_nothing_leads_out_of_the_volume(
    tmp_path: Path, members: list[tuple[tarfile.TarInfo, bytes]], words: str
) -> None:
    """GHSA-2q3f-q5pq-g8wv, GHSA-vxp5-584q-c479: archives of images whose links lead to the host's files."""
    with pytest.raises(UnsafeImage, match=words):
        unpacked(tmp_path, tar([entry("first", b"1"), *members]))

    assert not list((tmp_path / "volume").iterdir())
    assert not (tmp_path / "out").exists()


def test_the_later_of_two_files_wins(tmp_path: Path) -> None:
    volume = unpacked(tmp_path, tar([entry("a", b"old"), entry("b"), link("a", "b"), entry("a", b"newer")]))

    assert (volume / "a").read_bytes() == b"newer"
    assert (volume / "b").read_bytes() == b""


def test_too_much_for_the_volume_is_refused_before_it_is_written(tmp_path: Path) -> None:
    with pytest.raises(ImageTooLarge, match="2500000"):
        unpacked(tmp_path, tar([entry("a", b"x"), entry("b", bytes(2_499_999))]), room=2_000_000)

    assert not list((tmp_path / "volume").iterdir())


def test_what_an_interrupted_run_has_left_is_no_hindrance(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    (volume / ".diskyard-archive/half").mkdir(parents=True)
    (volume / "sub").mkdir()
    (volume / "sub/old").write_text("old")

    unpacked(tmp_path, tar([entry("sub/new", b"new"), entry("sub/old", b"newer")]))

    assert sorted(path.name for path in volume.iterdir()) == ["sub"]
    assert (volume / "sub/old").read_text() == "newer"


def test_a_broken_stream_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "volume").mkdir()
    body = tar([entry("a", b"x" * 3_000_000)])
    source = Bytes(body, ranged=False, before=breaking(2_000_000, SourceUnavailable("gone")))

    with pytest.raises(SourceUnavailable):
        extract(source, Target(tmp_path / "volume/disk.img"))

    assert not list((tmp_path / "volume").iterdir())


def test_a_wrong_checksum_leaves_no_file(tmp_path: Path) -> None:
    (tmp_path / "volume").mkdir()
    expect = Expect(digest=Expected("md5", "0" * 32))

    with pytest.raises(ChecksumMismatch):
        extract(Bytes(tar([entry("a")])), Target(tmp_path / "volume/disk.img"), expect=expect)

    assert not list((tmp_path / "volume").iterdir())


def test_what_is_no_archive_says_what_it_is(gallery: Path, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedImage, match="found qcow2"):
        unpacked(tmp_path, (gallery / "disk.qcow2").read_bytes())


def test_a_block_device_has_no_files(device: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="volumeMode"):
        extract(Bytes(tar([])), Target(device, scratch=tmp_path))
