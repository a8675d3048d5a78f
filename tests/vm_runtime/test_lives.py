"""Whole lives of machines against a store: what their run strategies and their users make of them."""

from datetime import UTC, datetime, timedelta

import pytest

from diskyard.api import meta
from diskyard.api.meta import CLAIM, CONFIG_MAP, DATA_VOLUME, INSTANCE, MACHINE, POD, Key, Obj
from diskyard.errors import NotFound
from diskyard.kube.client import Deletion
from standalone.store.objects import Objects
from tests import builders
from tests.vm_runtime.test_controller import INSTANCE_KEY, RUNS, launcher, play, settled
from vm_runtime.controller.instances import Instances
from vm_runtime.controller.machines import Machines
from vm_runtime.controller.subresources import VERBS, world

BEGUN = datetime(2026, 11, 21, 12, tzinfo=UTC)
LATER = BEGUN + timedelta(seconds=11)
"""After the pause that follows a first failure."""


def instance(store: Objects) -> Obj | None:
    try:
        return store.get(INSTANCE, INSTANCE_KEY)
    except NotFound:
        return None


def lives(store: Objects, now: datetime = BEGUN) -> str:
    """The uid of the instance when all has come to rest, pods that are to go having gone; empty: none."""
    for _ in range(4):
        settled(store, [Machines(lambda: now), Instances(lambda: now)])
        for pod in store.list(POD).items:
            if meta.deleting(pod):
                store.delete(POD, meta.key(pod), Deletion(grace=0))
    found = instance(store)
    return meta.uid(found) if found else ""


def ordered(store: Objects, verb: str) -> None:
    for action in VERBS[verb](world(store.get(MACHINE, INSTANCE_KEY), instance(store)), {}):
        action.carry_out(store)


def started(store: Objects, strategy: str) -> str:
    """A machine whose guest runs; its instance's uid."""
    store.create(MACHINE, builders.machine("vm", runStrategy=strategy))
    if not lives(store):
        ordered(store, "start")
    first = lives(store)
    play(store, POD, launcher(store), {"phase": "Running", "containerStatuses": [{"name": "compute", "state": RUNS}]},
         "Running")  # fmt: skip
    assert lives(store) == first
    assert word(store) == "Running"
    return first


def word(store: Objects) -> str:
    return str(meta.status(store.get(MACHINE, INSTANCE_KEY))["printableStatus"])


@pytest.mark.parametrize(
    ("strategy", "end", "again"),
    [
        ("Always", "Succeeded", True),
        ("Always", "Failed", True),
        ("RerunOnFailure", "Succeeded", False),
        ("RerunOnFailure", "Failed", True),
        ("Manual", "Succeeded", False),
        ("Manual", "Failed", False),
        ("Once", "Succeeded", False),
        ("Once", "Failed", False),
    ],
)
def test_what_follows_the_end_of_a_guest_is_its_machines_strategy(
    ready: Objects, strategy: str, end: str, again: bool
) -> None:
    first = started(ready, strategy)

    play(ready, POD, launcher(ready), {"phase": end})
    at_once, in_time = lives(ready), lives(ready, LATER)

    if not again:
        # KubeVirt's word for one that was to run once, and failed.
        last = "CrashLoopBackOff" if (strategy, end) == ("Once", "Failed") else "Stopped"
        assert (at_once, in_time, word(ready)) == (first, first, last)
    elif end == "Failed":
        assert at_once == "", "it waits for its pause"
        assert in_time not in ("", first)
    else:
        assert at_once not in ("", first)


@pytest.mark.parametrize("strategy", ["Always", "RerunOnFailure", "Manual", "Once"])
def test_a_machine_that_is_stopped_stays_so(ready: Objects, strategy: str) -> None:
    started(ready, strategy)

    ordered(ready, "stop")

    assert (lives(ready), lives(ready, LATER), word(ready)) == ("", "", "Stopped")


@pytest.mark.parametrize("strategy", ["Always", "RerunOnFailure", "Manual"])
def test_a_machine_that_is_restarted_has_another_guest(ready: Objects, strategy: str) -> None:
    first = started(ready, strategy)

    ordered(ready, "restart")

    assert lives(ready) not in ("", first)
    assert "stateChangeRequests" not in meta.status(ready.get(MACHINE, INSTANCE_KEY))


@pytest.mark.parametrize("strategy", ["RerunOnFailure", "Manual"])
def test_a_guest_that_has_powered_off_is_started_by_hand(ready: Objects, strategy: str) -> None:
    first = started(ready, strategy)
    play(ready, POD, launcher(ready), {"phase": "Succeeded"})
    assert lives(ready) == first

    ordered(ready, "start")

    assert lives(ready) not in ("", first)


def test_machine_and_volume_come_in_either_order(ready: Objects) -> None:
    """B-05."""
    volume = {"name": "root", "dataVolume": {"name": "late"}}
    ready.create(INSTANCE, builders.instance("vm", volumes=[volume]))
    lives(ready)
    assert (meta.condition(instance(ready) or {}, "Synchronized") or {})["reason"] == "FailedPvcNotFound"

    late = Key("late", "default")
    ready.create(DATA_VOLUME, builders.data_volume("late"))
    ready.create(CLAIM, builders.claim("late"))
    play(ready, DATA_VOLUME, late, {"phase": "ImportInProgress"})
    lives(ready)
    assert (meta.phase(instance(ready) or {}), ready.list(POD).items) == ("Pending", ())

    play(ready, DATA_VOLUME, late, {"phase": "Succeeded"})
    lives(ready)
    assert len(ready.list(POD).items) == 1


def test_the_old_config_map_opens_a_gate_while_the_controllers_run(ready: Objects) -> None:
    """A-08."""
    obj = builders.machine("vm")
    disk = {"name": "root", "hostDisk": {"path": "/data/disk.img", "type": "Disk"}}
    obj["spec"]["template"]["spec"]["volumes"] = [disk]
    ready.create(MACHINE, obj)
    assert lives(ready) == ""
    told = meta.condition(ready.get(MACHINE, INSTANCE_KEY), "Failure") or {}
    assert "ConfigMap kubevirt/kubevirt-config" in told["message"]

    gates = {"feature-gates": "LiveMigration,DataVolumes,HostDisk"}
    ready.create(CONFIG_MAP, builders.some(CONFIG_MAP, "kubevirt-config", "kubevirt", data=gates))

    assert lives(ready)
    assert meta.condition(ready.get(MACHINE, INSTANCE_KEY), "Failure") is None
