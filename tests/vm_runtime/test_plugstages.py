"""Where a volume stands that comes while its guest runs, and which pods hold its claim: tables."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from diskyard.api.config import Config
from diskyard.api.instance import instance as read
from diskyard.api.job import Report, TerminationMessage
from diskyard.api.meta import Obj
from diskyard.api.names import kubevirt
from diskyard.api.rules.instance import defaults
from diskyard.kube.reconcile import Create, Delete, Merge
from tests import builders
from vm_runtime.controller import plugs
from vm_runtime.controller.configuration import Acceleration
from vm_runtime.controller.gate import World
from vm_runtime.controller.instances import Instances
from vm_runtime.controller.supply import Supply

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
VOLUME = {"name": "more", "persistentVolumeClaim": {"claimName": "more", "hotpluggable": True}}
RUNS: Obj = {"running": {}}


def guest(**metadata: Any) -> Obj:
    obj = builders.instance("vm", volumes=[VOLUME])
    obj["spec"]["domain"]["devices"]["disks"] = [{"name": "more", "disk": {"bus": "scsi"}}]
    claim = {"claimName": "more", "volumeMode": "Filesystem", "requests": {"storage": "1Gi"}}
    status = {"volumeStatus": [{"name": "more", "persistentVolumeClaimInfo": claim}], "phase": "Running"}
    finalizers = [kubevirt.INSTANCE_FINALIZER]
    found = defaults(builders.stored(obj, uid="vmi", **{"finalizers": finalizers, **metadata}))
    return {**found, "status": status}


def supply(**fields: Any) -> Supply:
    (volume,) = read(guest()).volumes
    claim = {**builders.stored(builders.claim("more")), "status": {"phase": "Bound"}}
    return replace(Supply(volume, claim, None), **fields)


def lender(phase: str = "Running", state: Obj = RUNS, **status: Any) -> Obj:
    found = builders.stored(builders.pod("hp"), uid="hp", annotations={kubevirt.LENT_VOLUME: "more"})
    statuses = [{"name": "hotplug-disk", "state": state, **status}]
    return {**found, "status": {"phase": phase, "containerStatuses": statuses}}


def ended(message: str) -> Obj:
    text = TerminationMessage(message, "NoSpace").to_text()
    return {"terminated": {"exitCode": 1, "reason": "Error", "message": text}}


AGAIN: Obj = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}


@pytest.mark.parametrize(
    ("wanted", "lending", "report", "phase", "reason", "words"),
    [
        (supply(claim=None), None, Report("Running"), "Pending", "FailedPvcNotFound", "claim more does not exist"),
        (supply(holder="other"), None, Report("Running"), "Pending", "ClaimInUse", "in use by guest other"),
        (supply(), None, Report("Running"), "Bound", "PVCNotReady", "PVC is in phase Bound"),
        (supply(), lender("Pending", {}), Report("Running"), "AttachedToNode", "SuccessfulCreate", "pod hp"),
        (supply(), lender("Pending", {"waiting": {"message": "no such device"}}), Report("Running"),
         "AttachedToNode", "FailedMount", "no such device"),
        (supply(), lender("Running", ended("no room")), Report("Running"), "AttachedToNode", "FailedMount", "no room"),
        (supply(), lender("Running", AGAIN, lastState=ended("no room")), Report("Running"),
         "AttachedToNode", "FailedMount", "no room"),
        (supply(), lender(), Report("Running", troubles={"more": "no slot"}),
         "MountedToPod", "FailedAttach", "no slot"),
        (supply(), lender(), Report("Running", plugged={"more": "sda"}), "Ready", "VolumeReady", "Successfully"),
    ],
)  # fmt: skip
def test_where_a_volume_stands_is_said_with_the_reason(
    wanted: Supply, lending: Obj | None, report: Report, phase: str, reason: str, words: str
) -> None:
    (entry,) = plugs.statuses((wanted,), (lending,) if lending else (), report)

    assert (entry["phase"], entry["reason"]) == (phase, reason)
    assert words in entry["message"]


@pytest.mark.parametrize("plugged", [{}, {"more": "sda"}])
def test_a_pod_that_is_over_is_replaced_though_its_guest_has_the_disk(plugged: dict[str, str]) -> None:
    """Else the claim would seem free, and its volume could go."""
    instance, report = read(guest()), Report("Running", plugged=plugged)

    (first,) = plugs.actions(guest(), instance, (supply(),), (lender("Failed"),), report)
    made, _ = plugs.actions(guest(), instance, (supply(),), (), report)

    assert isinstance(first, Delete)
    assert isinstance(made, Create)


def world(pod: Obj | None, **metadata: Any) -> World:
    obj = guest(**metadata)
    return World(
        obj, read(obj), "", (), pod, None, Acceleration(kvm=True, emulation=False, reason="it works"), Config(), NOW,
        hot=(supply(),), lending=(lender(),),
    )  # fmt: skip


def launcher(phase: str, state: Obj) -> Obj:
    report = {kubevirt.DOMAIN_REPORT: json.dumps({"state": "Running", "plugged": {"more": "sda"}})}
    found = builders.stored(builders.pod("p"), uid="p", annotations=report)
    return {**found, "status": {"phase": phase, "containerStatuses": [{"name": "compute", "state": state}]}}


@pytest.mark.parametrize(
    ("pod", "held"),
    [(launcher("Running", RUNS), True), (launcher("Failed", ended("")), False), (None, False)],
)
def test_a_claim_is_held_until_the_guest_that_is_deleted_is_down(pod: Obj | None, held: bool) -> None:
    plan = Instances().decide(world(pod, deletionTimestamp="2026-11-21T12:00:00Z"))

    deleted = [each.key.name for each in plan.actions if isinstance(each, Delete)]
    assert ("hp" not in deleted) is held


def test_a_guest_that_is_over_has_no_disk_that_came_to_it() -> None:
    plan = Instances().decide(world(launcher("Failed", ended("it crashed"))))

    (said,) = (each.patch["status"] for each in plan.actions if isinstance(each, Merge))
    (entry,) = said["volumeStatus"]
    assert (said["phase"], entry["phase"], entry["hotplugVolume"]) == ("Failed", "Bound", {})
