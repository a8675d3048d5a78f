"""What a DataVolume says, sentence by sentence: phases, conditions, progress, times."""

from dataclasses import replace
from typing import Any

import pytest

from datavolume_controller import status
from datavolume_controller.claim import Refusal, Storage
from datavolume_controller.status import outcome
from datavolume_controller.world import World
from diskyard.api.meta import Condition
from diskyard.api.names import cdi
from diskyard.api.storage import StorageClass
from tests import builders
from tests.datavolume_controller.worlds import GATED, NOW, a_claim, dv_world, owned, percent

NAME = {"IMPORT_POD": "importer-disk"}


def adopting(**annotations: str) -> World:
    dv = builders.stored(builders.data_volume("disk"), uid="dv-uid", annotations=annotations)
    return dv_world(a_claim("Bound"), dv)


def with_source(**source: Any) -> World:
    return dv_world(dv=builders.stored(builders.data_volume("disk", source=source), uid="dv-uid"))


def in_phase(phase: str, claim: Any = None) -> World:
    dv = {**builders.stored(builders.data_volume("disk"), uid="dv-uid"), "status": {"phase": phase}}
    return dv_world(claim and a_claim(owner=dv, **claim), dv)


REFERENCE = {"apiGroup": "cdi.kubevirt.io", "kind": "VolumeImportSource", "name": "s"}


def uploading(phase: str = "Bound", **said: str) -> World:
    dv = builders.stored(builders.data_volume("disk", source={"upload": {}}), uid="dv-uid")
    return dv_world(a_claim(phase, owner=dv, **said), dv)


def populated(
    phase: str = "Pending", storage_class: str = "local", reference: Any = None, **said: str
) -> World:
    """A DataVolume whose claim has a populator: ours, or somebody else's."""
    storage = {"resources": {"requests": {"storage": "1Gi"}}, "dataSourceRef": reference}
    external: dict[str, Any] = {"source": None, "storage": storage} if reference else {}
    dv = builders.stored(builders.data_volume("disk", **external), uid="dv-uid")
    claim = a_claim(phase, storage_class, dv, **said)
    claim["spec"]["dataSourceRef"] = reference or REFERENCE
    return dv_world(claim, dv)


PAINTER = {"apiGroup": "example.org", "kind": "Painter", "name": "p"}


PHASES = {
    "an upload server comes": (uploading(POD_PHASE="Pending"), "UploadScheduled", "UploadScheduled"),
    "an upload server is not ready": (
        uploading(POD_PHASE="Running", POD_READY="false"), "UploadScheduled", "UploadScheduled",
    ),
    "an upload is waited for": (uploading(POD_PHASE="Running", POD_READY="true"), "UploadReady", "UploadReady"),
    "an upload failed": (uploading(POD_PHASE="Failed"), "UploadScheduled", "UploadFailed"),
    "an upload is there": (uploading(POD_PHASE="Succeeded"), "Succeeded", "UploadSucceeded"),
    "an upload waits for its volume": (uploading("Pending"), "Pending", ""),
    "a populator has not begun": (populated(), "Pending", ""),
    "a populator waits for a consumer": (populated("Pending", "local-wait"), "PendingPopulation", "PendingPopulation"),
    "a consumer has come": (populated("Pending", "local-wait", SELECTED_NODE="n"), "Pending", ""),
    "a populator works": (populated(POD_PHASE="Running"), "ImportInProgress", "ImportInProgress"),
    "a populator is done, and the volume not handed over yet: as before": (
        populated(POD_PHASE="Succeeded"), "Pending", "",
    ),
    "a populator has handed the volume over": (
        populated("Bound", POD_PHASE="Succeeded"), "Succeeded", "ImportSucceeded",
    ),
    "somebody else's populator works": (populated(reference=PAINTER), "Pending", ""),
    "somebody else's populator is done": (
        populated("Bound", reference=PAINTER), "Succeeded", "ExternalPopulationSucceeded",
    ),
    "a volume made by hand is waited for": (owned("Pending", VOLUME_LIST='["v"]'), "Pending", ""),
    "it begins again after its end": (in_phase("Succeeded", {"phase": "Bound"}), "Pending", ""),
    "no claim yet": (dv_world(), "Pending", ""),
    "its claim was taken away": (in_phase("ImportInProgress"), "ImportInProgress", ""),
    "the claim waits for its volume": (owned("Pending"), "Pending", ""),
    "the class waits for a consumer": (
        owned("Pending", "local-wait"), "WaitForFirstConsumer", "WaitForFirstConsumer",
    ),
    "the class waits, and the user does not": (
        owned("Pending", "local-wait", IMMEDIATE_BINDING=""), "Pending", "",
    ),
    "bound, no importer yet": (owned("Bound"), "Pending", ""),
    "the importer is named": (owned(**NAME), "ImportScheduled", "ImportScheduled"),
    "the importer waits": (owned(**NAME, POD_PHASE="Pending"), "ImportScheduled", "ImportScheduled"),
    "the importer works": (owned(**NAME, POD_PHASE="Running"), "ImportInProgress", "ImportInProgress"),
    "the importer failed and is tried again": (
        owned(**NAME, POD_PHASE="Failed"), "ImportScheduled", "ImportFailed",
    ),
    "it can never work": (owned(**NAME, POD_PHASE="Failed", IMPORT_FATAL="true"), "Failed", "ImportFailed"),
    "the claim is filled": (owned(**NAME, POD_PHASE="Succeeded"), "Succeeded", "ImportSucceeded"),
    "the claim has lost its volume": (owned("Lost"), "Failed", "ErrClaimLost"),
    "a claim restored from a backup": (
        dv_world(a_claim("Bound", POPULATED_FOR="disk")), "Succeeded", "",
    ),
    "a claim to be adopted": (adopting(**{cdi.ALLOW_ADOPTION: "true"}), "Succeeded", ""),
    "a claim of somebody else": (adopting(), "Pending", ""),
    "a source that is not served": (with_source(pvc={"namespace": "n", "name": "c"}), "Pending", ""),
}  # fmt: skip


@pytest.mark.parametrize(("world", "phase", "event"), PHASES.values(), ids=PHASES.keys())
def test_the_phase_when(world: World, phase: str, event: str) -> None:
    found = outcome(world)
    assert (found.phase, found.event.reason if found.event else "") == (phase, event)


@pytest.mark.parametrize("world", [owned("Pending", "local-wait"), populated("Pending", "local-wait")])
def test_who_waits_for_a_consumer_says_so_and_how_to_go_on_without(world: World) -> None:
    event = outcome(world).event
    assert event
    assert "StorageClass local-wait waits for the first pod that uses it" in event.message
    assert cdi.IMMEDIATE_BINDING in event.message


def test_somebody_elses_populator_needs_a_driver_that_can_be_asked() -> None:
    in_tree = Storage((StorageClass("old", "kubernetes.io/aws-ebs"),))
    world = populated("Pending", "old", PAINTER)
    found = outcome(replace(world, storage=in_tree))
    assert (found.phase, found.event and found.event.reason) == (
        "Pending",
        "NoCSIDriverForExternalPopulation",
    )


def test_without_the_gate_nobody_waits_for_a_consumer() -> None:
    world = dv_world(a_claim("Pending", "local-wait"), config=type(GATED)())
    assert not world.waits


BOUND = {
    "the stand-in has no room": (
        populated(PRIME="prime-u", BOUND_CONDITION="false", BOUND_REASON="ErrExceededQuota", BOUND_MESSAGE="exceeded"),
        Condition("Bound", "False", "ErrExceededQuota", "target PVC disk Pending and [prime-u] : exceeded"),
    ),
    "no claim": (dv_world(), Condition("Bound", "False", "NotFound", "No PVC found")),
    "pending": (owned("Pending"), Condition("Bound", "False", "Pending", "PVC disk Pending")),
    "bound": (owned("Bound"), Condition("Bound", "True", "Bound", "PVC disk Bound")),
    "lost": (owned("Lost"), Condition("Bound", "False", "ClaimLost", "Claim Lost")),
    "somebody else's": (
        adopting(),
        Condition(
            "Bound", "False", "ErrResourceExists",
            'Resource "disk" already exists and is not managed by DataVolume',
        ),
    ),
    "of a class that does not exist": (
        owned("Pending", "fast"),
        Condition(
            "Bound", "False", "StorageClassNotFound",
            'spec.storage.storageClassName: there is no StorageClass "fast"; there are: local (default), local-wait',
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("world", "condition"), BOUND.values(), ids=BOUND.keys())
def test_the_bound_condition_when(world: World, condition: Condition) -> None:
    assert status.conditions(world, "Pending")[0] == condition


def test_a_claim_that_cannot_be_made_says_why() -> None:
    refusal = Refusal("ErrClaimNotValid", "because")
    assert status.conditions(dv_world(), "Pending", refusal)[0] == Condition(
        "Bound", "False", "ErrClaimNotValid", "because"
    )


def test_an_exceeded_quota_is_said_until_the_claim_is_there() -> None:
    dv = builders.stored(builders.data_volume("disk"))
    held = {"type": "Bound", "status": "False", "reason": "ErrExceededQuota", "message": "exceeded quota: q"}
    world = dv_world(dv={**dv, "status": {"phase": "Pending", "conditions": [held]}})
    assert status.conditions(world, "Pending")[0].reason == "ErrExceededQuota"


def test_running_repeats_what_the_claim_says() -> None:
    world = owned(RUNNING_CONDITION="false", RUNNING_REASON="Error", RUNNING_MESSAGE="it broke")
    assert status.conditions(world, "ImportInProgress")[2] == Condition(
        "Running", "False", "Error", "it broke"
    )


def test_a_source_that_is_not_served_is_named() -> None:
    running = status.conditions(with_source(registry={"imageStream": "s"}), "Pending")[2]
    assert running.reason == "SourceNotServed"
    assert "spec.source.registry.imageStream is not served" in running.message


def test_ready_only_when_succeeded() -> None:
    running = owned(RUNNING_CONDITION="true", RUNNING_REASON="Pod is running")
    assert status.conditions(running, "ImportInProgress")[1] == Condition("Ready", "False", "TransferRunning")
    assert status.conditions(owned(), "Succeeded")[1] == Condition("Ready", "True")
    assert status.conditions(owned(), "Failed")[1] == Condition("Ready", "False", "Error")


@pytest.mark.parametrize(
    ("figures", "before", "phase", "said"),
    [
        (None, "", "Pending", "N/A"),
        (percent(12.345), "", "ImportInProgress", "12.35%"),
        (percent(45), "12.00%", "ImportInProgress", "45.00%"),
        (None, "45.00%", "ImportInProgress", "45.00%"),
        (percent(100), "99.00%", "ImportInProgress", "99.00%"),
        (percent(100), "99.00%", "Succeeded", "100.0%"),
        (None, "45.00%", "Pending", "N/A"),
    ],
)
def test_progress_as_clients_read_it(figures: Any, before: str, phase: str, said: str) -> None:
    dv = {**builders.stored(builders.data_volume("disk")), "status": {"progress": before}}
    assert status.status(dv_world(dv=dv, figures=figures), phase)["progress"] == said


def test_times_move_only_with_what_they_belong_to() -> None:
    long_ago = "2020-01-01T00:00:00Z"
    held = [
        {"type": "Bound", "status": "True", "reason": "Bound", "message": "PVC disk Bound"},
        {"type": "Ready", "status": "False", "reason": "", "message": ""},
        {"type": "Running", "status": "False", "reason": "", "message": ""},
    ]
    times = {"lastTransitionTime": long_ago, "lastHeartbeatTime": long_ago}
    dv = builders.stored(builders.data_volume("disk"), uid="dv-uid")
    dv["status"] = {"conditions": [{**each, **times} for each in held]}
    claim = a_claim(owner=dv, RUNNING_CONDITION="false", RUNNING_REASON="Error", RUNNING_MESSAGE="it broke")
    bound, ready, running = status.status(dv_world(claim, dv), "Succeeded")["conditions"]
    assert (bound["lastTransitionTime"], bound["lastHeartbeatTime"]) == (long_ago, long_ago)
    assert (ready["lastTransitionTime"], ready["lastHeartbeatTime"]) == (NOW, NOW)
    assert (running["lastTransitionTime"], running["lastHeartbeatTime"]) == (long_ago, NOW)
