"""The phase of a pod, as a table; and the shapes that kubectl reads."""

from datetime import UTC, datetime

import pytest

from diskyard.api import meta
from diskyard.api.meta import Obj
from diskyard.api.pod import quality as quality_of
from standalone.node import status
from standalone.node.process import End, Life
from standalone.node.status import View, Wait
from tests.builders import pod, stored

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
RUNS = Life(0, 0, NOON, None)
SUCCEEDED = Life(0, 0, NOON, End(0, "Completed", NOON))
FAILED = Life(0, 0, NOON, End(1, "Error", NOON))
ORDERED = Life(0, 0, None, None)


def some_pod(policy: str, **metadata: object) -> Obj:
    return stored(pod("one", restartPolicy=policy), **metadata)


@pytest.mark.parametrize(
    ("sentence", "policy", "life", "phase"),
    [
        ("nothing has begun", "Never", None, "Pending"),
        ("ordered, not begun", "Never", ORDERED, "Pending"),
        ("it runs", "Never", RUNS, "Running"),
        ("it succeeded", "Never", SUCCEEDED, "Succeeded"),
        ("it failed for good", "Never", FAILED, "Failed"),
        ("it failed and will run again", "OnFailure", FAILED, "Running"),
        ("it succeeded at last", "OnFailure", SUCCEEDED, "Succeeded"),
        ("a service between two lives", "Always", SUCCEEDED, "Running"),
    ],
    ids=lambda value: value if isinstance(value, str) and " " in value else "",
)
def test_phase(sentence: str, policy: str, life: Life | None, phase: str) -> None:
    view = View(some_pod(policy), NOON, "127.1.1.1", {"main": [life] if life else []})

    assert status.phase(view) == phase


def test_a_pod_that_is_deleted_between_two_lives_has_failed() -> None:
    view = View(some_pod("Always", deletionTimestamp="2026-11-21T12:00:00Z"), NOON, "", {"main": [FAILED]})

    assert status.phase(view) == "Failed"


def test_a_terminal_phase_never_changes() -> None:
    over = some_pod("Never") | {"status": {"phase": "Failed"}}

    assert status.phase(View(over, NOON, "", {"main": [SUCCEEDED]})) == "Failed"


def test_a_container_that_waits_keeps_how_it_ended_before() -> None:
    view = View(
        some_pod("Always"), NOON, "", {"main": [FAILED]}, {"main": Wait("CrashLoopBackOff", "in 10 s")}
    )

    container = status.status(view)["containerStatuses"][0]

    assert container["state"] == {"waiting": {"reason": "CrashLoopBackOff", "message": "in 10 s"}}
    assert container["lastState"]["terminated"]["exitCode"] == 1


def test_a_container_of_which_nothing_is_known_is_being_created() -> None:
    container = status.status(View(some_pod("Never"), NOON, "", {}))["containerStatuses"][0]

    assert container["state"] == {"waiting": {"reason": "ContainerCreating"}}
    assert (container["restartCount"], container["ready"], container["started"]) == (0, False, False)


def test_a_condition_keeps_the_time_of_its_last_change() -> None:
    first = some_pod("Never") | {"status": status.status(View(some_pod("Never"), NOON, "", {"main": [RUNS]}))}
    later = NOON.replace(hour=13)

    after = first | {"status": status.status(View(first, later, "", {"main": [SUCCEEDED]}))}

    times = {c["type"]: c["lastTransitionTime"] for c in meta.status(after)["conditions"]}
    assert times["PodScheduled"] == "2026-11-21T12:00:00Z"
    assert times["Ready"] == "2026-11-21T13:00:00Z"


@pytest.mark.parametrize(
    ("resources", "quality"),
    [
        ({}, "BestEffort"),
        ({"requests": {"memory": "1Gi"}}, "Burstable"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}}, "Guaranteed"),
        ({"limits": {"cpu": "1", "memory": "2Gi"}, "requests": {"memory": "1Gi"}}, "Burstable"),
        ({"limits": {"devices.kubevirt.io/kvm": "1"}}, "BestEffort"),
    ],
)
def test_quality_of_service(resources: Obj, quality: str) -> None:
    assert quality_of({"containers": [{"name": "main", "resources": resources}]}) == quality
