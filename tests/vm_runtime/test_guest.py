"""Guests that really run, under software emulation, in the node's own sandboxes."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from diskyard.api import meta
from diskyard.api.meta import CLAIM, INSTANCE, KUBEVIRT, MACHINE, POD, VOLUME, Key, Obj
from diskyard.api.names import kubevirt
from diskyard.kube.client import Deletion
from tests import builders, guest
from tests.builders import eventually, within
from tests.guest import alive, processes
from tests.vm_runtime.bootsector import Then, disk
from tests.vm_runtime.line import SETTINGS, Line, line
from vm_runtime.agent.host import Acceleration
from vm_runtime.agent.mailbox import mailbox
from vm_runtime.launcher.firmware import BUILDS

pytestmark = [
    pytest.mark.guest,
    pytest.mark.skipif(
        not shutil.which("libvirtd") or not shutil.which("bwrap"), reason="needs libvirt and bubblewrap"
    ),
]

HOST_DISK = {"spec": {"configuration": {"developerConfiguration": {
    "featureGates": ["HostDisk"], "useEmulation": True
}}}}  # fmt: skip
TRUE_AGAIN = 10.0
"""Seconds from any crash to a status that is true."""


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Line]:
    with line(tmp_path, Acceleration(kvm=False, reason="this test's host has none")) as found:
        yield found


def test_a_guest_that_powers_off_has_succeeded_and_its_words_are_in_the_log(started: Line) -> None:
    started.claim("disk", disk("Hello from the guest"))

    started.start("vm")

    ended = started.reaches("vm", "Succeeded")
    assert "Hello from the guest" in started.console(ended)
    passed = [each["phase"] for each in ended["status"]["phaseTransitionTimestamps"]]
    assert passed == sorted(passed, key=["Pending", "Scheduling", "Scheduled", "Running", "Succeeded"].index)
    assert meta.holds(ended, "SoftwareEmulation")


def test_a_deleted_guest_is_asked_to_power_off_and_does(started: Line) -> None:
    started.claim("disk", disk("Ready", Then.BUTTON))
    started.start("vm")
    running = started.speaks("vm", "Ready")

    started.objects.delete(INSTANCE, Key("vm", "default"))

    eventually(lambda: started.gone(INSTANCE, "vm"))
    assert started.gone(POD, meta.name(running))


def test_a_guest_that_does_not_listen_is_destroyed_after_its_time(started: Line) -> None:
    started.claim("disk", disk("Ready", Then.HANG))
    started.start("vm", terminationGracePeriodSeconds=1)
    started.speaks("vm", "Ready")

    started.objects.delete(INSTANCE, Key("vm", "default"))

    eventually(lambda: started.gone(INSTANCE, "vm"))


def test_a_guest_powers_off_in_order_though_what_it_began_with_is_gone(started: Line) -> None:
    started.objects.patch(KUBEVIRT, SETTINGS, HOST_DISK)
    started.claim("disk", disk("Ready", Then.BUTTON))
    lent = started.host / "lent.img"
    lent.write_bytes(bytes(1 << 20))
    lent.chmod(0o666)
    both = [
        {"name": "root", "persistentVolumeClaim": {"claimName": "disk"}},
        {"name": "lent", "hostDisk": {"path": str(lent), "type": "Disk"}},
    ]
    started.start("vm", volumes=both)
    pod = meta.uid(started.pod(started.speaks("vm", "Ready")))
    lent.unlink()

    started.objects.patch(INSTANCE, Key("vm", "default"), {"spec": {"terminationGracePeriodSeconds": 60}})
    told = mailbox(started.volumes.with_name("pods"), pod)
    eventually(lambda: kubevirt.PROBLEM.encode() in told.read())
    os.kill(guest.program(processes(pod), "diskyard-launcher"), signal.SIGTERM)

    started.reaches("vm", "Succeeded")


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("qemu-system", "GuestCrashed"),
        ("diskyard-launcher", "Error"),
        ("bwrap", "Error"),
        ("supervisor.py", "Unknown"),
    ],
)
def test_a_crash_is_told_and_leaves_no_process_and_no_mount(started: Line, program: str, reason: str) -> None:
    started.claim("disk", disk("Ready", Then.HANG))
    started.start("vm")
    running = started.reaches("vm", "Running")
    pod = started.pod(running)
    family = processes(meta.uid(pod))

    victim = guest.program(family, program)
    with within(TRUE_AGAIN):
        os.kill(victim, signal.SIGKILL)
        failed = started.reaches("vm", "Failed")
        eventually(lambda: not any(alive(pid) for pid in family))

    assert failed["status"]["reason"] == reason
    eventually(lambda: meta.uid(pod) not in Path("/proc/self/mountinfo").read_text())


def test_a_guest_outlives_its_libvirt_daemon(started: Line) -> None:
    started.claim("disk", disk("Ready", Then.BUTTON))
    started.start("vm")
    running = started.reaches("vm", "Running")
    family = processes(meta.uid(started.pod(running)))
    victim = guest.program(family, "libvirtd")

    with within(TRUE_AGAIN):
        os.kill(victim, signal.SIGKILL)
        eventually(lambda: "started anew" in started.console(running))

    assert meta.phase(started.found(INSTANCE, "vm")) == "Running"
    started.objects.delete(INSTANCE, Key("vm", "default"), Deletion())
    eventually(lambda: started.gone(INSTANCE, "vm"))


def test_a_claim_serves_one_guest_at_a_time(started: Line) -> None:
    started.claim("disk", disk("Ready", Then.BUTTON))
    started.start("first")
    started.speaks("first", "Ready")
    started.start("second")

    waiting = eventually(lambda: meta.condition(started.found(INSTANCE, "second"), "Synchronized"))
    assert waiting["reason"] == "ClaimInUse"
    assert "in use by guest first" in waiting["message"]
    eventually(lambda: started.told("second") == [f"ClaimInUse: {waiting['message']}"])

    started.objects.delete(INSTANCE, Key("first", "default"))
    started.reaches("second", "Running")


def test_guests_that_only_read_share_a_claim_and_keep_out_one_that_writes(started: Line) -> None:
    started.claim("disk", disk("Ready", Then.BUTTON), accessModes=["ReadOnlyMany"])
    volumes = [{"name": "root", "persistentVolumeClaim": {"claimName": "disk", "readOnly": True}}]

    for name in ("first", "second"):
        domain = {"devices": {"disks": [{"name": "root", "disk": {"bus": "virtio", "readonly": True}}]}}
        started.start(name, volumes=volumes, domain=domain)
    for name in ("first", "second"):
        started.speaks(name, "Ready")
    started.start("writer")

    waiting = eventually(lambda: meta.condition(started.found(INSTANCE, "writer"), "Synchronized"))
    assert waiting["reason"] == "ClaimInUse"
    assert meta.phase(started.found(INSTANCE, "first")) == "Running"


def test_without_kvm_the_field_that_allows_emulation_is_named_and_read_live(started: Line) -> None:
    started.emulate(False)
    started.claim("disk", disk("Hello"))
    started.start("vm")

    refused = eventually(lambda: meta.condition(started.found(INSTANCE, "vm", "Pending"), "PodScheduled"))
    assert "spec.configuration.developerConfiguration.useEmulation" in refused["message"]
    assert "this test's host has none" in refused["message"]
    eventually(lambda: started.told("vm") == [f"Unschedulable: {refused['message']}"])

    started.emulate(True)
    started.reaches("vm", "Succeeded")


def test_an_empty_claim_gets_a_disk_of_its_size(started: Line) -> None:
    started.claim("disk", disk("Ready", Then.BUTTON))
    started.objects.create(CLAIM, builders.claim("empty", "6Mi"))
    both = [
        {"name": name, "persistentVolumeClaim": {"claimName": claim}}
        for name, claim in (("root", "disk"), ("more", "empty"))
    ]

    started.start("vm", volumes=both)

    started.reaches("vm", "Running")
    volume = started.found(CLAIM, "empty")["spec"]["volumeName"]
    made = started.volumes / volume / "disk.img"
    assert made.stat().st_size == 6 << 20
    assert made.stat().st_blocks == 0


def test_an_empty_folder_of_the_machine_gets_a_disk_of_its_claims_size(started: Line) -> None:
    """D-02: a volume that somebody made by hand."""
    started.claim("disk", disk("Ready", Then.BUTTON))
    folder = started.host / "winhd"
    folder.mkdir()
    made = {"storageClassName": "manual", "hostPath": {"path": str(folder)}}
    started.objects.create(VOLUME, builders.volume("winhd", "20Gi", **made))
    started.objects.create(CLAIM, builders.claim("winhd", "15Gi", storageClassName="manual"))
    both = [
        {"name": name, "persistentVolumeClaim": {"claimName": claim}}
        for name, claim in (("root", "disk"), ("harddrive", "winhd"))
    ]

    started.start("vm", volumes=both)

    started.reaches("vm", "Running")
    assert (folder / "disk.img").stat().st_size == 15 << 30
    assert (folder / "disk.img").stat().st_blocks == 0


def test_a_machine_restarts_a_guest_that_powers_off_and_stops_it_when_halted(started: Line) -> None:
    started.claim("disk", disk("Ready", Then.BUTTON))
    started.objects.create(MACHINE, small(builders.machine("vm")))
    first = started.speaks("vm", "Ready")
    started.becomes("vm", "Running")

    started.objects.delete(INSTANCE, Key("vm", "default"))
    eventually(lambda: meta.uid(started.speaks("vm", "Ready")) != meta.uid(first))
    started.objects.patch(MACHINE, Key("vm", "default"), {"spec": {"runStrategy": "Halted"}})

    eventually(lambda: started.gone(INSTANCE, "vm"))
    started.becomes("vm", "Stopped")


def test_a_guest_that_no_machine_keeps_is_paused_and_rebooted_and_stays_away_once_deleted(
    started: Line,
) -> None:
    """B-09."""
    started.claim("disk", disk("Ready", Then.BUTTON))
    started.start("vm")
    pod = meta.uid(started.pod(started.speaks("vm", "Ready")))

    started.doors.order(pod, "pause")
    eventually(lambda: meta.holds(started.found(INSTANCE, "vm"), "Paused"))
    started.doors.order(pod, "unpause")
    eventually(lambda: not meta.holds(started.found(INSTANCE, "vm"), "Paused"))
    started.doors.order(pod, "softreboot")
    eventually(lambda: started.console(started.found(INSTANCE, "vm")).count("Ready") == 2, 120)
    started.objects.delete(INSTANCE, Key("vm", "default"))

    eventually(lambda: started.gone(INSTANCE, "vm"))
    eventually(lambda: not started.objects.list(POD).items)
    assert not started.objects.list(INSTANCE).items


def test_a_deleted_machine_takes_its_guest_along(started: Line) -> None:
    started.claim("disk", disk("Ready", Then.BUTTON))
    started.objects.create(MACHINE, small(builders.machine("vm")))
    started.speaks("vm", "Ready")

    started.objects.delete(MACHINE, Key("vm", "default"))

    eventually(lambda: started.gone(MACHINE, "vm"))
    assert started.gone(INSTANCE, "vm")


@pytest.mark.skipif(
    not any(Path(code).is_file() for code, _ in BUILDS[False]), reason="needs UEFI for guests"
)
def test_a_guest_boots_by_uefi_and_keeps_its_variables_apart(started: Line) -> None:
    started.claim("disk", disk("This is only for a BIOS", Then.HANG))

    obj = builders.instance("vm", terminationGracePeriodSeconds=0)
    obj["spec"]["domain"]["firmware"] = {"bootloader": {"efi": {"secureBoot": False}}}
    obj["spec"]["domain"]["resources"] = {"requests": {"memory": "256Mi"}}
    started.objects.create(INSTANCE, obj)

    # EDK II's boot manager says on the serial port what it boots, or that it cannot.
    started.speaks("vm", "BdsDxe")


@pytest.mark.skipif(
    not any(Path(code).is_file() for code, _ in BUILDS[False]) or not shutil.which("swtpm"),
    reason="needs UEFI for guests and swtpm",
)
def test_what_firmware_and_tpm_remember_stays_as_long_as_the_machine(started: Line) -> None:
    started.claim("disk", disk("This is only for a BIOS", Then.HANG))
    machine = builders.machine("vm")
    spec = machine["spec"]["template"]["spec"]
    spec["terminationGracePeriodSeconds"] = 0
    spec["domain"]["devices"]["tpm"] = {"persistent": True}
    spec["domain"]["firmware"] = {"bootloader": {"efi": {"secureBoot": False, "persistent": True}}}
    spec["domain"]["resources"] = {"requests": {"memory": "256Mi"}}
    started.objects.create(MACHINE, machine)
    started.speaks("vm", "BdsDxe")
    claim = started.found(CLAIM, "persistent-state-for-vm", "Bound")
    kept = started.volumes / claim["spec"]["volumeName"]
    before = remembered(kept)

    started.objects.patch(MACHINE, Key("vm", "default"), {"spec": {"runStrategy": "Halted"}})
    eventually(lambda: started.gone(INSTANCE, "vm"))
    assert remembered(kept) == before
    started.objects.patch(MACHINE, Key("vm", "default"), {"spec": {"runStrategy": "Always"}})
    started.speaks("vm", "BdsDxe")

    assert remembered(kept) == before
    started.objects.delete(MACHINE, Key("vm", "default"))
    eventually(lambda: started.gone(CLAIM, "persistent-state-for-vm"))


def remembered(kept: Path) -> list[int]:
    """Which file and which directory hold it: those of a first life, or others that look the same."""
    (tpm,) = kept.glob("swtpm/*/tpm2")
    assert (tpm / "tpm2-00.permall").stat().st_size > 0
    return [each.stat().st_ino for each in (kept / "uefi-variables.fd", tpm)]


def small(machine: Obj) -> Obj:
    """The machine with little memory."""
    domain = machine["spec"]["template"]["spec"]["domain"]
    domain["resources"] = {"requests": {"memory": "32Mi"}}
    return machine
