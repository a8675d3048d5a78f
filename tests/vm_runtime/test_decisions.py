"""What the controllers decide: phases, gates, the launcher's pod."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from diskyard.api.config import Config
from diskyard.api.instance import instance as read
from diskyard.api.meta import Obj
from diskyard.api.names import kubevirt
from diskyard.api.rules.instance import defaults
from diskyard.api.settings import settings as read_settings
from tests import builders
from vm_runtime.controller import gate, phases
from vm_runtime.controller.configuration import Acceleration, acceleration
from vm_runtime.controller.gate import World
from vm_runtime.controller.pod import consumer_pod, launcher_pod, overhead, placed
from vm_runtime.controller.supply import Supply, claim_info

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
KVM = Acceleration(kvm=True, emulation=False, reason="it works")
MIB = 1 << 20


def asked(**spec: Any) -> Obj:
    return defaults(builders.stored(builders.instance("vm", **spec), uid="vmi"))


def claim(phase: str = "Bound", **metadata: Any) -> Obj:
    found = builders.stored(builders.claim("disk"), **metadata)
    return {**found, "status": {"phase": phase, "capacity": {"storage": "1Gi"}}}


def filler(phase: str) -> Obj:
    return {**builders.stored(builders.data_volume("disk")), "status": {"phase": phase, "progress": "45.00%"}}


def world(
    found: Obj | None, data_volume: Obj | None = None, holder: str = "", how: Acceleration = KVM
) -> World:
    instance = read(asked())
    supply = Supply(instance.volumes[0], found, data_volume, holder)
    return World(asked(), instance, "", (supply,), None, None, how, Config(), NOW)


@pytest.mark.parametrize(
    ("found", "condition", "reason", "message"),
    [
        (world(None), "Synchronized", "FailedPvcNotFound",
         "PVC default/disk does not exist, waiting for it to appear"),
        (world(claim(deletionTimestamp="2026-11-21T12:00:00Z")), "Synchronized", "ClaimBeingDeleted",
         "claim disk is being deleted: make it anew, or use another"),
        (world(None, filler("Pending")), "Provisioning", "WaitingForDataVolumes",
         "DataVolume disk is Pending (45.00%)"),
        (world(claim(), filler("ImportInProgress")), "Provisioning", "WaitingForDataVolumes",
         "DataVolume disk is ImportInProgress (45.00%)"),
        (world(claim("Pending"), filler("WaitForFirstConsumer")), "Provisioning", "WaitingForFirstConsumer",
         "DataVolume disk is WaitForFirstConsumer (45.00%): a pod that uses its claim makes it bind"),
        (world(claim(annotations={"cdi.kubevirt.io/storage.pod.phase": "Running"})), "Provisioning",
         "WaitingForDataVolumes", "claim disk is still being filled"),
        (world(claim(), holder="other"), "Synchronized", "ClaimInUse",
         "claim disk is in use by guest other: stop that guest, or mark the disk of both as shareable; where both only "
         "read it (a disc), say `readOnly: true` of the volume of both"),
        (world(claim(), how=Acceleration(kvm=False, emulation=True)), "Synchronized", "NodesNotProbed",
         "no node's agent has said yet how guests can run there"),
        (world(claim(), how=Acceleration(kvm=False, emulation=False, reason="it hangs")), "PodScheduled",
         "Unschedulable", gate.NO_KVM.format(reason="it hangs")),
    ],
)  # fmt: skip
def test_a_closed_gate_says_why(found: World, condition: str, reason: str, message: str) -> None:
    closed = gate.closed(found)

    assert closed
    assert [(c.type, c.reason, c.message) for c in closed.stage.conditions] == [(condition, reason, message)]


@pytest.mark.parametrize(
    "found",
    [
        world(claim()),
        world(claim("Pending")),
        world(claim(), filler("Succeeded")),
        world(claim(annotations={"cdi.kubevirt.io/storage.pod.phase": "Succeeded"})),
        world(claim(), how=Acceleration(kvm=False, emulation=True, reason="it hangs")),
    ],
)
def test_a_guest_whose_volumes_are_ready_may_have_its_pod(found: World) -> None:
    assert gate.closed(found) is None


@pytest.mark.parametrize(("found", "wanted"), [("Pending", True), ("Bound", False)])
def test_a_pod_that_only_uses_claims_is_wanted_while_one_waits_for_it(found: str, wanted: bool) -> None:
    closed = gate.closed(world(claim(found), filler("WaitForFirstConsumer")))

    assert closed
    assert closed.consumer is wanted


def pod(phase: str, report: str = "", **state: Any) -> Obj:
    annotations = {kubevirt.DOMAIN_REPORT: json.dumps({"state": report})} if report else {}
    statuses = [{"name": "compute", "state": state}] if state else []
    found = builders.stored(builders.pod("p"), annotations=annotations)
    return {**found, "status": {"phase": phase, "containerStatuses": statuses}}


RUNS: Obj = {"running": {}}


def ended(code: int, message: str) -> Obj:
    return {"terminated": {"exitCode": code, "reason": "Error", "message": message}}


@pytest.mark.parametrize(
    ("before", "found", "phase", "reason"),
    [
        ("Pending", pod("Pending"), "Scheduling", ""),
        ("Scheduling", pod("Running", **RUNS), "Scheduled", ""),
        ("Scheduled", pod("Running", "Preparing", **RUNS), "Scheduled", ""),
        ("Scheduled", pod("Running", "Running", **RUNS), "Running", ""),
        ("Running", pod("Running", "Paused", **RUNS), "Running", ""),
        ("Running", pod("Running", "ShuttingDown", **RUNS), "Running", ""),
        ("Running", pod("Running", **RUNS), "Running", ""),
        ("Running", pod("Running", "Off", **RUNS), "Running", ""),
        ("Running", pod("Succeeded", **ended(0, "")), "Succeeded", ""),
        (
            "Running",
            pod("Failed", **ended(1, '{"reason": "GuestCrashed", "message": "m"}')),
            "Failed",
            "GuestCrashed",
        ),
        ("Running", pod("Failed", **ended(137, "some log")), "Failed", "Error"),
        ("Running", None, "Failed", "PodNotExists"),
    ],
)
def test_the_phase_follows_from_pod_and_report(
    before: str, found: Obj | None, phase: str, reason: str
) -> None:
    stage = phases.of_pod({**asked(), "status": {"phase": before}}, found)

    assert (stage.phase, stage.reason) == (phase, reason)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (
            '{"reason": "SourceMissing", "message": "no such image"}',
            "containerDisk volume disk: no such image",
        ),
        ('{"message": "Import Complete"}', "containerDisk volume disk: its importer ended with code 134"),
    ],
)
def test_an_image_that_was_not_fetched_says_why(message: str, words: str) -> None:
    failed = pod("Failed")
    failed["status"]["initContainerStatuses"] = [{"name": "volumedisk", "state": ended(134, message)}]

    stage = phases.of_pod({**asked(), "status": {"phase": "Scheduling"}}, failed)

    assert (stage.reason, stage.conditions[0].message) == ("ErrImagePull", words)


def test_a_launcher_that_was_killed_is_said_to_be() -> None:
    stage = phases.of_pod(asked(), pod("Failed", **ended(137, "the log's last lines")))

    assert stage.conditions[0].message == "the launcher was killed by signal 9"


def test_a_pause_by_a_disk_error_is_told() -> None:
    report = json.dumps({"state": "Paused", "reason": "PausedIOError"})
    found = pod("Running", **RUNS)
    found["metadata"]["annotations"] = {kubevirt.DOMAIN_REPORT: report}

    stage = phases.of_pod(asked(), found)

    assert [(c.type, c.reason, c.message) for c in stage.conditions] == [
        ("Paused", "PausedIOError", "VMI was paused, low-level IO error detected")
    ]


def known() -> tuple[Obj, Any]:
    info = {"claimName": "disk", "volumeMode": "Filesystem", "requests": {"storage": "1Gi"}}
    obj = {**asked(), "status": {"volumeStatus": [{"name": "root", "persistentVolumeClaimInfo": info}]}}
    return obj, read(obj)


def test_the_launchers_pod_has_what_a_guest_needs_and_nothing_of_root() -> None:
    obj, instance = known()

    found = launcher_pod(obj, instance, Config(), accelerated=True)

    container = found["spec"]["containers"][0]
    assert container["command"] == ["diskyard-launcher"]
    assert container["securityContext"]["runAsUser"] == 107
    assert container["resources"]["limits"] == {kubevirt.KVM_RESOURCE: "1"}
    assert {mount["mountPath"] for mount in container["volumeMounts"]} == {
        kubevirt.PRIVATE_DIR,
        kubevirt.SCRATCH_DIR,
        f"{kubevirt.DISKS_DIR}/root",
    }
    assert found["spec"]["terminationGracePeriodSeconds"] == 60
    assert found["spec"]["nodeSelector"] == {kubevirt.SCHEDULABLE: "true"}
    assert found["metadata"]["labels"][kubevirt.CREATED_BY] == "vmi"
    assert found["metadata"]["labels"]["vmi.kubevirt.io/id"] == "vm"


def test_an_emulated_guest_asks_for_no_device() -> None:
    obj, instance = known()

    found = launcher_pod(obj, instance, Config(), accelerated=False)

    assert "limits" not in found["spec"]["containers"][0]["resources"]


def test_a_block_claim_is_a_device_of_the_pod() -> None:
    obj, _ = known()
    obj["status"]["volumeStatus"][0]["persistentVolumeClaimInfo"]["volumeMode"] = "Block"

    container = launcher_pod(obj, read(obj), Config(), accelerated=False)["spec"]["containers"][0]

    assert container["volumeDevices"] == [{"name": "root", "devicePath": "/dev/root"}]
    assert [mount["name"] for mount in container["volumeMounts"]] == ["private", "ephemeral-disks"]


def test_a_consumer_only_uses_the_claims() -> None:
    obj, instance = known()

    found = consumer_pod(obj, instance)

    assert found["spec"]["containers"][0]["command"] == ["diskyard-launcher", "--consume"]
    assert found["metadata"]["annotations"][kubevirt.EPHEMERAL_PROVISIONING] == "true"
    assert found["spec"]["volumes"] == [{"name": "root", "persistentVolumeClaim": {"claimName": "disk"}}]


def test_pods_of_guests_run_where_the_operator_says_and_where_the_guest_asks() -> None:
    configuration = {
        "imagePullPolicy": "Never",
        "developerConfiguration": {"nodeSelectors": {"disk": "ssd", "a": "b"}},
    }
    operator = read_settings({"spec": {"configuration": configuration}}, None)
    obj, instance = known()
    obj["spec"] |= {"nodeSelector": {"disk": "hdd"}, "subdomain": "web", "dnsPolicy": "Default"}

    found = placed(launcher_pod(obj, instance, Config(), accelerated=False), operator)["spec"]

    assert found["nodeSelector"] == {kubevirt.SCHEDULABLE: "true", "disk": "hdd", "a": "b"}
    assert found["containers"][0]["imagePullPolicy"] == "Never"
    assert (found["subdomain"], found["dnsPolicy"]) == ("web", "Default")


def test_a_guest_may_be_promised_less_than_it_sees() -> None:
    obj, _ = known()
    obj["spec"]["domain"] |= {"memory": {"guest": "4Gi"}, "resources": {"requests": {"memory": "1Gi"}}}
    instance = read(obj)

    found = launcher_pod(obj, instance, Config(), accelerated=False)["spec"]["containers"][0]["resources"]

    assert int(found["requests"]["memory"]) == (1 << 30) + overhead(4 << 30, 1)
    obj["spec"]["domain"]["resources"]["overcommitGuestOverhead"] = True
    found = launcher_pod(obj, instance, Config(), accelerated=False)["spec"]["containers"][0]["resources"]
    assert int(found["requests"]["memory"]) == 1 << 30, "and nothing for what is around it"


def test_memory_around_a_guest_follows_kubevirts_formula() -> None:
    assert overhead(1024 * MIB, 2) == 2 * MIB + (25 + 100 + 25 + 40 + 50 + 2 * 8 + 8 + 32) * MIB


def node(offer: str, reason: str = "probed") -> Obj:
    annotations = {kubevirt.ACCELERATION: reason} if reason else {}
    return {
        "metadata": {"annotations": annotations},
        "status": {"allocatable": {kubevirt.KVM_RESOURCE: offer}},
    }


EMULATE = {"spec": {"configuration": {"developerConfiguration": {"useEmulation": True}}}}


@pytest.mark.parametrize(
    ("settings", "nodes", "wanted"),
    [
        (None, [], Acceleration(kvm=False, emulation=False, reason="")),
        ({}, [node("0", "it hangs")], Acceleration(kvm=False, emulation=False, reason="it hangs")),
        (EMULATE, [node("0", "it hangs")], Acceleration(kvm=False, emulation=True, reason="it hangs")),
        ({}, [node("0"), node("1k", "it works")], Acceleration(kvm=True, emulation=False, reason="it works")),
        (EMULATE, [node("1k", "it works")], Acceleration(kvm=True, emulation=True, reason="it works")),
        ({}, [node("1k", "")], Acceleration(kvm=False, emulation=False, reason="")),
    ],
)
def test_acceleration_is_what_nodes_offer_and_settings_allow(
    settings: Obj | None, nodes: list[Obj], wanted: Acceleration
) -> None:
    assert acceleration(read_settings(settings, None), nodes) == wanted


def said(before: str, found: Obj | None, data_volume: Obj | None = None) -> Obj:
    """The status of an instance that was in that phase, with that pod."""
    obj, instance = known()
    obj["status"]["phase"] = before
    supplies = (Supply(instance.volumes[0], claim(), data_volume),)
    return phases.status(phases.Subject(obj, instance, supplies, found), phases.of_pod(obj, found), NOW)


def condition(status: Obj, type_: str) -> tuple[str, str, str]:
    (found,) = (each for each in status["conditions"] if each["type"] == type_)
    return tuple(found.get(key) or "" for key in ("status", "reason", "message"))


def leaving(found: Obj) -> Obj:
    return {**found, "metadata": {**found["metadata"], "deletionTimestamp": "2026-11-21T12:00:00Z"}}


@pytest.mark.parametrize(
    ("before", "found", "told"),
    [
        ("Running", None, ("False", "PodNotExists", "virt-launcher pod has not yet been scheduled")),
        ("Running", leaving(pod("Running", "Running", **RUNS)),
         ("False", "PodTerminating", "virt-launcher pod is terminating")),
        ("Scheduled", pod("Running", "Preparing", **RUNS),
         ("False", "GuestNotRunning", "Guest VM is not reported as running")),
        ("Running", pod("Running", "Paused", **RUNS), ("False", "GuestNotRunning", "Guest VM is paused")),
        ("Running", pod("Running", "Running", **RUNS), ("True", "", "")),
    ],
)  # fmt: skip
def test_who_is_not_ready_says_why(before: str, found: Obj | None, told: tuple[str, str, str]) -> None:
    assert condition(said(before, found), "Ready") == told


@pytest.mark.parametrize(
    ("phase", "told"),
    [
        ("Succeeded", ("True", "AllDVsReady", "All of the VMI's DVs are bound and not running")),
        ("ImportInProgress", ("False", "NotAllDVsReady", "Not all of the VMI's DVs are ready")),
    ],
)
def test_what_fills_the_disks_of_a_guest_is_ready_or_not(phase: str, told: tuple[str, str, str]) -> None:
    assert condition(said("Scheduling", pod("Pending"), filler(phase)), "DataVolumesReady") == told


def test_a_status_says_where_the_guest_is_and_of_what_shape() -> None:
    found = pod("Running", "Running", **RUNS)
    found["spec"]["nodeName"] = "here"

    status = said("Scheduled", found)

    assert (status["nodeName"], status["activePods"]) == ("here", {found["metadata"]["uid"]: "here"})
    assert status["memory"] == dict.fromkeys(("guestAtBoot", "guestCurrent", "guestRequested"), "128Mi")
    assert status["currentCPUTopology"] == {"sockets": 1, "cores": 1, "threads": 1}
    assert (status["machine"], status["runtimeUser"]) == ({"type": "q35"}, 107)
    assert (status["qosClass"], status["launcherContainerImageVersion"]) == ("Burstable", "diskyard")
    assert status["phaseTransitionTimestamps"] == [
        {"phase": "Running", "phaseTransitionTimestamp": "2026-11-21T12:00:00Z"}
    ]
    assert condition(status, "LiveMigratable")[:2] == ("False", "NotMigratable")
    assert condition(status, "SoftwareEmulation")[:2] == ("True", "KVMNotAvailable")


def test_a_phase_that_was_passed_keeps_its_time() -> None:
    obj, instance = known()
    passed = [{"phase": "Running", "phaseTransitionTimestamp": "2026-11-20T12:00:00Z"}]
    obj["status"] = {"phase": "Running", "phaseTransitionTimestamps": passed}
    found = pod("Running", "Running", **RUNS)

    status = phases.status(phases.Subject(obj, instance, (), found), phases.of_pod(obj, found), NOW)

    assert status["phaseTransitionTimestamps"] == passed


@pytest.mark.parametrize(
    ("annotations", "preallocated"),
    [
        ({}, False),
        ({"cdi.kubevirt.io/storage.preallocation": "true"}, True),
        ({"example.com/storage.thick-provisioned": "true"}, True),
        ({"cdi.kubevirt.io/storage.preallocation": "false"}, False),
        ({"cdi.kubevirt.io/storage.contentType": "true"}, False),
    ],
)
def test_a_claim_without_holes_is_known_by_its_annotations(
    annotations: dict[str, str], preallocated: bool
) -> None:
    info = claim_info(claim(annotations=annotations), "0.06")

    assert info["preallocated"] is preallocated
    assert (info["claimName"], info["volumeMode"], info["capacity"]) == (
        "disk",
        "Filesystem",
        {"storage": "1Gi"},
    )
    found = read(
        {**asked(), "status": {"volumeStatus": [{"name": "root", "persistentVolumeClaimInfo": info}]}}
    )
    assert found.claims["root"].preallocated is preallocated
    assert found.claims["root"].most == 966 << 20, "of 1024, 6 % of a disk are its file system's"
