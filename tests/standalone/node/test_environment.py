"""Values, references and sentences for what is missing."""

from collections.abc import Mapping

import pytest

from diskyard.api.meta import CONFIG_MAP, SECRET, Key, Kind, Obj
from standalone.node.environment import Missing, Reader, command, environment, expanded
from tests.builders import pod, stored

ENTRIES = {(SECRET, "words"): {"first": b"hush"}, (CONFIG_MAP, "plan"): {"A": b"1", "B": b"2"}}
POD = stored(pod("one"), labels={"app": "x"})


def look(kind: Kind, key: Key) -> Mapping[str, bytes] | None:
    return ENTRIES.get((kind, key.name))


def of(*env: Obj, **container: object) -> dict[str, str]:
    return environment(
        {"name": "main", "env": list(env), **container},
        Reader(POD, look, {"status.podIP": "127.1.1.1"}),
    )


def ref(**source: Obj) -> Obj:
    return {"name": "X", "valueFrom": source}


def test_values_refer_to_those_before_them() -> None:
    assert of({"name": "A", "value": "1"}, {"name": "B", "value": "$(A)2 $$(A) $(C)"})["B"] == "12 $(A) $(C)"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("metadata.name", "one"),
        ("metadata.namespace", "default"),
        ("metadata.labels['app']", "x"),
        ("metadata.annotations['no']", ""),
        ("status.podIP", "127.1.1.1"),
    ],
)
def test_fields(path: str, text: str) -> None:
    assert of(ref(fieldRef={"fieldPath": path})) == {"X": text}


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (ref(secretKeyRef={"name": "no", "key": "a"}), 'secret "no" not found'),
        (ref(secretKeyRef={"name": "words", "key": "no"}), "couldn't find key no in Secret default/words"),
        (ref(configMapKeyRef={"name": "no", "key": "a"}), 'configmap "no" not found'),
        (ref(fieldRef={"fieldPath": "spec.no"}), "fieldPath 'spec.no' is not supported"),
        (ref(fileKeyRef={"path": "x"}), "a valueFrom that this node does not know"),
    ],
)
def test_what_is_missing_is_named(source: Obj, sentence: str) -> None:
    with pytest.raises(Missing, match=sentence):
        of(source)


def test_whole_maps_come_with_a_prefix() -> None:
    assert of(envFrom=[{"configMapRef": {"name": "plan"}, "prefix": "P_"}]) == {"P_A": "1", "P_B": "2"}


def test_a_command_is_expanded() -> None:
    container: Obj = {"command": ["run", "$(A)"], "args": ["--to=$(A)"]}

    assert command(container, {"A": "1"}) == ("run", "1", "--to=1")


def test_a_lone_dollar_stays() -> None:
    assert expanded("$HOME costs $5", {}) == "$HOME costs $5"
