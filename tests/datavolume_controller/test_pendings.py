"""What storage tells of claims that it cannot bind is said where users look."""

from typing import Any

import pytest

from datavolume_controller import pendings
from datavolume_controller.pendings import PATIENCE, PERIOD, Pendings, World
from diskyard.api import meta
from diskyard.api.meta import CLAIM, EVENT, Key, Obj
from diskyard.api.names import cdi
from diskyard.api.storage import claim
from diskyard.kube.reconcile import Merge, Tell
from standalone.store.objects import Objects
from tests import builders

LONG_AGO = "2026-01-01T00:00:00Z"
FULL = "rpc error: code = ResourceExhausted desc = the pool is full"


def event(about: Obj, name: str, reason: str = "ProvisioningFailed", **fields: Any) -> Obj:
    involved = {
        "kind": "PersistentVolumeClaim",
        "name": meta.name(about),
        "namespace": "default",
        "uid": meta.uid(about),
    }
    said = {
        "type": "Warning",
        "message": FULL,
        "lastTimestamp": LONG_AGO,
        "source": {"component": "csi"},
        **fields,
    }
    return builders.some(EVENT, name, involvedObject=involved, reason=reason, **said)


def pending(store: Objects, **annotations: str) -> Obj:
    made = builders.claim("disk", storageClassName="slow")
    made["metadata"]["annotations"] = {cdi.CREATED_FOR: "dv-uid", **annotations}
    return store.create(CLAIM, made)


def newest(store: Objects, obj: Obj) -> Obj | None:
    return pendings._newest(store, claim(obj))


def test_the_newest_warning_of_others_is_what_counts(store: Objects) -> None:
    obj = pending(store)
    store.create(EVENT, event(obj, "old", message="no capacity"))
    store.create(EVENT, event(obj, "newer", lastTimestamp="2026-01-02T00:00:00Z"))
    store.create(EVENT, event(obj, "normal", type="Normal", lastTimestamp="2026-01-03T00:00:00Z"))
    store.create(
        EVENT, event(obj, "ours", source={"component": "diskyard"}, lastTimestamp="2026-01-04T00:00:00Z")
    )
    store.create(EVENT, event(obj, "misbound", "ClaimMisbound", lastTimestamp="2026-01-05T00:00:00Z"))
    store.create(EVENT, event({**obj, "metadata": {**obj["metadata"], "uid": "another"}}, "another"))

    found = newest(store, obj)

    assert found is not None
    assert (meta.name(found), found["message"]) == ("newer", FULL)


def test_a_claim_may_wait_for_a_while_before_anybody_is_asked(store: Objects) -> None:
    obj = pending(store)

    plan = Pendings().decide(World(obj, claim(obj), 1.0))

    assert (plan.actions, plan.requeue_after) == ((), PATIENCE - 1.0)


def a_world(target: Obj | None = None, phase: str = "Pending", **said: str) -> World:
    obj = builders.stored(builders.claim("disk"))
    obj["metadata"]["annotations"] = {cdi.CREATED_FOR: "dv-uid", **said}
    obj["status"] = {"phase": phase}
    return World(obj, claim(obj), PATIENCE, event(obj, "full"), target)


def test_the_claim_says_why_it_has_no_volume() -> None:
    plan = Pendings().decide(a_world())

    (said,) = plan.actions
    assert isinstance(said, Merge)
    assert said.patch["metadata"]["annotations"] == {
        cdi.BOUND_CONDITION: "false", cdi.BOUND_REASON: "ProvisioningFailed", cdi.BOUND_MESSAGE: FULL,
    }  # fmt: skip
    assert plan.requeue_after == PERIOD


def test_the_claim_that_is_stood_in_for_gets_the_event_too() -> None:
    target = builders.stored(builders.claim("target"))

    told, _ = Pendings().decide(a_world(target)).actions

    assert isinstance(told, Tell)
    assert (meta.name(told.about), told.message) == ("target", f"[disk] : {FULL}")


def test_what_is_said_is_not_said_again() -> None:
    said = {cdi.BOUND_CONDITION: "false", cdi.BOUND_REASON: "ProvisioningFailed", cdi.BOUND_MESSAGE: FULL}

    assert Pendings().decide(a_world(builders.stored(builders.claim("target")), **said)).actions == ()


def test_a_claim_that_is_bound_says_it_no_more() -> None:
    (said,) = Pendings().decide(a_world(phase="Bound", **{cdi.BOUND_CONDITION: "false"})).actions

    assert isinstance(said, Merge)
    assert said.patch["metadata"]["annotations"] == {cdi.BOUND_CONDITION: None}


@pytest.mark.parametrize(
    ("said", "watched"),
    [
        ({}, False),
        ({cdi.POPULATOR_KIND: "VolumeImportSource"}, True),
        ({cdi.UPLOAD_TARGET: ""}, True),
        ({cdi.IMPORT_ENDPOINT: "http://images.example/a.img"}, True),
        ({cdi.UPLOAD_TARGET: "", cdi.EXTERNAL_POPULATION: "true"}, False),
    ],
    ids=["somebody's own", "a stand-in", "an upload's", "an import's", "another populator's"],
)  # fmt: skip
def test_only_our_claims_are_looked_at(store: Objects, said: dict[str, str], watched: bool) -> None:
    made = builders.claim("disk")
    store.create(CLAIM, {**made, "metadata": {**made["metadata"], "annotations": said}})

    assert (Pendings().gather(store, Key("disk", "default")) is not None) == watched
