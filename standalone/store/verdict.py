"""What a validator finds wrong, as Kubernetes says it: an error -> causes. Pure.

Words and reasons are those of `k8s.io/kube-openapi/pkg/validation/validate` and of the API server around it.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson

from diskyard.errors import Cause

_SHOWN: Final = 300
"""So many characters of a value are said back."""


def causes(error: Any) -> Iterator[Cause]:
    """What one error of the validator is: one cause, or those of the alternatives that it broke."""
    path, kind = _path(error.instance_path), {**error.kind.as_dict(), "name": error.kind.name}
    if kind["name"] in ("oneOf", "anyOf"):
        yield _alternative(path, kind)
        for inner in kind.get("context", ((),))[0]:
            yield from causes(inner)
    else:
        yield _cause(path, kind, error)


def _cause(path: str, kind: Mapping[str, Any], error: Any) -> Cause:
    name, value, limit = kind["name"], error.instance, kind.get("limit")
    if name == "required":
        return Cause("Required value", f"{path}.{kind['property']}".lstrip("."), "FieldValueRequired")
    if name == "type":
        wanted = ",".join(word for word in _words(kind["types"]) if word != "null") or "object"
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
        return Cause(f"Invalid value: {_shown(value)}: {text}", path, "FieldValueTypeInvalid")
    if name == "maxLength":
        return Cause(f"Too long: may not be more than {limit} bytes", path, "FieldValueTooLong")
    if name in ("maxItems", "maxProperties"):
        return Cause(f"Too many: {len(value)}: must have at most {limit} items", path, "FieldValueTooMany")
    shown = "0" if name == "minProperties" else _shown(value)
    return Cause(f"Invalid value: {shown}: {path} in body {_should(kind, error)}", path)


def _alternative(path: str, kind: Mapping[str, Any]) -> Cause:
    """None of several schemas fits, or more than the one that may."""
    fit = sum(not errors for errors in kind.get("context", ()))
    said = "must validate at least one schema (anyOf)"
    if kind["name"] == "oneOf":
        found = f"Found {fit} valid alternatives" if fit else "Found none valid"
        said = f"must validate one and only one schema (oneOf). {found}"
    return Cause(f'Invalid value: "": "{path}" {said}', "<nil>")


def _should(kind: Mapping[str, Any], error: Any) -> str:
    limit = kind.get("limit")
    said = {
        "pattern": f"should match '{kind.get('pattern')}'",
        "minimum": f"should be greater than or equal to {limit}",
        "maximum": f"should be less than or equal to {limit}",
        "exclusiveMinimum": f"should be greater than {limit}",
        "exclusiveMaximum": f"should be less than {limit}",
        "multipleOf": f"should be a multiple of {kind.get('multiple_of')}",
        "minLength": f"should be at least {limit} chars long",
        "minItems": f"should have at least {limit} items",
        "minProperties": f"should have at least {limit} properties",
        "uniqueItems": "shouldn't contain duplicates",
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
    return orjson.dumps(value).decode()[:_SHOWN]
