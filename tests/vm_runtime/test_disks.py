"""What a launcher finds behind volumes, and what it makes there."""

import os
from pathlib import Path
from typing import Any

import pytest

from diskyard.api.instance import Claim, Disk, Instance, Volume
from diskyard.errors import InvalidRequest, NoSpace
from vm_runtime.launcher import disks
from vm_runtime.launcher.place import Place

MIB = 1 << 20
GIB = 1 << 30
VOLUME = Volume("root", "persistentVolumeClaim", "c")


def instance(claim: Claim, **disk: Any) -> Instance:
    return Instance(
        "default", "vm", "uid", MIB,
        volumes=(VOLUME,), claims={"root": claim}, disks=(Disk("root", **disk),),
    )  # fmt: skip


def filled(directory: Path) -> Path:
    """A claim's disk of 1 MiB, all ones."""
    path = directory / "root" / "disk.img"
    path.parent.mkdir()
    path.write_bytes(b"\x01" * MIB)
    return path


def place(directory: Path) -> Place:
    """Everything in one directory."""
    return Place(private=directory, disks=directory, devices=directory, scratch=directory, images=directory)


def test_a_disk_that_is_there_is_used_as_it_is(tmp_path: Path) -> None:
    path = filled(tmp_path)

    found = disks.claimed(instance(Claim("c", block=False, size=GIB)), VOLUME, place(tmp_path))

    assert (found.path, found.small) == (str(path), "")
    assert path.read_bytes() == b"\x01" * MIB


@pytest.mark.parametrize(("preallocated", "blocks"), [(False, 1), (True, 5)])
def test_a_disk_grows_with_its_claim_and_keeps_what_it_holds(
    tmp_path: Path, preallocated: bool, blocks: int
) -> None:
    path = filled(tmp_path)
    claim = Claim("c", block=False, size=6 * MIB, preallocated=preallocated, most=5 * MIB + 7)

    found = disks.claimed(instance(claim), VOLUME, place(tmp_path))

    grown = path.read_bytes() == b"\x01" * MIB + bytes(4 * MIB)
    assert grown
    assert found.small == ""
    assert path.stat().st_blocks * 512 == blocks * MIB


@pytest.mark.parametrize("way", [{"readonly": True}, {"shareable": True}, {"device": "cdrom"}])
def test_a_disk_that_is_not_the_guests_alone_stays_as_it_is(tmp_path: Path, way: dict[str, Any]) -> None:
    path = filled(tmp_path)
    claim = Claim("c", block=False, size=6 * MIB, most=5 * MIB)

    disks.claimed(instance(claim, **way), VOLUME, place(tmp_path))

    assert path.stat().st_size == MIB


def test_a_disk_never_shrinks_with_its_claim(tmp_path: Path) -> None:
    path = filled(tmp_path)

    assert disks.grow(path, Claim("c", block=False, size=GIB, most=MIB // 2)) == ""
    assert path.stat().st_size == MIB


def test_a_disk_that_was_exchanged_for_a_link_is_not_made_larger(tmp_path: Path) -> None:
    other = filled(tmp_path)
    other.rename(tmp_path / "other")
    other.symlink_to(tmp_path / "other")

    said = disks.grow(other, Claim("c", block=False, size=GIB, most=2 * MIB))

    assert said == f"the disk of claim c cannot grow to {2 * MIB} B: Too many levels of symbolic links"
    assert (tmp_path / "other").stat().st_size == MIB


def test_a_disk_that_has_not_the_room_of_its_claim_says_so_and_takes_what_there_is(tmp_path: Path) -> None:
    path = filled(tmp_path)
    endless = 1 << 43

    found = disks.claimed(
        instance(Claim("c", block=False, size=endless, most=endless)), VOLUME, place(tmp_path)
    )

    size = path.stat().st_size
    assert MIB < size < endless
    assert size % MIB == 0
    assert found.small == (
        f"PV size too small: claim c gives its disk {endless} B, and its file system has room for {size} B"
    )


def test_an_empty_claim_gets_a_disk_of_whole_mebibytes_and_no_blocks(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()

    disks.claimed(instance(Claim("c", block=False, size=5 * MIB + 7)), VOLUME, place(tmp_path))

    made = (tmp_path / "root" / "disk.img").stat()
    assert (made.st_size, made.st_blocks) == (5 * MIB, 0)


@pytest.mark.parametrize("what", ["link", "directory"])
def test_only_a_plain_file_is_a_disk(tmp_path: Path, what: str) -> None:
    path = tmp_path / "root" / "disk.img"
    path.parent.mkdir()
    if what == "link":
        path.symlink_to("/etc/passwd")
    else:
        path.mkdir()

    with pytest.raises(InvalidRequest, match="is not a plain file"):
        disks.claimed(instance(Claim("c", block=False, size=GIB)), VOLUME, place(tmp_path))


@pytest.mark.parametrize(("content", "filled"), [(b"\x01" * MIB, True), (None, False)])
def test_a_file_with_all_its_blocks_is_known(tmp_path: Path, content: bytes | None, filled: bool) -> None:
    path = tmp_path / "disk.img"
    path.write_bytes(content or b"")
    os.truncate(path, MIB)

    assert disks.filled(path) is filled


def test_a_file_has_the_sectors_of_its_file_system(tmp_path: Path) -> None:
    (tmp_path / "disk.img").write_bytes(bytes(512))

    size = min(os.statvfs(tmp_path).f_bsize, 4096)
    assert disks.sectors(tmp_path / "disk.img") == (size, size)


def test_a_block_claim_without_a_device_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"volume root: .*root of claim c cannot be read"):
        disks.claimed(instance(Claim("c", block=True, size=GIB)), VOLUME, place(tmp_path))


@pytest.mark.parametrize(
    ("wanted", "free", "size"),
    [
        (GIB, 2 * GIB, GIB),
        (GIB, GIB + 131072, GIB),
        (GIB, GIB, 1023 * MIB),
        (GIB, 922 * MIB + 131072, 922 * MIB),
    ],
)
def test_a_tenth_less_room_than_asked_for_is_tolerated(wanted: int, free: int, size: int) -> None:
    assert disks.room(wanted, free) == size


@pytest.mark.parametrize(("wanted", "free"), [(GIB, 900 * MIB), (GIB, 0), (0, GIB), (MIB, MIB)])
def test_less_room_than_that_is_refused_with_the_numbers(wanted: int, free: int) -> None:
    with pytest.raises(NoSpace, match=f"demanded size {wanted} B is bigger than available"):
        disks.room(wanted, free)
