"""Why no node takes a pod, in the scheduler's sentences."""

from datetime import UTC, datetime
from typing import Any

import pytest

from diskyard.api.names.kubernetes import KVM_DEVICE
from standalone.node import schedule
from standalone.node.schedule import Claim, Node
from tests.builders import claim, pod, stored

NODE = Node("here", {"disk": "fast"}, frozenset({KVM_DEVICE}))
PENDING = stored(claim("disk")) | {"status": {"phase": "Pending"}}
BOUND = stored(claim("disk")) | {"status": {"phase": "Bound"}}
DYING = stored(claim("disk"), deletionTimestamp="2026-11-21T12:00:00Z")


def wanting(device: str) -> dict[str, Any]:
    return {"containers": [{"name": "main", "resources": {"limits": {device: "1"}}}]}


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
        (wanting(KVM_DEVICE), [], ""),
        (wanting("example.com/gpu"), [], "1 Insufficient example.com/gpu."),
    ],
)
def test_obstacle(spec: dict[str, Any], claims: list[Claim], sentence: str) -> None:
    found = schedule.obstacle(pod("one", **spec), claims, NODE)

    assert found.removeprefix("0/1 nodes are available: ") == sentence


def test_a_claim_made_a_moment_ago_is_no_reason_to_complain() -> None:
    noon = datetime(2026, 11, 21, 12, tzinfo=UTC)

    assert Claim("disk", PENDING).fresh(noon.replace(second=1))
    assert not Claim("disk", PENDING).fresh(noon.replace(second=20))


def test_a_waiting_claim_is_told_of_its_node_once() -> None:
    told = stored(claim("told"), annotations={"volume.kubernetes.io/selected-node": "here"})
    claims = [Claim("disk", PENDING, waits=True), Claim("told", told, waits=True), Claim("bound", BOUND)]

    assert schedule.unselected(claims, NODE) == [PENDING]
