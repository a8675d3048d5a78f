"""A block device is the disk to its last byte: what was there before is gone."""

from pathlib import Path

import pytest

from diskyard.disk.digest import Expected
from diskyard.disk.ingest import ingest
from diskyard.disk.target import Expect, Target
from diskyard.disk.writer import device_size
from diskyard.errors import ChecksumMismatch, ImageTooLarge
from tests.disk.images import MIB, left_behind
from tests.disk.sources import Bytes


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


def test_an_image_that_does_not_fit_leaves_the_device_alone(device: Path, scratch: Path) -> None:
    target = Target(device, room=device_size(device), scratch=scratch)

    with pytest.raises(ImageTooLarge):
        ingest(Bytes(bytes(33 * MIB)), target)

    assert device.read_bytes() == b"\xa5" * (32 * MIB)
