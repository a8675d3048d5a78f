"""Volumes that come to a guest while it runs, and go: what the guest sees of them, and what the status says."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from lxml import etree

from demo import image
from demo.kernel import kernel
from diskyard.api import meta
from diskyard.api.hotplug import drives
from diskyard.api.meta import CLAIM, INSTANCE, MACHINE, Key
from diskyard.api.names import derived, kubernetes
from diskyard.errors import Conflict, GuestFailed
from tests import builders
from tests.builders import eventually, within
from tests.guest import alive, processes, program
from tests.vm_runtime.line import Line, line
from tests.vm_runtime.plugging import (
    bare,
    disk_of,
    expanded,
    gone,
    grown,
    holds,
    lenders,
    ordered,
    plugged,
    status,
    xml,
)
from tests.vm_runtime.test_domain import complaints
from vm_runtime.agent.host import Acceleration
from vm_runtime.agent.mailbox import mailbox
from vm_runtime.controller import hotplug

pytestmark = [
    pytest.mark.guest,
    pytest.mark.xdist_group("plugs"),
    pytest.mark.skipif(
        not shutil.which("libvirtd") or not shutil.which("bwrap"), reason="needs libvirt and bubblewrap"
    ),
]
TRUE_AGAIN = 10.0
"""Seconds from any crash to a status that is true."""
WATCH = r"""
echo "PLUG vda discards $(cat /sys/block/vda/queue/discard_granularity)"
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
( before=""
while sleep 0.2; do
  now=$(cd /sys/block && grep -H . [sv]d?/size | tr '\n' ' ')
  [ "$now" = "$before" ] || echo "PLUG sizes $now"
  before=$now
done ) &
insmod /modules/sr_mod.ko
( before=""
while sleep 0.2; do
  now=$(head -c 8 /dev/sr0 2>/dev/null)
  [ "$now" = "$before" ] || echo "PLUG disc '$now'"
  before=$now
done ) &
"""
"""The guest tells which disks and discs come and go, and writes on each disk that comes."""


@pytest.fixture(scope="module")
def watching() -> Path:
    """The guest's image."""
    modules = {f"modules/{each.name}": each for each in kernel(image.CACHE).modules(["sr_mod"])}
    return image.build(image.CACHE, init_extra=WATCH, files=modules)


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
        (disk,) = template["domain"]["devices"]["disks"]
        disk["disk"]["pciAddress"] = "0000:00:0a.0"
        disk["blockSize"] = {"custom": {"logical": 512, "physical": 4096, "discardGranularity": 65536}}
        template["domain"]["devices"]["disks"].append({"name": "disc", "cdrom": {"bus": "scsi"}})
        found.objects.create(MACHINE, machine)
        bare(found, "silent")
        os.kill(
            program(processes(meta.uid(found.pod(found.reaches("silent", "Running")))), "libvirtd"),
            signal.SIGSTOP,
        )
        found.speaks("vm", "This is a shell")
        yield found


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
    same = program(family, "libvirtd")
    ordered(started, hotplug.remove, {"name": "more"})

    started.speaks("vm", "PLUG sda is gone")
    eventually(lambda: gone(started, "more"), 60)
    assert alive(same), "libvirt fell over an order for a disk that was just leaving"


def test_a_volume_comes_on_virtio_though_its_claim_waits_for_a_first_consumer(started: Line) -> None:
    wanted = builders.claim("fast", "16Mi", storageClassName=kubernetes.LOCAL_WAIT_CLASS)
    started.objects.create(CLAIM, wanted)

    plugged(started, "fast", disk={"bus": "virtio"})

    assert status(started, "fast", "Ready")["target"] == "vdb"
    started.speaks("vm", "PLUG vdb has 32768")
    ordered(started, hotplug.remove, {"name": "fast"})
    started.speaks("vm", "PLUG vdb is gone")
    eventually(lambda: gone(started, "fast"), 60)


def test_a_disk_grows_with_its_claim_while_its_guest_runs(started: Line) -> None:
    before = started.speaks("vm", f"PLUG sizes vda/size:{1024 << 11} ")  # as its image was
    grown(started, "root", 1024)

    expanded(started, "disk", "2Gi")

    after = started.speaks("vm", f"vda/size:{1932 << 11} ")
    grown(started, "root", 1932)
    assert meta.uid(after) == meta.uid(before)


def test_a_disk_that_came_to_a_running_guest_grows_with_its_claim(started: Line) -> None:
    started.claim("wide", bytes(1 << 20))  # it was expanded while nobody used it

    plugged(started, "wide", disk={"bus": "virtio"})
    started.speaks("vm", f"vdb/size:{7 << 11} ")
    expanded(started, "wide", "64Mi")

    started.speaks("vm", f"vdb/size:{60 << 11} ")
    assert grown(started, "wide", 60)["reason"] == "VolumeReady"
    ordered(started, hotplug.remove, {"name": "wide"})
    eventually(lambda: gone(started, "wide"), 60)


def test_a_disc_is_put_into_the_drive_of_its_name_exchanged_and_taken_out(started: Line) -> None:
    started.claim("one", b"disc one" + bytes(4096))
    started.claim("two", b"disc two" + bytes(4096))

    plugged(started, "disc", "one", cdrom={})
    assert status(started, "disc", "Ready")["target"] == "sda"
    started.speaks("vm", "PLUG disc 'disc one'")

    exchanged(started, "disc", "two")
    started.speaks("vm", "PLUG disc 'disc two'")
    eventually(lambda: stood_on(started, "disc") == "two")

    ordered(started, hotplug.remove, {"name": "disc"})
    instance = started.found(INSTANCE, "vm")
    eventually(lambda: "PLUG disc ''" in started.console(instance).rpartition("disc two")[2], 120)
    eventually(lambda: gone(started, "disc"), 60)
    assert drives(started.found(INSTANCE, "vm")["spec"]) == {"disc"}
    assert meta.condition(started.found(MACHINE, "vm"), "RestartRequired") is None


def stood_on(started: Line, name: str) -> str:
    """The claim that the volume stands on, by the status."""
    entry = status(started, name, "Ready")
    return str(entry.get("persistentVolumeClaimInfo", {}).get("claimName"))


def exchanged(started: Line, name: str, claim: str) -> None:
    """Have the machine have another claim in that volume, as `kubectl edit` does."""
    volumes = started.found(MACHINE, "vm")["spec"]["template"]["spec"]["volumes"]
    disc = {"name": name, "persistentVolumeClaim": {"claimName": claim, "hotpluggable": True}}
    changed = {"volumes": [disc if each["name"] == name else each for each in volumes]}
    started.objects.patch(MACHINE, Key("vm", "default"), {"spec": {"template": {"spec": changed}}})


def test_a_disk_is_at_the_address_that_was_asked_for_beside_the_slots_for_others(started: Line) -> None:
    said = eventually(lambda: xml(started, "vm"))

    found = etree.fromstring(said)
    (address,) = found.xpath("devices/disk[alias/@name='ua-root']/address")
    assert dict(address.attrib) == {
        "type": "pci", "domain": "0x0000", "bus": "0x00", "slot": "0x0a", "function": "0x0"
    }  # fmt: skip
    assert len(found.findall("devices/controller[@model='pcie-root-port']")) >= 8
    assert complaints(said) == ""
    started.speaks("vm", "PLUG vda discards 65536")


def test_no_agent_answers_unless_the_guest_is_paused_and_nobody_can(started: Line) -> None:
    pod = meta.uid(started.pod(started.found(INSTANCE, "vm")))

    with pytest.raises(GuestFailed, match="guest-ping"):
        started.doors.order(pod, "ping")
    started.doors.order(pod, "pause")
    try:
        started.doors.order(pod, "ping")
    finally:
        started.doors.order(pod, "unpause")


def test_a_guest_that_was_paused_for_a_while_goes_on_by_itself(started: Line) -> None:
    pod = meta.uid(started.pod(started.found(INSTANCE, "vm")))

    started.doors.order(pod, "pause", seconds=1.0)

    started.speaks("vm", "the guest goes on: nobody had asked for it in time")
    eventually(lambda: not meta.holds(started.found(INSTANCE, "vm"), "Paused"))


def test_a_disk_that_left_while_libvirts_daemon_was_down_is_given_to_the_guest_again(started: Line) -> None:
    started.objects.create(CLAIM, builders.claim("lost", "24Mi"))
    plugged(started, "lost", disk={"bus": "virtio"})
    status(started, "lost", "Ready")
    running = started.speaks("vm", "PLUG vdb has 49152")
    pod = meta.uid(started.pod(running))
    stopped = program(processes(pod), "libvirtd")
    os.kill(stopped, signal.SIGSTOP)

    with started.doors.stream(pod, "console") as console:
        console.sendall(THROWN_OUT)
        eventually(lambda: gone_and_come(started)[0] == 1)
    with suppress(ProcessLookupError):  # its launcher has had enough of it already
        os.kill(stopped, signal.SIGKILL)

    eventually(lambda: gone_and_come(started) == (1, 2), 120)
    status(started, "lost", "Ready")
    assert meta.uid(started.found(INSTANCE, "vm")) == meta.uid(running)
    ordered(started, hotplug.remove, {"name": "lost"})
    eventually(lambda: gone(started, "lost"), 60)


THROWN_OUT = (
    b"a=$(readlink -f /sys/block/vdb/device/..); for s in /sys/bus/pci/slots/*; do "
    b'[ "$(cat $s/address).0" = "${a##*/}" ] && echo 0 > $s/power; done\n'
)
"""What the guest's own user types to be rid of a disk."""


def gone_and_come(started: Line) -> tuple[int, int]:
    """How often the guest has told that the disk has gone, and that it has come."""
    said = started.console(started.found(INSTANCE, "vm")).split("PLUG vdb has 49152", 1)[1]
    return said.count("PLUG vdb is gone"), 1 + said.count("PLUG vdb has 49152")


@dataclass(frozen=True)
class Amid:
    """A guest whose libvirt stands still in the midst of giving it the claim of its own name."""

    family: dict[int, str]
    lending: dict[int, str]
    pods: tuple[str, ...]

    @property
    def over(self) -> bool:
        """Whether nothing of the guest is left, nor of the pod that held the claim."""
        return not any(map(alive, (*self.family, *self.lending)))

    def kill(self, name: str, how: signal.Signals = signal.SIGKILL) -> None:
        with suppress(ProcessLookupError):  # a daemon that stood still for long is gone already
            os.kill(program(self.family, name), how)


def amid_an_attach(started: Line, name: str) -> Amid:
    started.objects.create(CLAIM, builders.claim(name, "8Mi"))
    bare(started, name)
    running = started.reaches(name, "Running")
    pod = meta.uid(started.pod(running))
    family = processes(pod)
    os.kill(program(family, "libvirtd"), signal.SIGSTOP)
    source = {"persistentVolumeClaim": {"claimName": name}}
    options = {"name": name, "disk": {"disk": {}}, "volumeSource": source}

    def asked() -> bool:
        try:
            for action in hotplug.add_to_instance(started.found(INSTANCE, name), options):
                action.carry_out(started.objects)
        except Conflict:
            return False
        return True

    eventually(asked)
    disk = eventually(lambda: disk_of(started, name))
    eventually(lambda: holds(program(family, "diskyard-launcher"), disk))
    (lending,) = (each for each in lenders(started) if meta.controller_of(each)["name"] == name)
    return Amid(family, processes(meta.uid(lending)), (pod, meta.uid(lending)))


def test_a_launcher_that_is_killed_amid_an_attach_leaves_nothing_and_nothing_untrue(started: Line) -> None:
    amid = amid_an_attach(started, "killed")

    with within(TRUE_AGAIN):
        amid.kill("diskyard-launcher")
        failed = started.reaches("killed", "Failed")
        eventually(lambda: amid.over)

    assert failed["status"]["reason"] == "Error"
    (entry,) = failed["status"]["volumeStatus"]
    assert (entry["phase"], entry["target"], entry["hotplugVolume"]) == ("Bound", "", {})
    eventually(lambda: not any(pod in Path("/proc/self/mountinfo").read_text() for pod in amid.pods))


def test_a_libvirt_daemon_that_is_killed_amid_an_attach_ends_neither_guest_nor_attach(started: Line) -> None:
    amid = amid_an_attach(started, "patient")

    amid.kill("libvirtd")

    entry = status(started, "patient", "Ready", "patient")
    assert entry["target"] == "sda"
    assert meta.phase(started.found(INSTANCE, "patient")) == "Running"
    started.objects.delete(INSTANCE, Key("patient", "default"))
    eventually(lambda: started.gone(INSTANCE, "patient"))
    eventually(lambda: amid.over)


def test_a_disk_that_libvirts_daemon_had_not_written_down_when_it_was_killed_comes_again(
    started: Line,
) -> None:
    amid = amid_an_attach(started, "unwritten")
    private = mailbox(started.volumes.with_name("pods"), amid.pods[0]).path
    written = private / "libvirt/run/libvirt/qemu/run/default_unwritten.xml"
    before = written.read_bytes()
    amid.kill("libvirtd", signal.SIGCONT)
    status(started, "unwritten", "Ready", "unwritten")
    expanded(started, "unwritten", "64Mi")

    daemon = program(processes(amid.pods[0]), "libvirtd")
    os.kill(daemon, signal.SIGSTOP)
    written.write_bytes(before)
    os.kill(daemon, signal.SIGKILL)

    started.speaks("unwritten", "the guest has a disk of which libvirt does not know")
    assert status(started, "unwritten", "Ready", "unwritten")["target"] == "sda"
    grown(started, "unwritten", 60, "unwritten")


def test_a_libvirt_daemon_that_stands_still_is_exchanged_and_its_guest_does_not_notice(started: Line) -> None:
    before = started.found(INSTANCE, "silent", "Running")

    started.speaks("silent", "libvirt's daemon ended; it is started anew")

    eventually(lambda: "<name>default_silent<" in xml(started, "silent"))
    after = started.found(INSTANCE, "silent", "Running")
    assert (meta.uid(after), meta.holds(after, "Paused")) == (meta.uid(before), False)
