"""An image that must be converted, on a volume without room for it and its disk: it is kept elsewhere meanwhile."""

import os
from pathlib import Path

import pytest

from diskyard.disk.digest import Expected
from diskyard.disk.ingest import ingest
from diskyard.disk.target import Expect, Progress, Target
from diskyard.errors import ChecksumMismatch, NoSpace
from tests.disk.images import MIB, converted, left_behind
from tests.disk.sources import Bytes

DATA = 2 * MIB + MIB // 2
SIZE = 8 * MIB


@pytest.fixture
def spare(tmp_path: Path) -> Path:
    folder = tmp_path / "spare"
    folder.mkdir()
    return folder


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "raw"
    path.write_bytes(os.urandom(DATA) + bytes(SIZE - DATA))
    return path


@pytest.fixture
def image(tmp_path: Path, disk: Path) -> bytes:
    """3 MiB, for a disk of as many."""
    return converted(disk, tmp_path / "vdi", "vdi").read_bytes()


@pytest.mark.parametrize("ranged", [True, False], ids=["ranged", "one stream"])
def test_is_kept_in_the_spare_folder(
    disk: Path, image: bytes, small: Path, spare: Path, ranged: bool
) -> None:
    ingest(Bytes(image, "v1" if ranged else None, ranged=ranged), Target(small / "disk.img", spare=spare))

    assert (small / "disk.img").read_bytes() == disk.read_bytes()
    assert (left_behind(small), left_behind(spare)) == (["disk.img"], [])


def test_stays_beside_the_disk_where_there_is_room(image: bytes, tmp_path: Path, spare: Path) -> None:
    seen: set[str] = set()
    volume = tmp_path / "volume"
    volume.mkdir()

    ingest(
        Bytes(image, before=lambda _: seen.update(left_behind(spare))),
        Target(volume / "disk.img", spare=spare),
    )

    assert seen == set()


def test_what_was_fetched_before_a_crash_is_not_fetched_again(
    disk: Path, image: bytes, small: Path, spare: Path
) -> None:
    target, expect = Target(small / "disk.img", spare=spare), Expect("http://images/vdi")
    with pytest.raises(Killed):
        ingest(Bytes(image), target, expect=expect, on_progress=killed_in_conversion)

    result = ingest(Bytes(image), target, expect=expect)

    assert result.resumed_at == len(image)
    assert (small / "disk.img").read_bytes() == disk.read_bytes()
    assert (left_behind(small), left_behind(spare)) == (["disk.img"], [])


class Killed(BaseException):
    """Nobody is there any more."""


def killed_in_conversion(progress: Progress) -> None:
    if progress.phase == "converting":
        raise Killed


def test_a_refusal_leaves_nothing_in_either(image: bytes, small: Path, spare: Path) -> None:
    wrong = Expect("http://images/vdi", digest=Expected("md5", "0" * 32))

    with pytest.raises(ChecksumMismatch):
        ingest(Bytes(image), Target(small / "disk.img", spare=spare), expect=wrong)

    assert (left_behind(small), left_behind(spare)) == ([], [])


def test_no_room_in_either_is_said_of_both(small: Path, spare: Path, tmp_path: Path) -> None:
    (tmp_path / "raw").write_bytes(os.urandom(5 * MIB))
    image = converted(tmp_path / "raw", tmp_path / "vdi", "vdi").read_bytes()
    (small / "spare").mkdir()
    source = Bytes(image)

    with pytest.raises(NoSpace, match=rf"are free, nor in {small}/spare, where \d+ may be used. Make room"):
        ingest(source, Target(small / "disk.img", spare=small / "spare"))

    assert source.read <= MIB
