"""Which claim or snapshot a DataSource stands for, and whether it can be used; a sentence per row."""

from typing import Any

import pytest

from datavolume_controller.datasources import DataSources, World, named, ready, status
from diskyard.api import meta
from diskyard.api.meta import CLAIM, DATA_SOURCE, DATA_VOLUME, SNAPSHOT, Key, Obj
from diskyard.kube.reconcile import Merge
from standalone.store.objects import Objects
from tests import builders
from tests.builders import some
from tests.datavolume_controller.steps import Steps
from tests.datavolume_controller.worlds import NOW

LONG_AGO = dict.fromkeys(("lastTransitionTime", "lastHeartbeatTime"), "2020-01-01T00:00:00Z")
GOLDEN = {"pvc": {"namespace": "golden", "name": "debian"}}


def a_source(name: str, source: Any, namespace: str = "default") -> Obj:
    return some(DATA_SOURCE, name, namespace, spec={"source": source})


def seen(source: Any, found: Obj | None = None, through: Any = None, dv: str | None = None) -> World:
    said = named(source, "default")
    leaf = named(through, "default") if through is not None else said
    return World(
        obj=a_source("image", source),
        now=NOW,
        named=said,
        through=a_source("other", through) if through is not None else None,
        leaf=leaf if leaf and leaf.entry != "dataSource" else None,
        found=found,
        dv=None if dv is None else {**builders.data_volume("debian"), "status": {"phase": dv}},
    )


def a_snapshot(ready_to_use: bool) -> Obj:
    return {**some(SNAPSHOT, "s"), "status": {"readyToUse": ready_to_use}}


CLAIMED = builders.claim("debian")
OTHER = {"dataSource": {"namespace": "default", "name": "other"}}
ROWS = {
    "a claim that is there": (seen(GOLDEN, CLAIMED), "Ready", "DataSource is ready to be consumed"),
    "a claim that is not": (seen(GOLDEN), "NotFound", "PVC not found"),
    "a claim that is filled just now": (
        seen(GOLDEN, CLAIMED, dv="ImportInProgress"), "ImportInProgress", "Import DataVolume phase ImportInProgress",
    ),
    "a claim that was filled": (seen(GOLDEN, CLAIMED, dv="Succeeded"), "Ready", "DataSource is ready to be consumed"),
    "a snapshot that is ready": (
        seen({"snapshot": {"name": "s", "namespace": "n"}}, a_snapshot(True)), "Ready",
        "DataSource is ready to be consumed",
    ),
    "a snapshot that is not": (
        seen({"snapshot": {"name": "s", "namespace": "n"}}, a_snapshot(False)), "SnapshotNotReady",
        "Snapshot phase is not ready",
    ),
    "no snapshot": (seen({"snapshot": {"name": "s", "namespace": "n"}}), "NotFound", "Snapshot not found"),
    "nothing": (seen({}), "NoSource", "No source PVC set"),
    "itself": (
        seen({"dataSource": {"namespace": "default", "name": "image"}}), "SelfReference", "DataSource points to itself",
    ),
    "another namespace's": (
        seen({"dataSource": {"namespace": "golden", "name": "other"}}), "CrossNamespaceReference",
        "DataSource golden/other is in another namespace: a DataSource refers to those of its own only",
    ),
    "one that is not there": (seen(OTHER), "NotFound", 'datasources.cdi.kubevirt.io "other" not found'),
    "one that leads to a claim": (seen(OTHER, CLAIMED, GOLDEN), "Ready", "DataSource is ready to be consumed"),
    "one that leads on": (
        seen(OTHER, None, {"dataSource": {"namespace": "default", "name": "third"}}), "MaxReferenceDepthReached",
        "DataSource default/other refers to another DataSource itself: only one step is followed",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("world", "reason", "message"), ROWS.values(), ids=ROWS.keys())
def test_refers_to(world: World, reason: str, message: str) -> None:
    found = ready(world)
    assert (found.status, found.reason, found.message) == (
        "True" if reason == "Ready" else "False",
        reason,
        message,
    )


def settled(store: Objects, name: str = "image") -> Obj:
    Steps(store, [DataSources()]).settle()
    return store.get(DATA_SOURCE, Key(name, "default"))


def test_a_claim_that_comes_makes_it_ready_and_gives_it_its_labels(store: Objects) -> None:
    store.create(DATA_SOURCE, a_source("image", {"pvc": {"namespace": "default", "name": "debian"}}))
    assert (meta.condition(settled(store), "Ready") or {})["reason"] == "NotFound"
    claim = builders.claim("debian")
    claim["metadata"]["labels"] = {"instancetype.kubevirt.io/default-preference": "debian", "team": "blue"}
    store.create(CLAIM, claim)
    found = settled(store)
    assert meta.holds(found, "Ready")
    assert meta.labels(found) == {"instancetype.kubevirt.io/default-preference": "debian"}
    assert meta.status(found)["source"] == {"pvc": {"namespace": "default", "name": "debian"}}


def test_a_snapshot_gives_its_labels_too_and_none_over_those_that_are_there() -> None:
    world = seen({"snapshot": {"name": "s", "namespace": "n"}}, a_snapshot(True))
    own = {"instancetype.kubevirt.io/default-preference": "mine"}
    assert world.found
    assert world.found["metadata"].setdefault(
        "labels", {"kubevirt.io/dynamic-credentials-support": "true", **own}
    )
    world.obj["metadata"]["labels"] = own

    labels, _ = DataSources().decide(world).actions

    assert isinstance(labels, Merge)
    assert labels.patch["metadata"]["labels"] == {"kubevirt.io/dynamic-credentials-support": "true"}


def test_another_source_is_another_readiness_though_both_are_ready() -> None:
    before = status(seen(GOLDEN, CLAIMED))
    world = seen({"pvc": {"namespace": "golden", "name": "fedora"}}, builders.claim("fedora"))
    world.obj["status"] = {**before, "conditions": [{**each, **LONG_AGO} for each in before["conditions"]]}
    same = seen(GOLDEN, CLAIMED)
    same.obj["status"] = world.obj["status"]

    assert [status(each)["conditions"][0]["lastHeartbeatTime"] for each in (same, world)] == [
        LONG_AGO["lastHeartbeatTime"], NOW,
    ]  # fmt: skip


def test_several_may_stand_for_one_claim(store: Objects) -> None:
    for name in ("image", "other"):
        store.create(DATA_SOURCE, a_source(name, {"pvc": {"namespace": "default", "name": "debian"}}))
        settled(store, name)
    store.create(CLAIM, builders.claim("debian"))
    for name in ("image", "other"):
        assert meta.holds(settled(store, name), "Ready")
    store.delete(CLAIM, Key("debian", "default"))
    store.patch(CLAIM, Key("debian", "default"), {"metadata": {"finalizers": None}})
    for name in ("image", "other"):
        assert (meta.condition(settled(store, name), "Ready") or {})["reason"] == "NotFound"


def test_the_status_names_the_claim_behind_a_reference(store: Objects) -> None:
    store.create(DATA_SOURCE, a_source("other", GOLDEN))
    store.create(DATA_SOURCE, a_source("image", OTHER))
    assert meta.status(settled(store))["source"] == GOLDEN


def test_another_source_replaces_the_one_before(store: Objects) -> None:
    store.create(DATA_SOURCE, a_source("image", GOLDEN))
    settled(store)
    other = {"pvc": None, "snapshot": {"namespace": "golden", "name": "s"}}
    store.patch(DATA_SOURCE, Key("image", "default"), {"spec": {"source": other}})
    assert meta.status(settled(store))["source"] == {"snapshot": {"namespace": "golden", "name": "s"}}


def test_a_change_wakes_exactly_those_that_looked(store: Objects) -> None:
    store.create(DATA_SOURCE, a_source("image", GOLDEN))
    reconciler = DataSources()
    reconciler.gather(store, Key("image", "default"))
    golden, stranger = (builders.claim(name) for name in ("debian", "stranger"))
    golden["metadata"]["namespace"] = "golden"
    assert set(reconciler.wakes[CLAIM](golden)) == {Key("image", "default")}
    assert not set(reconciler.wakes[CLAIM](stranger))
    importing = {**builders.data_volume("debian"), "metadata": golden["metadata"]}
    assert set(reconciler.wakes[DATA_VOLUME](importing)) == {Key("image", "default")}
