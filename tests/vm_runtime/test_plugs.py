"""Volumes that come to a guest while it runs, and go: what the guest sees of them, and what the status says."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from demo import image
from diskyard.api import meta
from diskyard.api.meta import CLAIM, INSTANCE, MACHINE, POD, Obj
from diskyard.api.names import derived, kubernetes, kubevirt
from diskyard.errors import Conflict
from diskyard.kube.client import Selection
from tests import builders
from tests.builders import eventually
from tests.guest import alive, processes
from tests.vm_runtime.line import Line, line
from vm_runtime.agent.host import Acceleration
from vm_runtime.controller import hotplug
from vm_runtime.controller.subresources import world

pytestmark = [
    pytest.mark.guest,
    pytest.mark.xdist_group("plugs"),
    pytest.mark.skipif(
        not shutil.which("libvirtd") or not shutil.which("bwrap"), reason="needs libvirt and bubblewrap"
    ),
]
WATCH = r"""
( there=""
while sleep 0.2; do
  for name in sda vdb vdc; do
    case "$there" in
      *$name*) [ -e /sys/block/$name ] || { there=${there%$name*}${there#*$name}; echo "PLUG $name is gone"; } ;;
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


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory, watching: Path) -> Iterator[Line]:
    """The machine `vm` runs, with an empty drive `disc`."""
    with line(
        tmp_path_factory.mktemp("line"), Acceleration(kvm=False, reason="this test's host has none")
    ) as found:
        found.objects.create(CLAIM, builders.claim("disk", "1Gi"))
        bound = eventually(lambda: found.found(CLAIM, "disk", "Bound"))
        root = found.volumes / bound["spec"]["volumeName"] / "disk.img"
        subprocess.run(["qemu-img", "convert", "-O", "raw", watching, root], check=True)
        root.chmod(0o666)
        machine = builders.machine("vm")
        template = machine["spec"]["template"]["spec"]
        template["terminationGracePeriodSeconds"] = 0
        template["domain"]["devices"]["disks"].append({"name": "disc", "cdrom": {}})
        found.objects.create(MACHINE, machine)
        found.speaks("vm", "This is a shell")
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


def plugged(started: Line, name: str, claim: str = "", **disk: Obj) -> None:
    """Have the machine have that claim."""
    source = {"persistentVolumeClaim": {"claimName": claim or name}}
    ordered(started, hotplug.add, {"name": name, "disk": disk, "volumeSource": source})


def status(started: Line, name: str, phase: str) -> Obj:
    """The volume's entry, as soon as it is in that phase."""

    def check() -> Obj:
        found = started.found(INSTANCE, "vm")["status"]["volumeStatus"]
        entry: Obj = next((each for each in found if each["name"] == name), {})
        assert entry.get("phase") == phase, found
        return entry

    return eventually(check, 120)


def lenders(started: Line) -> list[Obj]:
    chosen = Selection("default", f"{kubevirt.APP_LABEL}={kubevirt.LENDER}")
    return list(started.objects.list(POD, chosen).items)


def gone(started: Line, name: str) -> bool:
    """Whether nothing is said of the volume any more, and no pod holds its claim."""
    found = started.found(INSTANCE, "vm")["status"]["volumeStatus"]
    held = [
        each for each in lenders(started) if each["metadata"]["annotations"][kubevirt.LENT_VOLUME] == name
    ]
    return all(each["name"] != name for each in found) and not held


def test_a_volume_comes_to_a_running_guest_and_goes(started: Line) -> None:
    plugged(started, "more", disk={}, serial="S-1")
    assert "does not exist" in status(started, "more", "Pending")["message"]

    started.objects.create(CLAIM, builders.claim("more", "8Mi"))

    ready = status(started, "more", "Ready")
    instance = started.speaks("vm", "PLUG sda has 16384")
    assert (ready["target"], ready["reason"]) == ("sdb", "VolumeReady")  # behind the drive
    assert ready["persistentVolumeClaimInfo"]["claimName"] == "more"
    (lending,) = lenders(started)
    assert ready["hotplugVolume"] == {
        "attachPodName": derived.lender_pod("more", instance["metadata"]["uid"]),
        "attachPodUID": lending["metadata"]["uid"],
    }
    claim = started.found(CLAIM, "more")
    assert (started.volumes / claim["spec"]["volumeName"] / "disk.img").read_bytes().startswith(b"seen by")

    family = processes(meta.uid(started.pod(started.found(INSTANCE, "vm"))))
    (daemon,) = (pid for pid, command in family.items() if command.startswith("/usr/sbin/libvirtd"))
    ordered(started, hotplug.remove, {"name": "more"})

    started.speaks("vm", "PLUG sda is gone")
    eventually(lambda: gone(started, "more"), 60)
    assert alive(daemon), "libvirt fell over an order for a disk that was just leaving"


def test_a_volume_comes_on_virtio_though_its_claim_waits_for_a_first_consumer(started: Line) -> None:
    wanted = builders.claim("fast", "16Mi", storageClassName=kubernetes.LOCAL_WAIT_CLASS)
    started.objects.create(CLAIM, wanted)

    plugged(started, "fast", disk={"bus": "virtio"})

    assert status(started, "fast", "Ready")["target"] == "vdb"
    started.speaks("vm", "PLUG vdb has 32768")
    ordered(started, hotplug.remove, {"name": "fast"})
    started.speaks("vm", "PLUG vdb is gone")
    eventually(lambda: gone(started, "fast"), 60)


def test_a_disc_is_put_into_the_drive_of_its_name(started: Line) -> None:
    started.claim("one", b"a disc" + bytes(4096))

    plugged(started, "disc", "one", cdrom={})

    assert status(started, "disc", "Ready")["target"] == "sda"
