"""A block device is the disk to its last byte: what was there before is gone."""

import hashlib
import os
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from diskyard import linux
from diskyard.disk.digest import Expected
from diskyard.disk.ingest import ingest
from diskyard.disk.journal import Record
from diskyard.disk.target import Expect, Target
from diskyard.disk.writer import DeviceWriter, device_size, known
from diskyard.errors import ChecksumMismatch, ImageTooLarge, SourceUnavailable
from tests.disk.images import MIB, converted, left_behind
from tests.disk.sources import Bytes, breaking

ORIGIN = Expect("origin", algorithm="sha256")


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("preallocate", [False, True])
@pytest.mark.parametrize("name", ["disk.raw", "zlib.qcow2"])
def test_the_whole_device_is_covered(
    gallery: Path, device: Path, scratch: Path, name: str, preallocate: bool
) -> None:
    target = Target(device, room=device_size(device), scratch=scratch, preallocate=preallocate)

    ingest(Bytes((gallery / name).read_bytes()), target)

    assert device.read_bytes() == (gallery / "disk.raw").read_bytes() + bytes(8 * MIB)
    assert left_behind(scratch) == []


def test_a_wrong_checksum_wipes_the_device(gallery: Path, device: Path, scratch: Path) -> None:
    expect = Expect(digest=Expected("sha1", "0" * 40))

    with pytest.raises(ChecksumMismatch):
        ingest(Bytes((gallery / "disk.raw").read_bytes()), Target(device, scratch=scratch), expect=expect)

    assert device.read_bytes() == bytes(32 * MIB)


def interrupted(target: Target, body: bytes, at: int) -> None:
    """A transfer whose source breaks off."""
    broken = Bytes(body, before=breaking(at, SourceUnavailable("gone")))
    with pytest.raises(SourceUnavailable):
        ingest(broken, target, expect=ORIGIN)


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one disk of 28 MiB as several images: too long to be in memory at once."""
    folder = tmp_path_factory.mktemp("noise")
    disk = folder / "disk.raw"
    disk.write_bytes(os.urandom(28 * MIB))
    converted(disk, folder / "disk.qcow2", "qcow2", "-c")
    converted(disk, folder / "disk.vdi", "vdi")
    return folder


@pytest.mark.parametrize("name", ["disk.raw", "disk.qcow2", "disk.vdi"])
def test_an_interrupted_transfer_goes_on(noise: Path, device: Path, scratch: Path, name: str) -> None:
    body = (noise / name).read_bytes()
    target = Target(device, room=device_size(device), scratch=scratch)
    interrupted(target, body, at=26 * MIB)

    rest = Bytes(body)
    result = ingest(rest, target, expect=ORIGIN)

    assert result.resumed_at > 0
    assert rest.read < len(body)
    assert result.digest == f"sha256:{hashlib.sha256(body).hexdigest()}"
    assert device.read_bytes() == (noise / "disk.raw").read_bytes() + bytes(4 * MIB)
    assert left_behind(scratch) == []


@pytest.mark.parametrize("name", ["disk.raw", "disk.qcow2"])
def test_another_device_of_that_name_is_filled_from_its_beginning(
    noise: Path, device: Path, scratch: Path, name: str
) -> None:
    body = (noise / name).read_bytes()
    target = Target(device, room=device_size(device), scratch=scratch)
    interrupted(target, body, at=26 * MIB)
    device.write_bytes(b"\xa5" * (32 * MIB))

    result = ingest(Bytes(body), target, expect=Expect("origin"))

    assert result.resumed_at == 0
    assert device.read_bytes() == (noise / "disk.raw").read_bytes() + bytes(4 * MIB)


def reported(target: Target, body: bytes, at: int) -> str:
    """What a transfer that breaks off has said of its journal."""
    said: list[str] = []
    broken = Bytes(body, before=breaking(at, SourceUnavailable("gone")))
    with pytest.raises(SourceUnavailable):
        ingest(broken, target, expect=Expect("origin"), on_progress=lambda each: said.append(each.journal))
    target.journal.unlink()
    return said[-1]


@pytest.mark.parametrize("name", ["disk.raw", "disk.qcow2"])
def test_a_journal_that_was_lost_is_taken_up_as_it_was_reported(
    noise: Path, device: Path, scratch: Path, name: str
) -> None:
    body, target = (noise / name).read_bytes(), Target(device, scratch=scratch)
    journal = reported(target, body, at=26 * MIB)

    result = ingest(Bytes(body), replace(target, reported=journal), expect=Expect("origin"))

    assert result.resumed_at > 0
    assert device.read_bytes() == (noise / "disk.raw").read_bytes() + bytes(4 * MIB)


def test_a_reported_journal_is_not_believed_once_another_version_was_written(
    noise: Path, device: Path, scratch: Path
) -> None:
    body, target = (noise / "disk.raw").read_bytes(), Target(device, scratch=scratch)
    journal = replace(target, reported=reported(target, body, at=26 * MIB))
    other = Bytes(os.urandom(28 * MIB), "v2", before=breaking(8 * MIB, SystemExit()))
    with pytest.raises(SystemExit):
        ingest(other, journal, expect=Expect("origin"))
    target.journal.unlink(missing_ok=True)

    result = ingest(Bytes(body), journal, expect=Expect("origin"))

    assert result.resumed_at == 0
    assert device.read_bytes() == body + bytes(4 * MIB)


@pytest.mark.parametrize("text", ["", "[]", "{}", "no", '{"origin":1,"validator":"","route":""}', "9" * 600])
def test_what_is_no_report_is_none(text: str) -> None:
    assert Record.from_text(text) is None


def test_a_device_is_known_by_what_was_written_last(device: Path) -> None:
    with closing(DeviceWriter(device)) as writer:
        before = writer.mark()
        writer.pwrite(memoryview(b"boot" * 1024), 4 * MIB)
        writer.flush()
        mark = writer.mark()
        writer.pwrite(memoryview(b"more" * 1024), 8 * MIB)

    assert before == ""
    assert known(device, mark)
    with device.open("r+b") as file:
        file.seek(4 * MIB + 4095)
        file.write(b"!")
    assert not known(device, mark)


@pytest.mark.parametrize("mark", ["", "1+", "x+1:00", "-1+5:00", "0+99999999999:00"])
def test_what_is_no_mark_proves_nothing(device: Path, mark: str) -> None:
    assert not known(device, mark)


def test_an_image_that_does_not_fit_leaves_the_device_alone(device: Path, scratch: Path) -> None:
    target = Target(device, room=device_size(device), scratch=scratch)

    with pytest.raises(ImageTooLarge):
        ingest(Bytes(bytes(33 * MIB)), target)

    assert device.read_bytes() == b"\xa5" * (32 * MIB)


def test_a_device_says_how_much_it_reads_at_least(device: Path) -> None:
    with device.open("rb") as file:
        logical, physical = linux.sectors(file.fileno())

    assert logical == 512
    assert physical >= logical
