"""Rules in CEL, formats, and lists whose elements must differ."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from diskyard.api import meta
from diskyard.api.meta import CRD, STORAGE_PROFILE, Key, Kind, Obj
from diskyard.errors import Invalid
from standalone.store.formats import FORMATS
from standalone.store.objects import Objects
from standalone.store.schema import Schema
from tests import builders

WIDGET = Kind("tests.example", "v1", "Widget", "widgets")
PAIR = {"type": "object", "properties": {"name": {"type": "string"}, "size": {"type": "integer"}}}
SPEC: dict[str, Any] = {
    "type": "object",
    "x-kubernetes-validations": [
        {"rule": "self.low <= self.high", "message": "low must not exceed high"},
        {"rule": "self.low >= oldSelf.low", "messageExpression": "'low was ' + string(oldSelf.low)"},
        {"rule": "!has(self.secret)", "reason": "FieldValueForbidden", "fieldPath": ".secret"},
    ],
    "properties": {
        "low": {"type": "integer", "x-kubernetes-validations": [{"rule": "self != 13"}]},
        "high": {"type": "integer"},
        "secret": {"type": "string"},
        "when": {"type": "string", "format": "date-time"},
        "dash-ed": {"type": "string"},
        "pairs": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
            "items": {**PAIR, "x-kubernetes-validations": [{"rule": "self.size >= oldSelf.size"}]},
        },
        "names": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
    },
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Objects]:
    with Objects.open(tmp_path / "store.db") as opened:
        opened.create(CRD, definition(SPEC))
        yield opened


def definition(spec: Obj) -> Obj:
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}},
    }
    names = {"kind": "Widget", "plural": "widgets"}
    wanted = {"group": "tests.example", "scope": "Namespaced", "names": names, "versions": [version]}
    return builders.some(CRD, "widgets.tests.example", spec=wanted)


def widget(**spec: Any) -> Obj:
    return builders.some(WIDGET, "one", spec={"low": 1, "high": 2, **spec})


@pytest.mark.parametrize(
    ("spec", "field", "said"),
    [
        ({"low": 3}, "spec", 'Invalid value: "object": low must not exceed high'),
        ({"low": 13, "high": 14}, "spec.low", 'Invalid value: "integer": failed rule: self != 13'),
        ({"secret": "x"}, "spec.secret", "Forbidden: failed rule: !has(self.secret)"),
        ({"names": ["a", "b", "a"]}, "spec.names[2]", 'Duplicate value: "a"'),
        ({"pairs": [{"name": "a"}, {"name": "a"}]}, "spec.pairs[1]", 'Duplicate value: {"name":"a"}'),
        (
            {"when": "soon"},
            "spec.when",
            'Invalid value: "soon": spec.when in body must be of type date-time: "soon"',
        ),
    ],
)
def test_what_breaks_a_rule_is_refused(store: Objects, spec: Obj, field: str, said: str) -> None:
    with pytest.raises(Invalid) as caught:
        store.create(WIDGET, widget(**spec))

    causes = [(cause.field, cause.message) for cause in caught.value.causes if cause.field != "<nil>"]
    assert causes == [(field, said)]


def test_a_rule_about_a_change_looks_at_what_was(store: Objects) -> None:
    store.create(WIDGET, widget(pairs=[{"name": "a", "size": 1}, {"name": "b", "size": 5}]))
    key = Key("one", "default")

    store.patch(WIDGET, key, {"spec": {"pairs": [{"name": "b", "size": 6}, {"name": "c", "size": 0}]}})
    with pytest.raises(Invalid, match="low was 1"):
        store.patch(WIDGET, key, {"spec": {"low": 0}})
    with pytest.raises(Invalid, match=r"spec\.pairs\[1\]"):
        store.patch(WIDGET, key, {"spec": {"pairs": [{"name": "c", "size": 0}, {"name": "b", "size": 5}]}})


def test_a_rule_that_meets_what_is_not_there_refuses_and_says_so(store: Objects) -> None:
    with pytest.raises(Invalid, match="no such key: high evaluating rule: low must not exceed high"):
        store.create(WIDGET, builders.some(WIDGET, "one", spec={"low": 1}))


def test_fields_that_cel_cannot_name_have_other_names_there() -> None:
    rules = [{"rule": "self.dash__dash__ed == 'x' && self.__namespace__ == 'y'"}]
    known = {"dash-ed": {"type": "string"}, "namespace": {"type": "string"}}
    schema = Schema({"type": "object", "properties": known, "x-kubernetes-validations": rules})

    assert not schema.broken({"dash-ed": "x", "namespace": "y"}, None)
    assert schema.broken({"dash-ed": "x", "namespace": "z"}, None)


def test_a_rule_that_cannot_be_read_and_was_stored_before_is_passed_over() -> None:
    schema = Schema({"type": "object", "x-kubernetes-validations": [{"rule": "self.?a +"}]})

    assert not schema.broken({}, None)


@pytest.mark.parametrize(
    "rule", ["self.low +", "self.low == nobody", "cel.bind(x, 1, x) == 1", "has(self)", "1 1"]
)
def test_a_definition_whose_rule_cannot_be_read_is_refused(store: Objects, rule: str) -> None:
    spec = {**SPEC, "x-kubernetes-validations": [{"rule": rule}]}

    with pytest.raises(Invalid, match="compilation failed") as refused:
        store.patch(CRD, Key("widgets.tests.example"), {"spec": meta.spec(definition(spec))})

    rules = "spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-validations"
    assert [cause.field for cause in refused.value.causes] == [f"{rules}[0].rule"]


def test_what_was_is_optional_where_the_rule_says_so() -> None:
    rule = {"rule": "oldSelf.?low.orValue(0) <= self.low", "optionalOldSelf": True}
    schema = Schema(
        {"type": "object", "properties": {"low": {"type": "integer"}}, "x-kubernetes-validations": [rule]}
    )

    assert not schema.broken({"low": 1}, None)
    assert not schema.broken({"low": 2}, {"low": 1})
    assert schema.broken({"low": 1}, {"low": 2})


def test_rules_see_texts_in_the_type_of_their_format() -> None:
    rule = {"rule": "self.until > self.since && self.every < duration('1h') && self.ratio * 2.0 == 4.0"}
    known = {"since": "date-time", "until": "date-time", "every": "duration"}
    properties = {name: {"type": "string", "format": one} for name, one in known.items()} | {
        "ratio": {"type": "number"}
    }
    schema = Schema({"type": "object", "properties": properties, "x-kubernetes-validations": [rule]})
    right = {
        "since": "2026-11-21T13:00:00+02:00",
        "until": "2026-11-21T12:00:00Z",
        "every": "30m",
        "ratio": 2,
    }

    assert not schema.broken(right, None)
    assert schema.broken({**right, "every": "90m"}, None)
    assert schema.broken({**right, "until": "2026-11-21T10:00:00Z"}, None)


def test_a_rule_that_costs_too_much_is_looked_at_no_further() -> None:
    dear = {"rule": "self.list.all(a, !self.text.contains('b'))", "message": "too dear"}
    schema = Schema({"type": "object", "x-kubernetes-validations": [dear]})
    text = "a" * 100_000

    assert not schema.broken({"list": [1] * 50, "text": text}, None)
    (cause,) = schema.broken({"list": [1] * 150, "text": text}, None)
    assert cause.message.endswith("due to call cost exceeds limit for rule: too dear")


def test_a_profile_holds_to_the_access_modes_that_there_are(store: Objects) -> None:
    sets = [{"accessModes": ["ReadWriteOften"], "volumeMode": "Block"}]

    with pytest.raises(Invalid, match="Illegal AccessMode"):
        store.create(STORAGE_PROFILE, builders.some(STORAGE_PROFILE, "p", spec={"claimPropertySets": sets}))


def test_an_applied_object_is_held_to_the_rules_too(store: Objects) -> None:
    with pytest.raises(Invalid, match="low must not exceed high"):
        store.acting("a").apply(WIDGET, widget(low=3))

    made = store.acting("a").apply(WIDGET, widget(pairs=[{"name": "a"}]))[0]
    assert 'k:{"name":"a"}' in meta.meta(made)["managedFields"][0]["fieldsV1"]["f:spec"]["f:pairs"]


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("date-time", "2026-11-21T13:00:00.5+01:00", "2026-11-21"),
        ("date", "2026-11-21", "2026-13-01"),
        ("duration", "1h30m", "soon"),
        ("byte", "YQ==", "?"),
        ("ipv4", "10.0.0.1", "10.0.0.256"),
        ("ipv6", "::1", "10.0.0.1"),
        ("cidr", "10.0.0.1/8", "10.0.0.1"),
        ("mac", "02:00:00:00:00:01", "02:00"),
        ("uri", "https://images.example/disk", "disk"),
        ("hostname", "images.example", "-"),
        ("email", "a@b.example", "a"),
        ("uuid4", "7d444840-9dc0-41d1-b245-5ffdce74fad2", "7d444840-9dc0-11d1-b245-5ffdce74fad2"),
    ],
)
def test_a_format_tells_right_from_wrong(name: str, right: str, wrong: str) -> None:
    assert FORMATS[name](right)
    assert not FORMATS[name](wrong)


def test_a_rule_in_words_that_are_not_known_here_stops_nobody() -> None:
    schema = Schema({"type": "object", "x-kubernetes-validations": [{"rule": "[1, 2].all(i, v, i < v)"}]})

    assert schema.broken({}, None) == []
