"""A custom kind's structural schema: what is pruned, what is filled in, what is refused and in which words. Pure.

https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema
"""

import copy
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, Final

import jsonschema_rs
import orjson

from diskyard.api.meta import Obj
from diskyard.errors import Cause
from standalone.store import fields, validations
from standalone.store.formats import FORMATS

Node = Mapping[str, Any]

MOST_CAUSES: Final = 20
_ALWAYS: Final = ("apiVersion", "kind", "metadata")
_KEEPS: Final = "x-kubernetes-preserve-unknown-fields"
_INT_OR_STRING: Final = "x-kubernetes-int-or-string"
_EMBEDDED: Final = "x-kubernetes-embedded-resource"
_COPIED: Final = (
    "required", "enum", "pattern", "minimum", "maximum", "multipleOf",
    "minLength", "maxLength", "minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties",
)  # fmt: skip
_EXCLUSIVE: Final = {"minimum": "exclusiveMinimum", "maximum": "exclusiveMaximum"}
"""In OpenAPI 3.0 a flag beside the limit, in JSON schema a limit of its own."""
_COMBINED: Final = ("allOf", "anyOf", "oneOf")


class Schema:
    """One structural schema, compiled at its first use."""

    def __init__(self, openapi: Node) -> None:
        self.openapi = openapi

    def pruned(self, obj: Obj) -> tuple[Obj, list[str]]:
        """The object without fields that the schema does not know, and the paths of those."""
        unknown: list[str] = []
        kept = {field: obj[field] for field in _ALWAYS if field in obj}
        rest = {field: value for field, value in obj.items() if field not in _ALWAYS}
        return kept | _pruned(rest, self.openapi, "", unknown), unknown

    def defaulted(self, obj: Obj) -> Obj:
        """The object with the schema's defaults where fields are missing."""
        result: Obj = _defaulted(obj, self.openapi)
        return result

    def causes(self, obj: Obj) -> list[Cause]:
        """What is wrong with the object, as Kubernetes says it."""
        found = []
        for error in self._validator.iter_errors(obj):
            found.append(_cause(error))
            if len(found) == MOST_CAUSES:
                break
        return found

    def broken(self, obj: Obj, old: Obj | None) -> list[Cause]:
        """Which of the schema's own rules an object of the right shape breaks, be they about itself or its change."""
        found = list(_twice(obj, self.openapi, "")) if self._told_apart else []
        if self._rules:
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
        schema = _json_schema(self.openapi, top=True)
        return jsonschema_rs.Draft7Validator(schema, formats=dict(FORMATS), validate_formats=True)


def _pruned(value: Any, node: Node, path: str, unknown: list[str]) -> Any:
    if isinstance(value, list):
        items = node.get("items") or {_KEEPS: True}
        return [_pruned(item, items, f"{path}[{i}]", unknown) for i, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    properties, more = node.get("properties", {}), node.get("additionalProperties")
    result = {}
    for field, inner in value.items():
        place = f"{path}.{field}" if path else field
        if field in properties:
            result[field] = _pruned(inner, properties[field], place, unknown)
        elif isinstance(more, Mapping):
            result[field] = _pruned(inner, more, place, unknown)
        elif node.get(_KEEPS) or more is True or (node.get(_EMBEDDED) and field in _ALWAYS):
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
        if "default" in inner and (
            field not in result or (result[field] is None and not inner.get("nullable"))
        ):
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
        seen: set[str] = set()
        for index, item in enumerate(value):
            place = f"{path}[{index}]"
            if node.get(fields.LIST_TYPE) in ("set", "map"):
                element = fields.element_of(item, node, index)
                if element in seen:
                    yield Cause(f"Duplicate value: {element[2:]}", place, "FieldValueDuplicate")
                seen.add(element)
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


def _cause(error: Any) -> Cause:
    path, kind = _path(error.instance_path), {**error.kind.as_dict(), "name": error.kind.name}
    name, value, limit = kind["name"], error.instance, kind.get("limit")
    if name == "required":
        return Cause("Required value", f"{path}.{kind['property']}".lstrip("."), "FieldValueRequired")
    if name == "type":
        wanted = next((word for word in _words(kind["types"]) if word != "null"), "object")
        said = _type(value)
        text = f'Invalid value: "{said}": {path} in body must be of type {wanted}: "{said}"'
        return Cause(text, path, "FieldValueTypeInvalid")
    if name == "enum":
        options = ", ".join(_shown(option) for option in kind["options"] if option is not None)
        return Cause(
            f"Unsupported value: {_shown(value)}: supported values: {options}", path, "FieldValueNotSupported"
        )
    if name == "format":
        text = f"{path} in body must be of type {kind['format']}: {_shown(value)}"
        return Cause(f"Invalid value: {_shown(value)}: {text}", path)
    if name == "maxLength":
        return Cause(f"Too long: may not be more than {limit} bytes", path, "FieldValueTooLong")
    if name == "maxItems":
        return Cause(f"Too many: {len(value)}: must have at most {limit} items", path, "FieldValueTooMany")
    return Cause(f"Invalid value: {_shown(value)}: {path} in body {_should(kind, error)}", path)


def _should(kind: Mapping[str, Any], error: Any) -> str:
    limit = kind.get("limit")
    said = {
        "pattern": f"should match '{kind.get('pattern')}'",
        "minimum": f"should be greater than or equal to {limit}",
        "maximum": f"should be less than or equal to {limit}",
        "exclusiveMinimum": f"should be greater than {limit}",
        "exclusiveMaximum": f"should be less than {limit}",
        "minLength": f"should be at least {limit} chars long",
        "minItems": f"should have at least {limit} items",
        "minProperties": f"should have at least {limit} properties",
        "maxProperties": f"should have at most {limit} properties",
        "uniqueItems": "shouldn't contain duplicates",
        "anyOf": "must validate at least one schema (anyOf)",
        "oneOf": "must validate one and only one schema (oneOf)",
    }
    return said.get(kind["name"], str(error.message))


def _path(parts: list[str | int]) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
    return text.lstrip(".")


def _words(types: Any) -> Iterator[str]:
    yield from ([types] if isinstance(types, str) else types)


def _type(value: Any) -> str:
    names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return names.get(type(value), "null")


def _shown(value: Any) -> str:
    return orjson.dumps(value).decode()[:300]
