"""What a launcher finds behind volumes, and what it makes there."""

import os
from pathlib import Path

import pytest

from diskyard.api.instance import Claim, Instance, Volume
from diskyard.errors import InvalidRequest, NoSpace
from vm_runtime.launcher import disks
from vm_runtime.launcher.place import Place

MIB = 1 << 20
GIB = 1 << 30
VOLUME = Volume("root", "persistentVolumeClaim", "c")


def instance(claim: Claim) -> Instance:
    return Instance(
        "default", "vm", "uid", MIB,
        volumes=(VOLUME,), claims={"root": claim},
    )  # fmt: skip


def place(directory: Path) -> Place:
    """Everything in one directory."""
    return Place(private=directory, disks=directory, devices=directory, scratch=directory, images=directory)


def test_a_disk_that_is_there_is_used_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "root" / "disk.img"
    path.parent.mkdir()
    path.write_bytes(b"\x01" * MIB)

    found = disks.claimed(instance(Claim("c", block=False, size=GIB)), VOLUME, place(tmp_path))

    assert found.path == str(path)
    assert path.read_bytes() == b"\x01" * MIB


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
