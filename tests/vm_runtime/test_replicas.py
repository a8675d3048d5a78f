"""Replica sets against a store: how many there are, which go first, and that a crash makes none too many."""

from datetime import UTC, datetime

import pytest

from diskyard.api import meta
from diskyard.api.meta import INSTANCE, REPLICA_SET, RESOURCE_QUOTA, Key, Obj
from diskyard.api.rules import replicas as rules
from diskyard.errors import Forbidden
from diskyard.kube.client import Selection
from diskyard.kube.refusal import CreateOrExplain
from standalone.store.objects import Objects
from tests import builders
from tests.vm_runtime.test_controller import settled
from vm_runtime.controller.replicas import BURST, Replicas

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
KEY = Key("web", "default")
LABELS = {"app": "web"}


def replica_set(replicas: int | None = None, **spec: object) -> Obj:
    template = {"metadata": {"labels": LABELS}, "spec": meta.spec(builders.instance("vm"))}
    said = {"replicas": replicas} if replicas is not None else {}
    return {
        "apiVersion": REPLICA_SET.api_version,
        "kind": REPLICA_SET.kind,
        "metadata": {"name": KEY.name, "namespace": KEY.namespace},
        "spec": {"selector": {"matchLabels": LABELS}, "template": template, **said, **spec},
    }


@pytest.fixture
def controller() -> list[Replicas]:
    return [Replicas(lambda: NOW)]


def instances(store: Objects) -> list[Obj]:
    return [*store.list(INSTANCE, Selection(KEY.namespace)).items]


def sized(store: Objects, replicas: int) -> None:
    store.patch(REPLICA_SET, KEY, {"spec": {"replicas": replicas}})


def becomes(store: Objects, name: str, phase: str, *, ready: bool = False) -> None:
    conditions = [{"type": "Ready", "status": "True"}] if ready else []
    change = {"status": {"phase": phase, "conditions": conditions}}
    store.patch(INSTANCE, Key(name, KEY.namespace), change, "status")


def status(store: Objects) -> Obj:
    return meta.status(store.get(REPLICA_SET, KEY))


@pytest.mark.parametrize("cut", [1, 2, 3, 100])
def test_a_crash_after_any_action_makes_none_too_many(
    store: Objects, controller: list[Replicas], cut: int
) -> None:
    store.create(REPLICA_SET, replica_set(3))

    settled(store, controller, cut)

    assert len(instances(store)) == 3
    assert status(store) == {"replicas": 3, "readyReplicas": 0, "labelSelector": "app=web", "conditions": []}


def test_where_no_number_is_said_there_is_one(store: Objects, controller: list[Replicas]) -> None:
    store.create(REPLICA_SET, replica_set())

    settled(store, controller)

    (only,) = instances(store)
    assert meta.labels(only) == LABELS
    assert meta.name(only).startswith("web-")


def test_those_that_do_not_run_go_first(store: Objects, controller: list[Replicas]) -> None:
    store.create(REPLICA_SET, replica_set(3))
    settled(store, controller)
    _, scheduled, up = (meta.name(each) for each in instances(store))
    becomes(store, scheduled, "Running")
    becomes(store, up, "Running", ready=True)

    sized(store, 2)
    settled(store, controller)
    assert {meta.name(each) for each in instances(store)} == {scheduled, up}
    sized(store, 1)
    settled(store, controller)

    assert [meta.name(each) for each in instances(store)] == [up]
    assert (status(store)["replicas"], status(store)["readyReplicas"]) == (1, 1)


def test_one_that_is_over_is_replaced(store: Objects, controller: list[Replicas]) -> None:
    store.create(REPLICA_SET, replica_set(1))
    settled(store, controller)
    (first,) = instances(store)

    becomes(store, meta.name(first), "Failed")
    settled(store, controller)

    (second,) = instances(store)
    assert meta.uid(second) != meta.uid(first)


def test_a_paused_set_makes_and_takes_none(store: Objects, controller: list[Replicas]) -> None:
    store.create(REPLICA_SET, replica_set(2, paused=True))

    settled(store, controller)

    assert instances(store) == []
    assert [(each["type"], each["status"]) for each in status(store)["conditions"]] == [
        ("ReplicaPaused", "True")
    ]


def test_many_are_made_a_few_at_a_time(store: Objects, controller: list[Replicas]) -> None:
    store.create(REPLICA_SET, replica_set(BURST + 2))
    world = controller[0].gather(store, KEY)
    assert world is not None

    made = [each for each in controller[0].decide(world).actions if isinstance(each, CreateOrExplain)]

    assert len(made) == BURST


def test_what_the_server_refuses_is_said_and_tried_again(store: Objects, controller: list[Replicas]) -> None:
    full = {"hard": {"count/virtualmachineinstances.kubevirt.io": "1"}}
    store.create(RESOURCE_QUOTA, builders.some(RESOURCE_QUOTA, "few", spec=full))
    store.create(REPLICA_SET, replica_set(2))

    with pytest.raises(Forbidden):
        settled(store, controller)

    (said,) = status(store)["conditions"]
    assert (said["type"], said["reason"]) == ("ReplicaFailure", "FailedCreate")
    assert "exceeded quota: few" in said["message"]
    store.delete(RESOURCE_QUOTA, Key("few", KEY.namespace))
    settled(store, controller)
    assert (len(instances(store)), status(store)["conditions"]) == (2, [])


@pytest.mark.parametrize(
    ("change", "message", "field"),
    [
        ({"template": None}, "missing virtual machine template.", "spec.template"),
        ({"selector": {"matchLabels": {"app": "db"}}}, "selector does not match labels.", "spec.selector"),
        ({"selector": {}}, "selector does not match labels.", "spec.selector"),
        (
            {"selector": {"matchExpressions": [{"key": "app", "operator": "Near"}]}},
            '"Near" is not a valid label selector operator',
            "spec.selector",
        ),
        (
            {"selector": {"matchExpressions": [{"key": "app", "operator": "In"}]}},
            "values of app In: expected some",
            "spec.selector",
        ),
        ({"replicas": -1}, "spec.replicas must be 0 or more, found -1", "spec.replicas"),
    ],
)
def test_what_is_wrong_is_said_in_kubevirts_words(change: Obj, message: str, field: str) -> None:
    (cause,) = rules.causes(replica_set(**change), None)

    assert (cause.message, cause.field) == (message, field)


def test_what_fits_is_admitted() -> None:
    expressions = [
        {"key": "app", "operator": "NotIn", "values": ["db"]},
        {"key": "app", "operator": "Exists"},
    ]

    assert rules.causes(replica_set(2), None) == ()
    assert rules.causes(replica_set(selector={"matchExpressions": expressions}), None) == ()
