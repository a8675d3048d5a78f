"""Disks that are lost with their guest's pod: what is made for each, and for what nothing need be made."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from diskyard.api.instance import Claim, Disk, Instance, Volume
from diskyard.errors import InvalidRequest
from vm_runtime.domain.disk import Backing
from vm_runtime.launcher.backings import backings
from vm_runtime.launcher.place import Place

pytestmark = pytest.mark.skipif(not shutil.which("qemu-img"), reason="needs qemu-img")
MIB = 1 << 20


def behind(directory: Path, kind: str, source: dict[str, Any] | None = None, *disks: Disk) -> Backing:
    """What lies behind a volume `v` of that kind; of a claim or an image there is a disk of 1 MiB."""
    place = Place(disks=directory / "claims", scratch=directory / "scratch", images=directory / "images")
    for folder in (place.disks, place.images):
        (folder / "v").mkdir(parents=True, exist_ok=True)
        (folder / "v/disk.img").write_bytes(b"\x01" * MIB)
    volume = Volume("v", kind, "c" if kind == "ephemeral" else "", source or {})
    instance = Instance(
        "default", "vm", "uid", MIB, disks=disks or (Disk("v"),), volumes=(volume,),
        claims={"v": Claim("c", block=False, size=MIB)},
    )  # fmt: skip
    return backings(instance, place)["v"]


def seen(path: str) -> Any:
    """What qemu-img makes of a file."""
    return json.loads(subprocess.check_output(["qemu-img", "info", "--output=json", path]))


@pytest.mark.parametrize(("kind", "folder"), [("containerDisk", "images"), ("ephemeral", "claims")])
def test_what_a_guest_writes_lies_beside_the_disk_that_it_reads(
    tmp_path: Path, kind: str, folder: str
) -> None:
    found = behind(tmp_path, kind)

    lower = str(tmp_path / folder / "v/disk.img")
    assert (found.format, found.over and found.over.path) == ("qcow2", lower)
    assert (seen(found.path)["backing-filename"], seen(found.path)["backing-filename-format"]) == (
        f"file:{lower}",
        "raw",
    )


@pytest.mark.parametrize("disk", [Disk("v", device="cdrom", readonly=True), Disk("v", readonly=True)])
def test_an_image_that_is_only_read_needs_nothing_beside_it(tmp_path: Path, disk: Disk) -> None:
    found = behind(tmp_path, "containerDisk", None, disk)

    assert (found.path, found.format, found.sealed) == (str(tmp_path / "images/v/disk.img"), "raw", True)
    assert not (tmp_path / "scratch").exists()


def test_what_was_written_is_there_when_the_launcher_looks_again(tmp_path: Path) -> None:
    before = behind(tmp_path, "emptyDisk", {"capacity": "5243000"})
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -P 7 0 4096", before.path], check=True)

    after = behind(tmp_path, "emptyDisk", {"capacity": "5243000"})

    assert seen(after.path)["virtual-size"] == 5 * MIB
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", "read -P 7 0 4096", after.path], check=True)


def test_an_empty_disk_below_a_mebibyte_is_refused_by_its_volume(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="the size for volume v is too low"):
        behind(tmp_path, "emptyDisk", {"capacity": "1000k"})


def test_nobody_writes_to_the_discs_that_we_make(tmp_path: Path) -> None:
    place = Place(private=tmp_path)
    volume = Volume("v", "cloudInitNoCloud", source={"userData": "x"})
    instance = Instance("default", "vm", "uid", MIB, disks=(Disk("v"),), volumes=(volume,))

    assert backings(instance, place)["v"].sealed
