"""Tables as kubectl prints them: ages, columns of CRDs, and the words for pods."""

from datetime import UTC, datetime
from typing import Any

import pytest

from diskyard.api.meta import CORE_KINDS, Obj
from standalone.wire.catalogue import Resource
from standalone.wire.columns import columns
from standalone.wire.jsonpath import found
from standalone.wire.pods import ready, restarts, state
from standalone.wire.table import age, duration, of_definition, table
from tests import builders

CONDITIONS = {"status": {"conditions": [{"type": "Paused"}, {"type": "Ready", "status": "True"}]}}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"), (-1, "0s"), (0, "0s"), (119, "119s"), (120, "2m"), (330, "5m30s"), (600, "10m"),
        (10_799, "179m"), (10_800, "3h"), (27_000, "7h30m"), (86_400, "24h"), (172_800, "2d"),
        (180_000, "2d2h"), (86_400 * 8, "8d"), (86_400 * 800, "2y70d"), (86_400 * 3650, "10y"),
    ],
)  # fmt: skip
def test_an_age_is_told_in_few_letters(seconds: int, text: str) -> None:
    assert duration(seconds) == text


def test_an_age_is_unknown_without_a_time() -> None:
    now = datetime(2026, 11, 21, 12, 0, 42, tzinfo=UTC)

    assert age("2026-11-21T12:00:00Z", now) == "42s"
    assert age(None) == age("") == age("yesterday") == "<unknown>"


@pytest.mark.parametrize(
    ("path", "values"),
    [
        (".status.conditions[?(@.type=='Ready')].status", ["True"]),
        ('.status.conditions[?(@.type=="Ready")].status', ["True"]),
        (".status.conditions[0].type", ["Paused"]),
        (".status.conditions[-1].type", ["Ready"]),
        (".status.conditions[*].type", ["Paused", "Ready"]),
        (".status['conditions'][0].type", ["Paused"]),
        (".status.conditions[7].type", []),
        (".spec.anything", []),
        (".status[", []),
    ],
)
def test_a_path_leads_to_its_values(path: str, values: list[Any]) -> None:
    assert found(path, CONDITIONS) == values


def test_dots_in_a_name_are_escaped() -> None:
    labelled = {"metadata": {"labels": {"a.b/c": "d"}}}

    assert found(r".metadata.labels.a\.b/c", labelled) == ["d"]
    assert found(".metadata.labels['a.b/c']", labelled) == ["d"]


def test_a_crds_columns_stand_behind_the_name() -> None:
    asked = [
        {"name": "Phase", "type": "string", "jsonPath": ".status.phase"},
        {"name": "Restarts", "type": "integer", "jsonPath": ".status.restartCount"},
        {"name": "Node", "type": "string", "jsonPath": ".status.node", "priority": 1},
    ]
    obj = builders.stored(builders.data_volume("one") | {"status": {"phase": "Succeeded", "restartCount": 2}})

    shown = table(of_definition(asked), [obj])

    assert [c["name"] for c in shown["columnDefinitions"]] == ["Name", "Phase", "Restarts", "Node"]
    assert [c["priority"] for c in shown["columnDefinitions"]] == [0, 0, 0, 1]
    assert shown["rows"][0]["cells"] == ["one", "Succeeded", 2, None]
    assert shown["rows"][0]["object"]["kind"] == "PartialObjectMetadata"


@pytest.mark.parametrize("kind", CORE_KINDS, ids=str)
def test_an_object_with_nothing_in_it_has_a_row(kind: Any) -> None:
    shown = table(columns(Resource(kind, kind.version)), [builders.some(kind, "bare")])

    assert len(shown["rows"][0]["cells"]) == len(shown["columnDefinitions"])


def container(**state_: Obj) -> Obj:
    return {"name": "main", "ready": "running" in state_, "restartCount": 0, "state": state_}


@pytest.mark.parametrize(
    ("status", "word"),
    [
        ({"phase": "Pending"}, "Pending"),
        ({"phase": "Running", "containerStatuses": [container(running={})]}, "Running"),
        ({"phase": "Pending", "containerStatuses": [container(waiting={"reason": "ErrImagePull"})]}, "ErrImagePull"),
        ({"phase": "Succeeded", "containerStatuses": [container(terminated={"reason": "Completed"})]}, "Completed"),
        ({"phase": "Failed", "containerStatuses": [container(terminated={"exitCode": 3})]}, "ExitCode:3"),
        ({"phase": "Failed", "containerStatuses": [container(terminated={"signal": 9})]}, "Signal:9"),
        ({"phase": "Failed", "reason": "Evicted"}, "Evicted"),
        ({"phase": "Pending", "initContainerStatuses": [container(running={})]}, "Init:0/1"),
        ({"phase": "Pending", "initContainerStatuses": [container(terminated={"exitCode": 1})]}, "Init:ExitCode:1"),
        ({"phase": "Pending", "initContainerStatuses": [container(waiting={"reason": "CrashLoopBackOff"})]},
         "Init:CrashLoopBackOff"),
        ({"phase": "Running", "initContainerStatuses": [container(terminated={"exitCode": 0})],
          "containerStatuses": [container(running={})]}, "Running"),
    ],
)  # fmt: skip
def test_a_pods_state_is_its_most_telling_word(status: Obj, word: str) -> None:
    pod = builders.pod("one", initContainers=[{"name": "first"}]) | {"status": status}

    assert state(pod) == word


def test_a_pod_that_goes_is_terminating() -> None:
    pod = builders.stored(builders.pod("one"), deletionTimestamp="2026-11-21T12:00:00Z")

    assert state(pod) == "Terminating"


def test_ready_containers_and_restarts_are_counted() -> None:
    ended = {"terminated": {"finishedAt": "2020-01-01T00:00:00Z"}}
    pod = builders.pod("one") | {
        "status": {"containerStatuses": [container(running={}) | {"restartCount": 3, "lastState": ended}]}
    }

    assert ready(pod) == "1/1"
    assert restarts(pod).startswith("3 (6y")
    assert restarts(builders.pod("two")) == "0"
