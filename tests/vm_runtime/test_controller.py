"""The controllers against a store, with no node: the test plays the node's part, and cuts plans anywhere."""

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest

from diskyard.api import meta
from diskyard.api.machine import machine
from diskyard.api.meta import (
    CLAIM,
    DATA_VOLUME,
    EVENT,
    INSTANCE,
    KUBEVIRT,
    MACHINE,
    POD,
    RESOURCE_QUOTA,
    Key,
    Kind,
    Obj,
)
from diskyard.api.names import derived, kubevirt
from diskyard.errors import Conflict, Forbidden
from diskyard.kube.client import Deletion
from diskyard.kube.controller import reconcile
from diskyard.kube.reconcile import Reconciler
from standalone.store.objects import Objects
from tests import builders
from vm_runtime.controller import restart
from vm_runtime.controller.instances import Instances
from vm_runtime.controller.kubevirts import KubeVirts
from vm_runtime.controller.machines import Machines
from vm_runtime.controller.machines import instance as made

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
RUNS: Obj = {"running": {}}
INSTANCE_KEY = Key("vm", "default")


def settled(store: Objects, reconcilers: list[Reconciler[Any]], cut: int = 10**9) -> None:
    """Reconcile until nothing more is to be done; each plan ends after `cut` actions, as if by a crash."""
    for _ in range(60):
        left = sum(_turn(store, each, cut) for each in reconcilers)
        if not left:
            return
    raise AssertionError("it does not come to rest")


def _turn(store: Objects, reconciler: Reconciler[Any], cut: int) -> int:
    done = 0
    for obj in store.list(reconciler.kind).items:
        found = reconciler.gather(store, meta.key(obj))
        actions = reconciler.decide(found).actions if found is not None else ()
        for action in actions[:cut]:
            try:
                action.carry_out(store)
            except Conflict:
                break
        done += len(actions)
    return done


def everything() -> list[Reconciler[Any]]:
    return [KubeVirts(lambda: NOW), Machines(lambda: NOW), Instances(lambda: NOW)]


def launcher(store: Objects) -> Key:
    uid = meta.uid(store.get(INSTANCE, INSTANCE_KEY))
    return Key(derived.launcher_pod("vm", uid), "default")


def play(store: Objects, kind: Kind, key: Key, status: Obj, report: str = "") -> None:
    """Do a node's or an importer's part."""
    store.patch(kind, key, {"status": status}, "status")
    if report:
        text = json.dumps({"state": report})
        store.patch(kind, key, {"metadata": {"annotations": {kubevirt.DOMAIN_REPORT: text}}})


@pytest.mark.parametrize("cut", [1, 2, 3, 10**9])
def test_a_machine_comes_up_and_goes_down_wherever_its_plans_are_cut(ready: Objects, cut: int) -> None:
    ready.create(MACHINE, builders.machine("vm"))
    settled(ready, everything(), cut)
    play(ready, POD, launcher(ready), {"phase": "Running", "containerStatuses": [{"name": "compute", "state": RUNS}]},
         "Running")  # fmt: skip
    settled(ready, everything(), cut)

    assert meta.phase(ready.get(INSTANCE, INSTANCE_KEY)) == "Running"
    found = meta.status(ready.get(MACHINE, INSTANCE_KEY))
    generation = meta.meta(ready.get(MACHINE, INSTANCE_KEY))["generation"]
    assert (found["printableStatus"], found["created"], found["ready"]) == ("Running", True, True)
    assert (found["observedGeneration"], found["desiredGeneration"]) == (generation, generation)
    assert found["runStrategy"] == "Always"
    assert len(ready.list(POD).items) == 1

    ready.delete(MACHINE, INSTANCE_KEY)
    for _ in range(3):
        settled(ready, everything(), cut)
        for pod_ in ready.list(POD).items:
            ready.delete(POD, meta.key(pod_), Deletion(grace=0))
    settled(ready, everything(), cut)
    assert [ready.list(kind).items for kind in (MACHINE, INSTANCE, POD)] == [(), (), ()]


def test_a_disk_that_is_smaller_than_its_claim_is_told_once(ready: Objects) -> None:
    ready.create(INSTANCE, builders.instance("vm"))
    settled(ready, everything())
    play(
        ready,
        POD,
        launcher(ready),
        {"phase": "Running", "containerStatuses": [{"name": "compute", "state": RUNS}]},
    )
    text = "PV size too small: expected 2 B, found 1 B"
    report = json.dumps({"state": "Running", "small": {"root": text}})
    ready.patch(POD, launcher(ready), {"metadata": {"annotations": {kubevirt.DOMAIN_REPORT: report}}})

    settled(ready, everything())
    ready.patch(INSTANCE, INSTANCE_KEY, {"metadata": {"labels": {"looked": "again"}}})
    settled(ready, everything())

    (volume,) = meta.status(ready.get(INSTANCE, INSTANCE_KEY))["volumeStatus"]
    assert (volume["reason"], volume["message"]) == ("ToleratedSmallPV", text)
    told = [each for each in ready.list(EVENT).items if each["reason"] == "ToleratedSmallPV"]
    assert [(each["type"], each["message"], each["count"]) for each in told] == [("Normal", text, 1)]


def test_a_template_that_changes_under_its_guest_asks_for_a_restart(
    ready: Objects,
) -> None:
    def asked() -> Obj | None:
        settled(ready, everything())
        return meta.condition(ready.get(MACHINE, INSTANCE_KEY), "RestartRequired")

    ready.create(MACHINE, builders.machine("vm"))
    assert asked() is None

    cpu = {"spec": {"template": {"spec": {"domain": {"cpu": {"cores": 2}}}}}}
    ready.patch(MACHINE, INSTANCE_KEY, cpu)
    said = asked()
    assert said is not None
    assert (said["status"], said["message"]) == (
        "True",
        "a non-live-updatable field was changed in the template spec",
    )
    ready.patch(MACHINE, INSTANCE_KEY, {"spec": {"template": {"spec": {"domain": {"cpu": None}}}}})
    assert asked() is None, "it is as it was"
    assert restart.required({"spec": {"changed": True}}, None) == ()


@pytest.mark.parametrize("cut", [1, 2, 10**9])
@pytest.mark.parametrize(("name", "chosen"), [("", None), ("slow", "slow")])
def test_a_guest_that_remembers_gets_a_claim_of_its_machine(
    ready: Objects, cut: int, name: str, chosen: str | None
) -> None:
    change = {"spec": {"configuration": {"vmStateStorageClass": name}}}
    ready.patch(KUBEVIRT, Key("kubevirt", "kubevirt"), change)
    machine = builders.machine("vm")
    machine["spec"]["template"]["spec"]["domain"]["devices"]["tpm"] = {"persistent": True}

    ready.create(MACHINE, machine)
    settled(ready, everything(), cut)

    claim = ready.get(CLAIM, Key("persistent-state-for-vm", "default"))
    assert (meta.controller_of(claim) or {})["kind"] == "VirtualMachine"
    assert meta.labels(claim) == {"persistent-state-for": "vm"}
    assert claim["spec"].get("storageClassName") == chosen
    assert ready.get(POD, launcher(ready))


def test_what_a_guest_reads_about_itself_is_the_same_at_each_start() -> None:
    obj = builders.stored(builders.machine("vm"), uid="machine")

    first, second = (made(obj, machine(obj))["spec"]["domain"]["firmware"] for _ in range(2))

    assert first == second
    assert len({first["uuid"], first["serial"]}) == 2
    obj["spec"]["template"]["spec"]["domain"]["firmware"] = {"serial": "S1"}
    assert made(obj, machine(obj))["spec"]["domain"]["firmware"] == {**first, "serial": "S1"}


def test_a_machine_makes_the_volumes_of_its_templates_and_waits_for_them(ready: Objects) -> None:
    template = {"metadata": {"name": "disk", "creationTimestamp": None}, "spec": {"source": {"blank": {}}}}
    ready.create(MACHINE, builders.machine("vm", runStrategy="Halted", dataVolumeTemplates=[template]))

    settled(ready, everything())

    made = ready.get(DATA_VOLUME, Key("disk", "default"))
    assert meta.owned_by(made, ready.get(MACHINE, INSTANCE_KEY))
    assert made["spec"] == {"source": {"blank": {}}}
    assert ready.list(INSTANCE).items == ()


def test_where_no_webhook_fills_in_defaults_the_controller_does(ready: Objects) -> None:
    ready.create(MACHINE, builders.machine("vm"))

    settled(ready, everything())

    found = ready.get(INSTANCE, INSTANCE_KEY)
    assert meta.spec(found)["domain"]["machine"] == {"type": "q35"}
    assert meta.spec(found)["networks"] == [{"name": "default", "pod": {}}]
    assert meta.meta(found)["finalizers"] == [kubevirt.INSTANCE_FINALIZER]
    assert len(ready.list(POD).items) == 1


def test_where_no_webhook_refuses_it_what_cannot_be_is_not_started_and_says_why(ready: Objects) -> None:
    wanted = builders.machine("vm")
    wanted["spec"]["template"]["spec"]["domain"]["launchSecurity"] = {"sev": {}}
    ready.create(MACHINE, wanted)
    alone = builders.instance("alone")
    alone["spec"]["domain"]["launchSecurity"] = {"sev": {}}
    ready.create(INSTANCE, alone)

    settled(ready, everything())

    machine = meta.condition(ready.get(MACHINE, INSTANCE_KEY), "Failure") or {}
    assert machine["message"] == "spec.template.spec.domain.launchSecurity is not supported yet"
    instance = meta.condition(ready.get(INSTANCE, Key("alone", "default")), "Synchronized") or {}
    assert instance["message"] == "spec.domain.launchSecurity is not supported yet"
    assert (len(ready.list(INSTANCE).items), ready.list(POD).items) == (1, ())


def reconciled(store: Objects, reconciler: Reconciler[Any]) -> None:
    """As the controllers do it: what is refused is tried again later."""
    for _ in range(3):
        with suppress(Forbidden):
            reconcile(reconciler, store, store, INSTANCE_KEY)


def quota(store: Objects, **hard: str) -> None:
    store.create(RESOURCE_QUOTA, builders.some(RESOURCE_QUOTA, "few", spec={"hard": hard}))


@pytest.mark.parametrize("phase", ["Bound", "Pending"])
def test_a_pod_that_is_refused_is_told_once_and_made_when_there_is_room(ready: Objects, phase: str) -> None:
    quota(ready, pods="0")
    play(ready, CLAIM, Key("disk", "default"), {"phase": phase})
    ready.create(DATA_VOLUME, builders.data_volume("disk"))
    state = "Succeeded" if phase == "Bound" else "WaitForFirstConsumer"
    play(ready, DATA_VOLUME, Key("disk", "default"), {"phase": state})
    ready.create(INSTANCE, builders.instance("vm"))

    reconciled(ready, Instances(lambda: NOW))
    found = ready.get(INSTANCE, INSTANCE_KEY)
    reconciled(ready, Instances(lambda: NOW))

    said = meta.condition(found, "Synchronized") or {}
    assert (meta.phase(found), said["reason"]) == ("Pending", "FailedCreate")
    assert "is forbidden: exceeded quota: few" in said["message"]
    assert ready.get(INSTANCE, INSTANCE_KEY) == found, "one that waits writes nothing"
    assert [each["reason"] for each in ready.list(EVENT).items] == ["FailedCreate"]

    ready.patch(RESOURCE_QUOTA, Key("few", "default"), {"spec": {"hard": {"pods": "1"}}})
    reconciled(ready, Instances(lambda: NOW))
    assert len(ready.list(POD).items) == 1
    assert meta.condition(ready.get(INSTANCE, INSTANCE_KEY), "Synchronized") is None


def test_a_machine_whose_instance_is_refused_says_so_until_it_may_be_made(ready: Objects) -> None:
    quota(ready, **{"count/virtualmachineinstances.kubevirt.io": "0"})
    ready.create(MACHINE, builders.machine("vm", runStrategy="RerunOnFailure"))

    reconciled(ready, Machines(lambda: NOW))

    found = ready.get(MACHINE, INSTANCE_KEY)
    said = meta.condition(found, "Failure") or {}
    assert said["reason"] == "FailedCreate"
    assert "exceeded quota: few" in said["message"]
    ready.delete(RESOURCE_QUOTA, Key("few", "default"))
    reconciled(ready, Machines(lambda: NOW))
    assert ready.get(INSTANCE, INSTANCE_KEY)
    assert meta.condition(ready.get(MACHINE, INSTANCE_KEY), "Failure") is None


def test_a_missing_claim_is_named_and_told_once(ready: Objects) -> None:
    volume = {"name": "root", "persistentVolumeClaim": {"claimName": "nowhere"}}
    ready.create(INSTANCE, builders.instance("vm", volumes=[volume]))

    settled(ready, everything())

    found = ready.get(INSTANCE, INSTANCE_KEY)
    assert meta.phase(found) == "Pending"
    assert (meta.condition(found, "Synchronized") or {})["reason"] == "FailedPvcNotFound"
    assert ready.list(POD).items == ()
    assert [(each["reason"], each["count"]) for each in ready.list(EVENT).items] == [("FailedPvcNotFound", 1)]


def test_a_volume_that_waits_for_its_first_consumer_gets_one_and_then_its_guest(ready: Objects) -> None:
    ready.patch(CLAIM, Key("disk", "default"), {"status": {"phase": "Pending"}}, "status")
    ready.create(DATA_VOLUME, builders.data_volume("disk"))
    play(ready, DATA_VOLUME, Key("disk", "default"), {"phase": "WaitForFirstConsumer"})
    ready.create(INSTANCE, builders.instance("vm"))
    settled(ready, everything())
    consumer = Key(derived.consumer_pod("vm", meta.uid(ready.get(INSTANCE, INSTANCE_KEY))), "default")
    assert [meta.key(each) for each in ready.list(POD).items] == [consumer]

    play(ready, CLAIM, Key("disk", "default"), {"phase": "Bound"})
    play(ready, DATA_VOLUME, Key("disk", "default"), {"phase": "ImportInProgress"})
    settled(ready, everything())
    assert ready.list(POD).items == ()

    play(ready, DATA_VOLUME, Key("disk", "default"), {"phase": "Succeeded"})
    settled(ready, everything())
    assert [meta.key(each) for each in ready.list(POD).items] == [launcher(ready)]


def test_a_failed_guest_is_started_again_only_after_its_pause(ready: Objects) -> None:
    ready.create(MACHINE, builders.machine("vm"))
    settled(ready, everything())
    first = ready.get(INSTANCE, INSTANCE_KEY)
    play(ready, POD, launcher(ready), {"phase": "Failed"})
    for _ in range(3):
        settled(ready, everything())
        for pod_ in ready.list(POD).items:
            ready.delete(POD, meta.key(pod_), Deletion(grace=0))
    settled(ready, everything())

    found = Machines(lambda: NOW).gather(ready, INSTANCE_KEY)
    assert found
    assert Machines().decide(found).requeue_after == 10
    assert ready.list(INSTANCE).items == ()
    machine = ready.get(MACHINE, INSTANCE_KEY)
    assert meta.status(machine)["printableStatus"] == "CrashLoopBackOff"
    assert (meta.condition(machine, "Failure") or {})[
        "message"
    ] == "the launcher's pod failed without saying why"

    later = datetime(2026, 11, 21, 12, 0, 11, tzinfo=UTC)
    settled(ready, [Machines(lambda: later), Instances(lambda: later)])
    assert meta.uid(ready.get(INSTANCE, INSTANCE_KEY)) != meta.uid(first)


def test_an_instance_that_is_not_the_machines_is_left_alone(ready: Objects) -> None:
    theirs = ready.create(INSTANCE, builders.instance("vm"))
    ready.create(MACHINE, builders.machine("vm"))

    settled(ready, everything())

    assert meta.uid(ready.get(INSTANCE, INSTANCE_KEY)) == meta.uid(theirs)
    told = meta.condition(ready.get(MACHINE, INSTANCE_KEY), "Failure") or {}
    assert told["reason"] == "FailedCreate"
    assert "that is not this machine's" in told["message"]


def test_kubevirt_says_that_it_is_available(ready: Objects) -> None:
    settled(ready, everything())

    found = ready.get(KUBEVIRT, Key("kubevirt", "kubevirt"))
    assert meta.phase(found) == "Deployed"
    assert meta.holds(found, "Available")


def test_a_kubevirt_that_nobody_follows_says_which_one_is(ready: Objects) -> None:
    ready.create(KUBEVIRT, builders.some(KUBEVIRT, "mine", spec={}))

    settled(ready, everything())

    said = meta.condition(ready.get(KUBEVIRT, Key("mine", "default")), "Available") or {}
    assert (said["status"], said["reason"]) == ("False", "ExistingDeployment")
    assert said["message"].startswith("only KubeVirt kubevirt/kubevirt is followed")
