"""What a source is, told from its head."""

import bz2
import gzip
import json
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from diskyard.api.job import ImportJob
from diskyard.disk.boot import boot
from importer.inspection import Inspection, inspection
from tests.disk.images import MIB, converted, qemu_img, raw
from tests.imageserver import ImageServer, fault_server, status

MBR = bytes(446) + struct.pack("<B3xB3xII", 0x80, 0x83, 2048, 4096) + bytes(48) + b"\x55\xaa"
LOADER = b"\xeb\x63\x90" + bytes(507) + b"\x55\xaa"


def local(path: Path, room: int | None = None) -> Inspection:
    return inspection(ImportJob("file", str(path)), room)


def remote(url: str) -> Inspection:
    return inspection(ImportJob("http", url))


def disk(path: Path, head: bytes, size: int = MIB) -> Path:
    path.write_bytes(head.ljust(size, b"\0"))
    return path


def test_a_good_image_on_a_good_server(images: ImageServer) -> None:
    images.forget()

    found = remote(images.url("disk.qcow2"))

    assert (found.reachable, found.authorized, found.ranged, found.resumable) == (True, True, True, True)
    assert found.size == (images.root / "disk.qcow2").stat().st_size
    assert (found.format, found.packed, found.virtual_size, found.route) == ("qcow2", (), 24 * MIB, "decode")
    assert found.claim == 26 * MIB
    assert found.validator
    assert found.refusal is None


def test_only_the_head_is_asked_for(tmp_path: Path) -> None:
    with fault_server(MBR + bytes(64 * MIB)) as server:
        found = remote(server.url())

        assert found.format == "raw"
        assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("kind", "route"), [("raw", "stream"), ("qcow2", "decode"), ("vdi", "spool"), ("vpc", "spool")]
)
def test_a_format_and_how_it_would_be_imported(tmp_path: Path, kind: str, route: str) -> None:
    image = converted(raw(tmp_path / "disk"), tmp_path / "image", kind)

    size = json.loads(qemu_img("info", "-f", kind, "--output", "json", str(image)))["virtual-size"]
    found = local(image)

    assert (found.format, found.virtual_size, found.route) == (kind, size, route)


def test_what_an_image_is_packed_in_is_told_from_the_outside_in(tmp_path: Path) -> None:
    qemu_img("create", "-q", "-f", "qcow2", str(tmp_path / "disk.qcow2"), "1G")
    with tarfile.open(tmp_path / "disk.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "disk.qcow2", "disk.qcow2")

    found = local(tmp_path / "disk.tar.gz")

    assert (found.format, found.packed, found.virtual_size) == ("qcow2", ("gz", "tar"), 1 << 30)
    assert not found.resumable


def test_a_packed_raw_disk_says_that_its_size_is_not_known(tmp_path: Path) -> None:
    (tmp_path / "disk.bz2").write_bytes(bz2.compress(MBR + bytes(MIB)))

    found = local(tmp_path / "disk.bz2")

    assert (found.format, found.virtual_size, found.claim) == ("raw", None, None)
    assert any("shows only when all of it is here" in hint for hint in found.hints)


@pytest.mark.parametrize(
    ("path", "facts", "words"),
    [
        ("none", (False, None), "404"),
        ("private/disk.raw", (True, False), "401"),
        ("broken/", (False, None), "503"),
    ],
)
def test_a_server_that_says_no(
    images: ImageServer, path: str, facts: tuple[bool, bool | None], words: str
) -> None:
    found = remote(images.url(path))

    assert (found.reachable, found.authorized) == facts
    assert words in str(found.refusal)


def test_a_server_without_ranges_is_told(images: ImageServer) -> None:
    found = remote(images.url("no-ranges/disk.raw"))

    assert (found.ranged, found.resumable, found.refusal) == (False, False, None)
    assert any("offers no ranges" in hint for hint in found.hints)


def test_a_web_page_is_told_for_what_it_is() -> None:
    with fault_server(b"", status(200, b"<!DOCTYPE html><html>Please log in</html>")) as server:
        found = remote(server.url())

    assert found.format == "html"
    assert "a web page" in str(found.refusal)


def test_a_disk_that_is_too_large_for_its_room_is_told_with_its_size(tmp_path: Path) -> None:
    qemu_img("create", "-q", "-f", "qcow2", str(tmp_path / "disk.qcow2"), "10G")

    found = local(tmp_path / "disk.qcow2", 1 << 30)

    assert found.virtual_size == 10 << 30
    assert found.wire()["reason"] == "ImageTooLarge"


def _gpt() -> bytes:
    return MBR + b"EFI PART" + bytes(504)


def _iso(boots: bool) -> bytes:
    volume, record = b"\x01CD001\x01", b"\0CD001\x01EL TORITO SPECIFICATION" if boots else b"\xffCD001\x01"
    return bytes(32768) + volume.ljust(2048, b"\0") + record.ljust(2048, b"\0")


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"\x01" + bytes(511), "no boot sector or partition table found"),
        (bytes(512), "are zeros"),
        (b"404: no such image here\n".ljust(512, b" "), "begins with text"),
        (bytes(0x438) + b"\x53\xef", "one ext4 without partitions"),
        (_iso(boots=True), "a bootable CD (ISO 9660): attach it as a cdrom"),
        (_iso(boots=False), "not bootable"),
        (MBR + _iso(boots=True)[512:], "or as a disk: it is both"),
        (MBR, ""), (LOADER, ""), (_gpt(), ""),
    ],
)  # fmt: skip
def test_hints_for_people(tmp_path: Path, head: bytes, words: str) -> None:
    size = 512 if head.startswith(b"404") else MIB

    hints = " ".join(local(disk(tmp_path / "disk", head, size)).hints)

    assert words in hints
    assert bool(words) == bool(hints)


def test_a_disk_that_was_cut_short_is_noticed(tmp_path: Path) -> None:
    assert "no multiple of 512" in local(disk(tmp_path / "disk", MBR, MIB + 7)).hints[0]


@pytest.mark.parametrize(("head", "table"), [(MBR, "mbr"), (_gpt(), "gpt"), (LOADER, ""), (b"", "")])
def test_a_partition_table(head: bytes, table: str) -> None:
    assert boot(head).table == table


def test_the_words_for_programs_are_stable(tmp_path: Path) -> None:
    said = local(disk(tmp_path / "disk", MBR)).wire()

    assert list(said) == [
        "source", "importable", "reason", "message", "retry", "reachable", "authorized", "ranged", "resumable",
        "size", "validator", "format", "packed", "virtualSize", "claimSize", "claim", "route", "hints",
    ]  # fmt: skip
    assert said["importable"] is True
    assert (said["claim"], said["claimSize"]) == ("2Mi", 2 * MIB)


PACKERS: dict[str, Callable[[bytes], bytes]] = {"gz": gzip.compress, "bz2": bz2.compress}


@pytest.mark.parametrize("kind", PACKERS)
def test_a_hostile_image_is_refused_inside_its_packing_too(tmp_path: Path, kind: str) -> None:
    qemu_img(
        "create", "-q", "-f", "qcow2", "-b", "/etc/passwd", "-F", "raw", str(tmp_path / "disk.qcow2"), "1M"
    )
    packed = tmp_path / "packed"
    packed.write_bytes(PACKERS[kind]((tmp_path / "disk.qcow2").read_bytes()))

    found = local(packed)

    assert found.wire()["reason"] == "UnsafeImage"
    assert "backing file" in str(found.refusal)
