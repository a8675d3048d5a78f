"""An OpenAPI v2 document as kubectl before 1.29 asks for it: gnostic's protobuf, `openapiv2/OpenAPIv2.proto`. Pure."""

import struct
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import orjson

from diskyard.api.meta import Obj

MEDIA_TYPES: Final = (
    "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
    "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
)
"""As clients ask for it, and as it is called in an answer."""
_MORE: Final = "x-"
_BYTES, _DOUBLE = 2, 1
Field = tuple[int, Callable[[int, Any], bytes]]


def encoded(document: Obj) -> bytes:
    """The document; what kubectl does not read (security, answers) is left out."""
    return _fields(_DOCUMENT, document)


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*found, value))


def _blob(number: int, raw: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(raw)) + raw


def _text(number: int, value: Any) -> bytes:
    return _blob(number, str(value).encode())


def _texts(number: int, values: Any) -> bytes:
    return b"".join(_text(number, value) for value in ([values] if isinstance(values, str) else values))


def _flag(number: int, value: Any) -> bytes:
    return _varint(number << 3) + _varint(int(bool(value)))


def _count(number: int, value: Any) -> bytes:
    return _varint(number << 3) + _varint(int(value))


def _real(number: int, value: Any) -> bytes:
    return _varint(number << 3 | _DOUBLE) + struct.pack("<d", float(value))


def _any(number: int, value: Any) -> bytes:
    """JSON is YAML."""
    return _blob(number, _text(2, orjson.dumps(value).decode()))


def _each(write: Callable[[int, Any], bytes]) -> Callable[[int, Any], bytes]:
    return lambda number, values: b"".join(write(number, value) for value in values)


def _fields(known: Mapping[str, Field], obj: Mapping[str, Any], more: int = 0) -> bytes:
    """A message: the known fields of an object, and its extensions in the field `more`."""
    parts = [known[name][1](known[name][0], value) for name, value in obj.items() if name in known]
    if more:
        extensions = {name: value for name, value in obj.items() if name.startswith(_MORE)}
        parts += [_named(more, name, _any(2, value)) for name, value in extensions.items()]
    return b"".join(parts)


def _named(number: int, name: str, value: bytes) -> bytes:
    return _blob(number, _text(1, name) + value)


def _schema(number: int, schema: Any) -> bytes:
    whole = schema.get("allOf") or []
    if len(whole) == 1:  # a reference with words of its own beside it
        schema = {**{word: value for word, value in schema.items() if word != "allOf"}, **whole[0]}
    return _blob(number, _fields(_SCHEMA, schema, more=31))


def _schemas(number: int, named: Any) -> bytes:
    return _blob(number, b"".join(_named(1, name, _schema(2, schema)) for name, schema in named.items()))


def _further(number: int, value: Any) -> bytes:
    return _blob(number, _flag(2, value) if isinstance(value, bool) else _schema(1, value))


def _parameter(number: int, parameter: Any) -> bytes:
    if parameter["in"] == "body":
        said = _blob(1, _fields(_BODY, parameter))
    else:
        place = {"header": 1, "query": 3, "path": 4}[parameter["in"]]
        table = _QUERY if place == 3 else _PATH
        said = _blob(2, _blob(place, _fields(table, parameter)))
    return _blob(number, _blob(1, said))


def _operation(number: int, operation: Any) -> bytes:
    return _blob(number, _fields(_OPERATION, operation, more=13))


def _paths(number: int, paths: Any) -> bytes:
    items: Iterable[bytes] = (
        _named(2, place, _blob(2, _fields(_ITEM, item))) for place, item in paths.items()
    )
    return _blob(number, b"".join(items))


def _message(known: Mapping[str, Field]) -> Callable[[int, Any], bytes]:
    return lambda number, value: _blob(number, _fields(known, value))


_SCHEMA: Final[Mapping[str, Field]] = {
    "$ref": (1, _text), "format": (2, _text), "title": (3, _text), "description": (4, _text), "default": (5, _any),
    "multipleOf": (6, _real), "maximum": (7, _real), "exclusiveMaximum": (8, _flag), "minimum": (9, _real),
    "exclusiveMinimum": (10, _flag), "maxLength": (11, _count), "minLength": (12, _count), "pattern": (13, _text),
    "maxItems": (14, _count), "minItems": (15, _count), "uniqueItems": (16, _flag), "maxProperties": (17, _count),
    "minProperties": (18, _count), "required": (19, _texts), "enum": (20, _each(_any)),
    "additionalProperties": (21, _further), "type": (22, lambda number, value: _blob(number, _texts(1, value))),
    "items": (23, lambda number, value: _blob(number, _schema(1, value))), "allOf": (24, _each(_schema)),
    "properties": (25, _schemas),
}  # fmt: skip
_QUERY: Final[Mapping[str, Field]] = {
    "required": (1, _flag), "in": (2, _text), "description": (3, _text), "name": (4, _text), "type": (6, _text),
    "minimum": (13, _real), "enum": (21, _each(_any)),
}  # fmt: skip
_PATH: Final[Mapping[str, Field]] = {
    "required": (1, _flag), "in": (2, _text), "description": (3, _text), "name": (4, _text), "type": (5, _text),
}  # fmt: skip
_BODY: Final[Mapping[str, Field]] = {
    "description": (1, _text), "name": (2, _text), "in": (3, _text), "required": (4, _flag), "schema": (5, _schema),
}  # fmt: skip
_OPERATION: Final[Mapping[str, Field]] = {
    "produces": (6, _texts), "consumes": (7, _texts), "parameters": (8, _each(_parameter)),
}  # fmt: skip
_ITEM: Final[Mapping[str, Field]] = {
    **{
        method: (number, _operation)
        for number, method in enumerate(("get", "put", "post", "delete", "options", "head", "patch"), 2)
    },
    "parameters": (9, _each(_parameter)),
}
_DOCUMENT: Final[Mapping[str, Field]] = {
    "swagger": (1, _text), "info": (2, _message({"title": (1, _text), "version": (2, _text)})), "paths": (8, _paths),
    "definitions": (9, _schemas),
}  # fmt: skip
