"""What start, stop and restart do to a machine in each state: KubeVirt's rules and words."""

from typing import Any

import pytest

from diskyard.api.meta import INSTANCE, MACHINE, Obj
from diskyard.errors import ApiError, BadRequest, Conflict, Forbidden
from tests import builders
from vm_runtime.controller import subresources
from vm_runtime.controller.subresources import VERBS, check_order, world

PREFIX = 'Operation cannot be fulfilled on virtualmachine.kubevirt.io "vm": '


def machine(strategy: str) -> Obj:
    obj = builders.stored(builders.machine("vm"), uid="machine")
    obj["spec"].pop("running", None)
    obj["spec"]["runStrategy"] = strategy
    return obj


def instance(phase: str, *conditions: str) -> Obj:
    obj = builders.stored(builders.instance("vm", terminationGracePeriodSeconds=30), uid="instance")
    told = [{"type": each, "status": "True"} for each in conditions]
    return {**obj, "status": {"phase": phase, "conditions": told}}


def done(verb: str, strategy: str, phase: str = "", **options: Any) -> list[tuple[str, Obj]]:
    """(kind, what is changed) of each action; no phase: no instance."""
    asked = world(machine(strategy), instance(phase) if phase else None)
    actions = VERBS[verb](asked, options)
    found = []
    for each in actions:
        assert isinstance(each, subresources.Merge)
        patch = {key: value for key, value in each.patch.items() if key != "metadata"}
        found.append((each.kind.kind, patch))
    return found


START = {"action": "Start"}
STOP = {"action": "Stop", "uid": "instance"}


def requests(*wanted: Obj) -> Obj:
    return {"status": {"stateChangeRequests": list(wanted)}}


@pytest.mark.parametrize(
    ("verb", "strategy", "phase", "change"),
    [
        ("start", "Halted", "", {"spec": {"runStrategy": "Always"}}),
        ("start", "Manual", "", requests(START)),
        ("start", "Manual", "Succeeded", requests(STOP, START)),
        ("start", "Manual", "Failed", requests(STOP, START)),
        ("start", "RerunOnFailure", "", requests(START)),
        ("start", "RerunOnFailure", "Succeeded", requests(STOP, START)),
        ("stop", "Always", "Running", {"spec": {"runStrategy": "Halted"}}),
        ("stop", "Always", "Scheduling", {"spec": {"runStrategy": "Halted"}}),
        ("stop", "Once", "Running", {"spec": {"runStrategy": "Halted"}}),
        ("stop", "Manual", "Running", requests(STOP)),
        ("stop", "RerunOnFailure", "Running", requests(STOP)),
        ("restart", "Always", "Running", requests(STOP, START)),
        ("restart", "Manual", "Running", requests(STOP, START)),
        ("restart", "RerunOnFailure", "Running", requests(STOP, START)),
    ],
)
def test_what_is_asked_for_changes_spec_or_status(verb: str, strategy: str, phase: str, change: Obj) -> None:
    assert done(verb, strategy, phase) == [("VirtualMachine", change)]


@pytest.mark.parametrize(
    ("verb", "strategy", "phase", "why"),
    [
        ("start", "Always", "", "Always does not support manual start requests"),
        ("start", "Once", "", "Once does not support manual start requests"),
        ("start", "Halted", "Running", "VM is already running"),
        ("start", "Manual", "Running", "VM is already running"),
        (
            "start",
            "RerunOnFailure",
            "Failed",
            "RerunOnFailure does not support starting VM from failed state",
        ),
        ("stop", "Always", "", "VM is not running"),
        ("stop", "Manual", "Succeeded", "VM is not running"),
        ("stop", "Halted", "Running", "Halted only supports manual stop requests with a shorter graceperiod"),
        ("restart", "Halted", "Running", "RunStategy Halted does not support manual restart requests"),
        ("restart", "Once", "Running", "RunStategy Once does not support manual restart requests"),
        ("restart", "Always", "", "VM is not running"),
    ],
)
def test_what_does_not_fit_the_state_is_a_conflict_in_kubevirts_words(
    verb: str, strategy: str, phase: str, why: str
) -> None:
    with pytest.raises(Conflict) as refusal:
        done(verb, strategy, phase)

    assert str(refusal.value) == PREFIX + why


def test_the_old_switch_is_turned_where_the_machine_uses_it() -> None:
    obj = builders.stored(builders.machine("vm", running=False))
    obj["spec"].pop("runStrategy", None)

    (action,) = subresources.start(world(obj, None), {})

    assert isinstance(action, subresources.Merge)
    assert action.patch["spec"] == {"running": True}


PAUSED = {"action": "Start", "data": {"paused": "true"}}


@pytest.mark.parametrize(
    ("strategy", "phase", "changes"),
    [
        ("Manual", "", [requests(PAUSED)]),
        ("Manual", "Succeeded", [requests(STOP, PAUSED)]),
        ("Halted", "", [requests(PAUSED), {"spec": {"runStrategy": "Always"}}]),
    ],
)
def test_a_paused_start_is_a_request_that_says_so(strategy: str, phase: str, changes: list[Obj]) -> None:
    assert [change for _, change in done("start", strategy, phase, paused=True)] == changes


def test_a_change_only_fits_the_machine_that_was_read() -> None:
    obj = machine("Halted")

    (action,) = subresources.start(world(obj, None), {})

    assert isinstance(action, subresources.Merge)
    assert action.kind == MACHINE
    read = obj["metadata"]
    assert action.patch["metadata"] == {"resourceVersion": read["resourceVersion"], "uid": "machine"}


def test_a_shorter_grace_is_the_instances_first() -> None:
    shorter = ("VirtualMachineInstance", {"spec": {"terminationGracePeriodSeconds": 0}})

    assert done("stop", "Always", "Running", gracePeriod=0)[0] == shorter
    assert done("stop", "Halted", "Running", gracePeriod=0) == [shorter]
    assert done("restart", "Always", "Running", gracePeriodSeconds=0)[0] == shorter


@pytest.mark.parametrize(
    ("verb", "options", "words"),
    [
        ("restart", {"gracePeriodSeconds": 5}, "only gracePeriod=0 is supported"),
        ("stop", {"gracePeriod": -1}, "must be a number of seconds of 0 or more, found -1"),
        ("restart", {"gracePeriodSeconds": "soon"}, "must be a number of seconds of 0 or more"),
    ],
)
def test_options_that_cannot_be_met_are_refused(verb: str, options: Obj, words: str) -> None:
    with pytest.raises(BadRequest, match=words):
        done(verb, "Manual", "" if verb == "start" else "Running", **options)


@pytest.mark.parametrize(
    ("verb", "phase", "conditions", "why"),
    [
        ("pause", "Running", (), ""),
        ("pause", "Scheduling", (), "VMI is not running"),
        ("pause", "Running", ("Paused",), "VMI is already paused"),
        ("unpause", "Running", ("Paused",), ""),
        ("unpause", "Running", (), "VMI is not paused"),
        ("softreboot", "Running", ("Paused",), "VMI is paused"),
        ("reset", "Succeeded", (), "VMI is not running"),
    ],
)
def test_an_order_fits_the_guests_state(verb: str, phase: str, conditions: tuple[str, ...], why: str) -> None:
    try:
        check_order(instance(phase, *conditions), verb)
        said = ""
    except ApiError as refusal:
        said = str(refusal)

    assert said.endswith(why)
    assert bool(said) == bool(why)
    assert INSTANCE.singular in said or not why


def test_a_guest_whose_liveness_is_probed_is_not_paused() -> None:
    obj = instance("Running")
    obj["spec"]["livenessProbe"] = {"httpGet": {"port": 80}}

    with pytest.raises(Forbidden) as refusal:
        check_order(obj, "pause")

    assert str(refusal.value) == (
        'virtualmachineinstance.kubevirt.io "vm" is forbidden: Pausing VMIs with LivenessProbe is currently not '
        "supported"
    )
    check_order(obj, "reset")
    obj["spec"]["livenessProbe"] = {"guestAgentPing": {}}
    check_order(obj, "pause")


def test_what_hears_no_button_and_has_no_agent_is_not_rebooted_softly() -> None:
    obj = instance("Running")
    obj["spec"]["domain"]["features"] = {"acpi": {"enabled": False}}

    with pytest.raises(Conflict, match="neither have the agent connected"):
        check_order(obj, "softreboot")
