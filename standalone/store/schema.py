"""A custom kind's structural schema: what is pruned, what is filled in, what is refused and in which words. Pure.

https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema
"""

import copy
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Final

import jsonschema_rs
import orjson

from diskyard.api.meta import Obj
from diskyard.errors import Cause
from standalone.store import fields, kinds, ratchet, validations, verdict
from standalone.store.formats import FORMATS

Node = Mapping[str, Any]

MOST_CAUSES: Final = 20
_ALWAYS: Final = ("apiVersion", "kind", "metadata")
KEEPS: Final = "x-kubernetes-preserve-unknown-fields"
_INT_OR_STRING: Final = "x-kubernetes-int-or-string"
_EMBEDDED: Final = "x-kubernetes-embedded-resource"
_COPIED: Final = (
    "required", "enum", "pattern", "minimum", "maximum", "multipleOf",
    "minLength", "maxLength", "minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties",
)  # fmt: skip
_EXCLUSIVE: Final = {"minimum": "exclusiveMinimum", "maximum": "exclusiveMaximum"}
"""In OpenAPI 3.0 a flag beside the limit, in JSON schema a limit of its own."""
_EMBEDDED_FIELDS: Final[Node] = {"apiVersion": {}, "kind": {}, "metadata": kinds.metadata()}
_BLOCKING: Final = (
    "FieldValueRequired", "FieldValueTooLong", "FieldValueTooMany", "FieldValueNotSupported", "FieldValueTypeInvalid",
)  # fmt: skip
_UNCHECKED: Final = Cause(
    "Invalid value: null: some validation rules were not checked because the object was invalid; correct the "
    "existing errors to complete validation",
    "<nil>",
)
_COMBINED: Final = ("allOf", "anyOf", "oneOf")


class Schema:
    """One structural schema, compiled at its first use."""

    def __init__(self, openapi: Node) -> None:
        self.openapi = openapi

    def pruned(self, obj: Obj, *, nulls: bool = False) -> tuple[Obj, list[str]]:
        """The object without fields that the schema does not know, and the paths of those.

        `nulls`: null stays where there is neither room nor a default for it, to be refused.
        """
        unknown: list[str] = []
        kept = {field: obj[field] for field in _ALWAYS if field in obj}
        rest = {field: value for field, value in obj.items() if field not in _ALWAYS}
        return kept | _pruned(rest, self.openapi, "", unknown, nulls), unknown

    def defaulted(self, obj: Obj) -> Obj:
        """The object with the schema's defaults where fields are missing."""
        result: Obj = _defaulted(obj, self.openapi)
        return result

    def causes(self, obj: Obj, old: Obj | None = None) -> list[Cause]:
        """What has the wrong shape in the object, as Kubernetes says it; `old` is what it was, None: it is new."""
        return _causes(self._validator, obj, old, self.openapi)

    def status_causes(self, obj: Obj, old: Obj) -> list[Cause]:
        """The same of its status alone, whose fields are then called as if nothing were around them."""
        part = self.openapi.get("properties", {}).get("status", {})
        found = _causes(self._status_validator, obj.get("status") or {}, old.get("status"), part)
        return [replace(cause, field=f"status.{cause.field}".rstrip(".")) for cause in found]

    def broken(self, obj: Obj, old: Obj | None, causes: Sequence[Cause] = ()) -> list[Cause]:
        """Which of the schema's own rules an object breaks, be they about itself or its change.

        `causes` is what else is wrong with it: rules may need a shape that it does not have.
        """
        found = list(_twice(obj, self.openapi, "")) if self._told_apart else []
        if self._rules and any(cause.reason in _BLOCKING for cause in (*causes, *found)):
            found.append(_UNCHECKED)
        elif self._rules:
            found += validations.broken(self._rules, obj, old)
        return found[:MOST_CAUSES]

    @cached_property
    def _told_apart(self) -> bool:
        """Whether the schema has lists whose elements must differ."""
        text = orjson.dumps(self.openapi)
        return any(f'"{fields.LIST_TYPE}":"{kind}"'.encode() in text for kind in ("set", "map"))

    @cached_property
    def _rules(self) -> validations.Place | None:
        return validations.place(self.openapi)

    @cached_property
    def _validator(self) -> Any:
        return _validator(self.openapi, top=True)

    @cached_property
    def _status_validator(self) -> Any:
        return _validator(self.openapi.get("properties", {}).get("status", {}), top=False)


def _validator(node: Node, *, top: bool) -> Any:
    schema = _json_schema(node, top=top)
    return jsonschema_rs.Draft7Validator(schema, formats=dict(FORMATS), validate_formats=True)


def _causes(validator: Any, value: Any, old: Any, node: Node) -> list[Cause]:
    """The causes of a validator's errors; what was wrong before, and has not been touched since, is let be."""
    found: list[Cause] = []
    for error in validator.iter_errors(value):
        if old is None or not ratchet.untouched(error.instance_path, value, old, node):
            found += verdict.causes(error)
        if len(found) >= MOST_CAUSES:
            break
    return found[:MOST_CAUSES]


def _pruned(value: Any, node: Node, path: str, unknown: list[str], nulls: bool) -> Any:
    if isinstance(value, list):
        items = node.get("items") or {KEEPS: True}
        return [_pruned(item, items, f"{path}[{i}]", unknown, nulls) for i, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    more = node.get("additionalProperties")
    properties = (
        {**_EMBEDDED_FIELDS, **node.get("properties", {})}
        if node.get(_EMBEDDED)
        else node.get("properties", {})
    )
    result = {}
    for field, inner in value.items():
        place = f"{path}.{field}" if path else field
        if field in properties:
            known = properties[field]
            if inner is not None or known.get("nullable") or (nulls and "default" not in known):
                result[field] = _pruned(inner, known, place, unknown, nulls)
        elif isinstance(more, Mapping):
            result[field] = _pruned(inner, more, place, unknown, nulls)
        elif node.get(KEEPS) or more is True:
            result[field] = inner
        else:
            unknown.append(place)
    return result


def _defaulted(value: Any, node: Node) -> Any:
    if isinstance(value, list) and node.get("items"):
        return [_defaulted(item, node["items"]) for item in value]
    if not isinstance(value, dict):
        return value
    result = dict(value)
    more = node.get("additionalProperties")
    for field, inner in node.get("properties", {}).items():
        if "default" in inner and field not in result:
            result[field] = copy.deepcopy(inner["default"])
        if field in result:
            result[field] = _defaulted(result[field], inner)
    if isinstance(more, Mapping):
        known = node.get("properties", {})
        result |= {field: _defaulted(inner, more) for field, inner in result.items() if field not in known}
    return result


def _twice(value: Any, node: Node, path: str) -> Iterator[Cause]:
    """Elements of a set or of a list of named things that are there twice."""
    if isinstance(value, list):
        times: Counter[str] = Counter()
        for index, item in enumerate(value):
            place = f"{path}[{index}]"
            if node.get(fields.LIST_TYPE) in ("set", "map"):
                element = fields.element_of(item, node, index)
                times[element] += 1
                if times[element] == 2:
                    yield Cause(f"Duplicate value: {element[2:]}", place, "FieldValueDuplicate")
            yield from _twice(item, node.get("items") or {}, place)
    elif isinstance(value, dict):
        for name, inner in value.items():
            if isinstance(inner, dict | list):
                yield from _twice(inner, fields.child(node, f"f:{name}"), f"{path}.{name}".lstrip("."))


def _json_schema(node: Node, *, top: bool = False) -> dict[str, Any]:
    """OpenAPI's dialect as JSON schema."""
    result: dict[str, Any] = {keyword: node[keyword] for keyword in _COPIED if keyword in node}
    for limit, exclusive in _EXCLUSIVE.items():
        if node.get(exclusive) is True and limit in result:
            result[exclusive] = result.pop(limit)
    if node.get("format") in FORMATS:
        result["format"] = node["format"]
    if "type" in node and not node.get(_INT_OR_STRING):
        result["type"] = [node["type"], "null"] if node.get("nullable") else node["type"]
    elif node.get(_INT_OR_STRING):
        result["type"] = ["integer", "string"]
    if node.get("nullable") and "enum" in node:
        result["enum"] = [*node["enum"], None]
    if node.get(_EMBEDDED):
        result["required"] = ["apiVersion", "kind", *result.get("required", ())]
    if "properties" in node:
        apart = _ALWAYS if top else ()
        result["properties"] = {f: _json_schema(n) for f, n in node["properties"].items() if f not in apart}
    for keyword in ("items", "additionalProperties", "not"):
        if isinstance(node.get(keyword), Mapping):
            result[keyword] = _json_schema(node[keyword])
    for keyword in _COMBINED:
        if keyword in node and not node.get(_INT_OR_STRING):
            result[keyword] = [_json_schema(inner) for inner in node[keyword]]
    return result
