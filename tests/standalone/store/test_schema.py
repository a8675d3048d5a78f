"""Structural schemas: pruning, defaults, and refusals in Kubernetes' words."""

from typing import Any

import pytest

from standalone.store.schema import Schema

OBJECT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "required": ["size"],
            "properties": {
                "size": {"x-kubernetes-int-or-string": True},
                "mode": {"type": "string", "enum": ["a", "b"], "default": "a"},
                "names": {"type": "array", "items": {"type": "string", "maxLength": 3}, "maxItems": 2},
                "count": {"type": "integer", "minimum": 1},
                "text": {"type": "string", "pattern": "^x"},
                "maybe": {"type": "string", "nullable": True},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                "map": {
                    "type": "object",
                    "additionalProperties": {
                        "type": "object",
                        "properties": {"on": {"type": "boolean", "default": True}},
                    },
                },
            },
        }
    },
}


def of(spec: Any) -> dict[str, Any]:
    return {"apiVersion": "g/v1", "kind": "K", "metadata": {"name": "x", "odd": 1}, "spec": spec}


def test_unknown_fields_are_dropped_and_told() -> None:
    obj, unknown = Schema(OBJECT).pruned(of({"size": 1, "odd": 1, "map": {"k": {"odd": 2}}}))

    assert obj == of({"size": 1, "map": {"k": {}}})
    assert unknown == ["spec.odd", "spec.map.k.odd"]


def test_fields_that_are_to_be_preserved_stay() -> None:
    spec = {"size": 1, "free": {"any": [{"thing": 1}]}}

    assert Schema(OBJECT).pruned(of(spec)) == (of(spec), [])


def test_defaults_fill_what_is_missing_also_inside_maps() -> None:
    obj = Schema(OBJECT).defaulted(of({"size": 1, "map": {"k": {}}}))

    assert obj["spec"] == {"size": 1, "mode": "a", "map": {"k": {"on": True}}}


def test_a_default_is_not_shared_between_objects() -> None:
    schema = Schema({"properties": {"spec": {"type": "object", "default": {"list": []}}}})
    schema.defaulted({})["spec"]["list"].append(1)

    assert schema.defaulted({}) == {"spec": {"list": []}}


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({}, "spec.size: Required value"),
        (
            {"size": True},
            'spec.size: Invalid value: "boolean": spec.size in body must be of type integer,string: "boolean"',
        ),
        ({"size": 1, "mode": "z"}, 'spec.mode: Unsupported value: "z": supported values: "a", "b"'),
        ({"size": 1, "names": ["long!"]}, "spec.names[0]: Too long: may not be more than 3 bytes"),
        ({"size": 1, "names": ["a", "b", "c"]}, "spec.names: Too many: 3: must have at most 2 items"),
        (
            {"size": 1, "count": 0},
            "spec.count: Invalid value: 0: spec.count in body should be greater than or equal to 1",
        ),
        ({"size": 1, "text": "y"}, "spec.text: Invalid value: \"y\": spec.text in body should match '^x'"),
        (
            {"size": 1, "text": None},
            'spec.text: Invalid value: "null": spec.text in body must be of type string: "null"',
        ),
        ("all", 'spec: Invalid value: "string": spec in body must be of type object: "string"'),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_as_kubernetes_says_it(spec: Any, said: str) -> None:
    assert [f"{cause.field}: {cause.message}" for cause in Schema(OBJECT).causes(of(spec))] == [said]


@pytest.mark.parametrize("spec", [{"size": "1Gi"}, {"size": 1, "maybe": None}, {"size": 0, "names": []}])
def test_what_is_right_is_admitted(spec: Any) -> None:
    assert Schema(OBJECT).causes(of(spec)) == []


def test_the_number_of_causes_is_bounded() -> None:
    names = ["long!"] * 500

    assert len(Schema(OBJECT).causes(of({"size": 1, "names": names}))) == 20
