"""Why no node takes a pod, in the scheduler's sentences."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from diskyard.api.meta import Obj
from diskyard.api.names.kubernetes import KVM_DEVICE
from standalone.node import placement, schedule
from standalone.node.placement import Marks
from standalone.node.schedule import Claim, Node
from tests.builders import claim, pod, stored

NODE = Node("here", {}, frozenset({KVM_DEVICE}), marks=Marks({"disk": "fast", "cores": "8"}))
PENDING = stored(claim("disk")) | {"status": {"phase": "Pending"}}
BOUND = stored(claim("disk")) | {"status": {"phase": "Bound"}}
DYING = stored(claim("disk"), deletionTimestamp="2026-11-21T12:00:00Z")


def wanting(device: str) -> dict[str, Any]:
    return {"containers": [{"name": "main", "resources": {"limits": {device: "1"}}}]}


def affine(*rules: Obj, field: str = "matchExpressions") -> Obj:
    """A pod for the nodes that fulfil all of these; for any, where there are none."""
    required = {"nodeSelectorTerms": [{}, {field: [*rules]}]}
    return {
        "affinity": {
            "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required} if rules else {}
        }
    }


def rule(key: str, operator: str, *values: str) -> Obj:
    return {"key": key, "operator": operator, "values": [*values]}


def named(node: str) -> Obj:
    return affine(rule("metadata.name", "In", node), field="matchFields")


ELSEWHERE = "1 node(s) didn't match Pod's node affinity/selector."


@pytest.mark.parametrize(
    ("spec", "claims", "sentence"),
    [
        ({}, [], ""),
        ({}, [Claim("disk", BOUND)], ""),
        ({}, [Claim("disk", None)], 'persistentvolumeclaim "disk" not found.'),
        ({}, [Claim("disk", DYING)], 'persistentvolumeclaim "disk" is being deleted.'),
        ({}, [Claim("disk", PENDING)], "pod has unbound immediate PersistentVolumeClaims."),
        ({}, [Claim("disk", PENDING, waits=True)], ""),
        ({"nodeSelector": {"disk": "fast"}}, [], ""),
        ({"nodeSelector": {"disk": "slow"}}, [], "1 node(s) didn't match Pod's node affinity/selector."),
        (affine(), [], ""),
        (affine(rule("disk", "In", "fast", "faster")), [], ""),
        (affine(rule("disk", "NotIn", "fast")), [], ELSEWHERE),
        (affine(rule("disk", "Exists"), rule("gpu", "Exists")), [], ELSEWHERE),
        (affine(rule("gpu", "DoesNotExist"), rule("cores", "Gt", "4"), rule("cores", "Lt", "16")), [], ""),
        (affine(rule("cores", "Gt", "8")), [], ELSEWHERE),
        (affine(rule("disk", "Gt", "8")), [], ELSEWHERE),
        (named("here"), [], ""),
        (named("there"), [], ELSEWHERE),
        (wanting(KVM_DEVICE), [], ""),
        (wanting("example.com/gpu"), [], "1 Insufficient example.com/gpu."),
    ],
)
def test_obstacle(spec: dict[str, Any], claims: list[Claim], sentence: str) -> None:
    found = schedule.obstacle(pod("one", **spec), claims, NODE)

    assert found.removeprefix("0/1 nodes are available: ") == sentence


SPOT = {"key": "spot", "value": "yes", "effect": "NoSchedule"}
GOING = {"key": "going", "effect": "NoExecute"}


@pytest.mark.parametrize(
    ("marks", "tolerations", "sentence"),
    [
        (Marks({}, cordoned=True), [], "1 node(s) were unschedulable."),
        (Marks({}, cordoned=True), [{"operator": "Exists"}], ""),
        (Marks({}, (SPOT,)), [], "1 node(s) had untolerated taint {spot: yes}."),
        (Marks({}, (SPOT,)), [{"key": "spot", "value": "yes"}], ""),
        (Marks({}, (SPOT,)), [{"key": "spot", "value": "no"}], "1 node(s) had untolerated taint {spot: yes}."),
        (Marks({}, (SPOT,)), [{"key": "spot", "operator": "Exists", "effect": "NoSchedule"}], ""),
        (Marks({}, (GOING,)), [{"key": "going", "effect": "NoSchedule"}], "1 node(s) had untolerated taint {going: }."),
        (Marks({}, (GOING, SPOT)), [{"key": "going"}, {"key": "spot", "value": "yes"}], ""),
        (Marks({}, ({**SPOT, "effect": "PreferNoSchedule"},)), [], ""),
    ],
)  # fmt: skip
def test_who_is_kept_away_by_a_mark(marks: Marks, tolerations: list[Obj], sentence: str) -> None:
    found = schedule.obstacle(pod("one", tolerations=tolerations), [], replace(NODE, marks=marks))

    assert found.removeprefix("0/1 nodes are available: ") == sentence


def asking(memory: str, phase: str = "Running", **spec: Any) -> Obj:
    containers = [{"name": "main", "resources": {"requests": {"memory": memory}}}]
    return {**pod("one", containers=containers, **spec), "status": {"phase": phase}}


@pytest.mark.parametrize(
    ("memory", "sentence"),
    [
        ("1Gi", ""),
        ("2Gi", "1 Insufficient memory: 2Gi asked for, 1Gi of 4Gi left."),
    ],
)
def test_what_is_promised_to_others_is_not_promised_again(memory: str, sentence: str) -> None:
    room = schedule.room(4 << 30, [asking("3Gi"), asking("3Gi", "Succeeded")])

    found = schedule.obstacle(asking(memory), [], NODE, room=room)

    assert found.removeprefix("0/1 nodes are available: ") == sentence


def test_what_runs_first_counts_only_where_it_takes_more() -> None:
    first = {"initContainers": [{"name": "first", "resources": {"requests": {"memory": "2Gi"}}}]}

    assert schedule.memory(asking("1Gi", **first)) == 2 << 30
    assert schedule.memory(asking("3Gi", **first)) == 3 << 30


def test_what_an_api_server_writes_on_every_new_node_keeps_nobody_away_for_ever() -> None:
    fresh = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}

    found = placement.marks({"spec": {"taints": [fresh, SPOT]}}, {"disk": "fast"})

    assert found == Marks({"disk": "fast"}, (SPOT,))


def test_a_claim_made_a_moment_ago_is_no_reason_to_complain() -> None:
    noon = datetime(2026, 11, 21, 12, tzinfo=UTC)

    assert Claim("disk", PENDING).fresh(noon.replace(second=1))
    assert not Claim("disk", PENDING).fresh(noon.replace(second=20))


def test_a_waiting_claim_is_told_of_its_node_once() -> None:
    told = stored(claim("told"), annotations={"volume.kubernetes.io/selected-node": "here"})
    claims = [Claim("disk", PENDING, waits=True), Claim("told", told, waits=True), Claim("bound", BOUND)]

    assert schedule.unselected(claims, NODE) == [PENDING]
