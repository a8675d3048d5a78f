"""Disks that are files of the machine: what is made, and what is never touched."""

import os
from pathlib import Path

import pytest

from diskyard.api.instance import Volume
from diskyard.errors import Refused
from vm_runtime.agent.hostdisk import HostDisks

MIB = 1 << 20


def volume(path: Path, kind: str = "DiskOrCreate", capacity: str = "5Mi") -> Volume:
    source = {"path": str(path), "type": kind, "capacity": capacity}
    return Volume("v", "hostDisk", source=source)


def test_a_disk_is_made_sparse_for_the_launchers_user_with_its_directories(tmp_path: Path) -> None:
    path = tmp_path / "vms" / "windows" / "disk.img"

    HostDisks((tmp_path,)).prepare(volume(path, capacity="5243000"))

    made = path.stat()
    assert (made.st_size, made.st_blocks, made.st_mode & 0o777) == (5 * MIB, 0, 0o660)
    assert os.geteuid() != 0 or (made.st_uid, made.st_gid) == (107, 107)
    assert [each.name for each in path.parent.iterdir()] == ["disk.img"]


@pytest.mark.parametrize("kind", ["Disk", "DiskOrCreate"])
def test_a_disk_that_is_there_stays_as_it_is(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "disk.img"
    path.write_bytes(b"system")

    HostDisks((tmp_path,)).prepare(volume(path, kind))

    assert path.read_bytes() == b"system"


def test_what_a_killed_agent_left_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / ".disk.img.part").write_bytes(b"half")

    HostDisks((tmp_path,)).prepare(volume(tmp_path / "disk.img"))

    assert (tmp_path / "disk.img").stat().st_size == 5 * MIB
    assert not (tmp_path / ".disk.img.part").exists()


def test_a_missing_disk_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(
        Refused, match=r"hostDisk volume v: .*disk\.img is not there: make it, or say type DiskOrCreate"
    ):
        HostDisks((tmp_path,)).prepare(volume(tmp_path / "disk.img", "Disk"))


@pytest.mark.parametrize("allowed", [(), ("elsewhere",), ("place-and-more",)])
def test_only_what_the_operator_allows_is_used(tmp_path: Path, allowed: tuple[str, ...]) -> None:
    path = tmp_path / "place" / "disk.img"

    with pytest.raises(Refused, match=r"its operator can allow it, by `diskyard up --allow-host-path"):
        HostDisks(tuple(tmp_path / each for each in allowed)).prepare(volume(path))
    assert not path.parent.exists()


def test_no_link_on_the_way_is_followed(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (inside / "way").symlink_to(outside)

    with pytest.raises(Refused, match=r"'way' on the way to .* is a link or no directory"):
        HostDisks((inside,)).prepare(volume(inside / "way" / "disk.img"))
    assert not list(outside.iterdir())


@pytest.mark.parametrize("what", ["link", "directory", "pipe"])
def test_only_a_plain_file_is_a_disk(tmp_path: Path, what: str) -> None:
    path = tmp_path / "disk.img"
    if what == "link":
        path.symlink_to("/etc/shadow")
    elif what == "directory":
        path.mkdir()
    else:
        os.mkfifo(path)

    with pytest.raises(Refused, match="is not a plain file"):
        HostDisks((tmp_path,)).prepare(volume(path))


def test_a_link_at_the_name_of_the_unfinished_file_leads_nowhere(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / ".disk.img.part").symlink_to(victim)

    HostDisks((tmp_path,)).prepare(volume(tmp_path / "disk.img"))

    assert victim.read_bytes() == b"precious"
