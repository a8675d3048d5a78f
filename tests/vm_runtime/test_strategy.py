"""Run strategies and the word that says how a machine is: tables."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from diskyard.api import meta
from diskyard.api.machine import Request, StartFailure, machine
from diskyard.api.meta import Obj
from tests import builders
from vm_runtime.controller.printable import View, printable
from vm_runtime.controller.strategy import State, Step, backoff, delay, failure, requests, step

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def instance(phase: str, ran: float | None = None, **metadata: Any) -> Obj:
    """An instance in that phase; `ran`: the seconds that it was running before it failed."""
    obj = builders.stored(builders.instance("vm"), uid="vmi", **metadata)
    times = [] if ran is None else [
        {"phase": "Running", "phaseTransitionTimestamp": meta.timestamp(NOW - timedelta(seconds=ran))},
        {"phase": "Failed", "phaseTransitionTimestamp": meta.timestamp(NOW)},
    ]  # fmt: skip
    return {**obj, "status": {"phase": phase, "phaseTransitionTimestamps": times}}


def state(strategy: str, found: Obj | None = None, before: str = "", **status: Any) -> State:
    obj = builders.stored(builders.machine("vm", runStrategy=strategy))
    return State(machine({**obj, "status": status}), found, before)


START, STOP = [{"action": "Start"}], [{"action": "Stop", "uid": "vmi"}]
RESTART = [*STOP, *START]


@pytest.mark.parametrize(
    ("strategy", "phase", "asked", "wanted"),
    [
        ("Always", None, [], Step.START),
        ("Always", "Running", [], Step.REST),
        ("Always", "Succeeded", [], Step.STOP),
        ("Always", "Failed", [], Step.STOP),
        ("Always", "Running", RESTART, Step.STOP),
        ("RerunOnFailure", None, [], Step.START),
        ("RerunOnFailure", "Succeeded", [], Step.REST),
        ("RerunOnFailure", "Failed", [], Step.STOP),
        ("RerunOnFailure", "Running", STOP, Step.STOP),
        ("RerunOnFailure", "Succeeded", START, Step.STOP),
        ("Manual", None, [], Step.REST),
        ("Manual", None, START, Step.START),
        ("Manual", "Running", [], Step.REST),
        ("Manual", "Running", STOP, Step.STOP),
        ("Manual", "Running", [{"action": "Stop", "uid": "an earlier one"}], Step.REST),
        ("Manual", "Succeeded", [], Step.REST),
        ("Manual", "Succeeded", START, Step.STOP),
        ("Manual", "Failed", [], Step.REST),
        ("Once", None, [], Step.START),
        ("Once", "Succeeded", [], Step.REST),
        ("Once", "Failed", [], Step.REST),
        ("Halted", None, [], Step.REST),
        ("Halted", "Running", [], Step.STOP),
        ("Halted", "Succeeded", [], Step.STOP),
    ],
)
def test_a_strategy_makes_or_takes_its_instance(
    strategy: str, phase: str | None, asked: list[Obj], wanted: Step
) -> None:
    found = None if phase is None else instance(phase)

    assert step(state(strategy, found, stateChangeRequests=asked)) is wanted


def test_rerun_on_failure_does_not_start_again_what_someone_took_away() -> None:
    assert step(state("RerunOnFailure", before="RerunOnFailure")) is Step.REST


def test_rerun_on_failure_remembers_by_a_request_that_it_has_to_start_again() -> None:
    failed = state("RerunOnFailure", instance("Failed"), before="RerunOnFailure")

    asked = requests(failed)

    assert asked == (Request("Start"),)
    gone = state("RerunOnFailure", before="RerunOnFailure", stateChangeRequests=START)
    assert step(gone) is Step.START


@pytest.mark.parametrize(
    ("phase", "asked", "left"),
    [
        (None, RESTART, ("Start",)),
        ("Running", START, ()),
        ("Running", RESTART, ("Stop", "Start")),
        ("Succeeded", START, ("Start",)),
    ],
)
def test_requests_that_are_met_are_dropped(
    phase: str | None, asked: list[Obj], left: tuple[str, ...]
) -> None:
    found = None if phase is None else instance(phase)

    assert tuple(each.action for each in requests(state("Manual", found, stateChangeRequests=asked))) == left


@pytest.mark.parametrize(
    ("failures", "seconds"), [(1, 10), (2, 40), (3, 90), (4, 160), (5, 250), (6, 300), (60, 300)]
)
def test_each_failure_in_a_row_waits_longer(failures: int, seconds: int) -> None:
    assert backoff(failures) == seconds


def test_a_failure_is_counted_once_and_says_when_to_try_again() -> None:
    before = state(
        "Always", instance("Failed", ran=3), startFailure={"consecutiveFailCount": 1, "lastFailedVMIUID": "x"}
    )

    counted = failure(before, NOW)

    assert counted == StartFailure(2, "vmi", "2026-11-21T12:00:40Z")
    again = state(
        "Always",
        instance("Failed", ran=3),
        startFailure={"consecutiveFailCount": 2, "lastFailedVMIUID": "vmi"},
    )
    assert failure(again, NOW).count == 2


@pytest.mark.parametrize(
    ("found", "count"),
    [(instance("Failed", ran=3600), 1), (instance("Running", ran=3600), 0), (instance("Running"), 3),
     (instance("Succeeded"), 0), (None, 3)],
)  # fmt: skip
def test_a_guest_that_ran_well_begins_the_count_anew(found: Obj | None, count: int) -> None:
    before = state("Always", found, startFailure={"consecutiveFailCount": 3, "lastFailedVMIUID": "x"})

    assert failure(before, NOW).count == count


def test_a_start_waits_until_it_may_be_tried_again() -> None:
    waiting = state(
        "Always", startFailure={"consecutiveFailCount": 1, "retryAfterTimestamp": "2026-11-21T12:00:10Z"}
    )

    assert delay(waiting, NOW) == 10
    assert delay(waiting, NOW + timedelta(seconds=11)) == 0


def condition(type_: str, status: str, reason: str = "") -> Obj:
    return {"type": type_, "status": status, "reason": reason}


def volume(phase: str, *conditions: Obj) -> Obj:
    return {**builders.data_volume("disk"), "status": {"phase": phase, "conditions": list(conditions)}}


def pending(*conditions: Obj) -> Obj:
    found = instance("Pending")
    return {**found, "status": {**found["status"], "conditions": list(conditions)}}


UNBOUND = {**builders.claim("disk"), "status": {"phase": "Pending"}}
BOUND = {**builders.claim("disk"), "status": {"phase": "Bound"}}
MISSING = condition("Synchronized", "False", "FailedPvcNotFound")
PAUSED = {**instance("Running"), "status": {"phase": "Running", "conditions": [condition("Paused", "True")]}}


@pytest.mark.parametrize(
    ("strategy", "found", "volumes", "claims", "word"),
    [
        ("Always", instance("Running", deletionTimestamp="2026-11-21T12:00:00Z"), [], [], "Stopping"),
        ("Always", PAUSED, [], [], "Paused"),
        ("Always", instance("Running"), [], [], "Running"),
        ("Always", instance("Running"), [volume("Failed")], [], "Running"),
        ("Always", pending(MISSING), [], [], "ErrorPvcNotFound"),
        ("Always", pending(), [volume("Failed")], [], "DataVolumeError"),
        (
            "Always",
            pending(),
            [volume("ImportInProgress", condition("Running", "False", "Error"))],
            [],
            "DataVolumeError",
        ),
        (
            "Always",
            pending(condition("PodScheduled", "False", "Unschedulable")),
            [],
            [BOUND],
            "ErrorUnschedulable",
        ),
        ("Always", pending(), [volume("ImportInProgress")], [BOUND], "Provisioning"),
        ("Halted", None, [volume("ImportInProgress")], [BOUND], "Provisioning"),
        ("Halted", None, [volume("WaitForFirstConsumer")], [UNBOUND], "Stopped"),
        ("Always", pending(), [volume("WaitForFirstConsumer")], [UNBOUND], "WaitingForVolumeBinding"),
        ("Always", pending(condition("Synchronized", "False", "ErrImagePull")), [], [BOUND], "ErrImagePull"),
        (
            "Always",
            pending(condition("Synchronized", "False", "ImagePullBackOff")),
            [],
            [BOUND],
            "ImagePullBackOff",
        ),
        ("Always", pending(), [volume("Succeeded")], [BOUND], "Starting"),
        ("Always", instance("Scheduled"), [], [BOUND], "Starting"),
        ("Halted", None, [], [BOUND], "Stopped"),
        ("Manual", instance("Succeeded"), [], [BOUND], "Stopped"),
        ("Always", instance("Unknown"), [], [BOUND], "Unknown"),
    ],
)
def test_the_first_word_that_fits_is_said(
    strategy: str, found: Obj | None, volumes: list[Obj], claims: list[Obj], word: str
) -> None:
    assert printable(View(state(strategy, found), volumes, claims)) == word


@pytest.mark.parametrize(("strategy", "word"), [("Always", "CrashLoopBackOff"), ("Halted", "Stopped")])
def test_a_machine_that_failed_and_will_be_started_again_loops(strategy: str, word: str) -> None:
    failed = state(strategy, startFailure={"consecutiveFailCount": 2})

    assert printable(View(failed, [], [BOUND])) == word


def test_a_machine_on_its_way_out_terminates() -> None:
    obj = builders.stored(builders.machine("vm"), deletionTimestamp="2026-11-21T12:00:00Z")

    assert printable(View(State(machine(obj), instance("Running")), [], [])) == "Terminating"
