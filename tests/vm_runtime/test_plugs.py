"""Volumes that come to a guest while it runs, and go: what the guest sees of them, and what the status says."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from demo import image
from diskyard.api.meta import CLAIM, INSTANCE, MACHINE, POD, Obj
from diskyard.api.names import derived, kubevirt
from diskyard.errors import Conflict
from diskyard.kube.client import Selection
from tests import builders
from tests.builders import eventually
from tests.guest import GREETING
from tests.vm_runtime.line import Line, line
from vm_runtime.agent.host import Acceleration
from vm_runtime.controller import hotplug
from vm_runtime.controller.subresources import world

pytestmark = [
    pytest.mark.guest,
    pytest.mark.skipif(
        not shutil.which("libvirtd") or not shutil.which("bwrap"), reason="needs libvirt and bubblewrap"
    ),
]
WATCH = """
( there=""
while sleep 0.2; do
  for name in sda sdb; do
    case "$there" in
      *$name*) [ -e /sys/block/$name ] || { there=${there#*$name}; echo "PLUG $name is gone"; } ;;
      *) [ -e /sys/block/$name ] && { there="$there$name"; echo "seen by the guest" > /dev/$name
           sync; echo "PLUG $name has $(cat /sys/block/$name/size)"; } ;;
    esac
  done
done ) &
"""
"""The guest tells which disks come and go, and writes on each that comes."""


@pytest.fixture(scope="module")
def watching() -> Path:
    """The guest's image."""
    return image.build(image.CACHE, init_extra=WATCH)


@pytest.fixture
def started(tmp_path: Path, watching: Path) -> Iterator[Line]:
    with line(tmp_path, Acceleration(kvm=False, reason="this test's host has none")) as found:
        found.objects.create(CLAIM, builders.claim("disk", "1Gi"))
        bound = eventually(lambda: found.found(CLAIM, "disk", "Bound"))
        root = found.volumes / bound["spec"]["volumeName"] / "disk.img"
        subprocess.run(["qemu-img", "convert", "-O", "raw", watching, root], check=True)
        root.chmod(0o666)
        yield found


def ordered(started: Line, order: Any, options: Obj) -> None:
    """Do to the machine what its subresource does; its controller may write at the same time."""

    def done() -> bool:
        try:
            for action in order(world(started.found(MACHINE, "vm"), started.found(INSTANCE, "vm")), options):
                action.carry_out(started.objects)
        except Conflict:
            return False
        return True

    eventually(done)


def status(started: Line, phase: str) -> Obj:
    """The volume's entry, as soon as it is in that phase."""

    def check() -> Obj:
        found = started.found(INSTANCE, "vm")["status"]["volumeStatus"]
        entry: Obj = next((each for each in found if each["name"] == "more"), {})
        assert entry.get("phase") == phase, found
        return entry

    return eventually(check, 120)


def lenders(started: Line) -> list[Obj]:
    chosen = Selection("default", f"{kubevirt.APP_LABEL}={kubevirt.LENDER}")
    return list(started.objects.list(POD, chosen).items)


def test_a_volume_comes_to_a_running_guest_and_goes(started: Line) -> None:
    machine = builders.machine("vm")
    machine["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 0
    started.objects.create(MACHINE, machine)
    started.speaks("vm", GREETING.decode())
    more = {"name": "more", "disk": {"disk": {}, "serial": "S-1"}, "volumeSource": {
        "persistentVolumeClaim": {"claimName": "more"}
    }}  # fmt: skip
    ordered(started, hotplug.add, more)
    assert "does not exist" in status(started, "Pending")["message"]

    started.objects.create(CLAIM, builders.claim("more", "8Mi"))

    ready = status(started, "Ready")
    instance = started.speaks("vm", "PLUG sda has 16384")
    assert (ready["target"], ready["reason"]) == ("sda", "VolumeReady")
    assert ready["persistentVolumeClaimInfo"]["claimName"] == "more"
    (lending,) = lenders(started)
    assert ready["hotplugVolume"] == {
        "attachPodName": derived.lender_pod("more", instance["metadata"]["uid"]),
        "attachPodUID": lending["metadata"]["uid"],
    }
    claim = started.found(CLAIM, "more")
    assert (started.volumes / claim["spec"]["volumeName"] / "disk.img").read_bytes().startswith(b"seen by")

    ordered(started, hotplug.remove, {"name": "more"})

    started.speaks("vm", "PLUG sda is gone")
    eventually(lambda: not lenders(started))
    eventually(lambda: len(started.found(INSTANCE, "vm")["status"]["volumeStatus"]) == 1)
