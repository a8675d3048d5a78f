"""The schemas of Kubernetes' own kinds, as far as the yard knows them: read from `kinds.txt`, told as OpenAPI.

A line of that file without an indent names a type, `!` after it says that it is owned as a whole. The lines below it
are its fields: name, type, two spaces, what it is. Types: `[T]` a list, `[T:key,key=default]` a list of things told
apart by these fields, `{T}` a set, `<T>` a map; `!` at the end: owned as a whole; `*`: required.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from diskyard.api.meta import (
    CLAIM,
    CRD,
    CSI_DRIVER,
    ENDPOINT_SLICE,
    EVENT,
    LEASE,
    NAMESPACE,
    NODE,
    POD,
    RESOURCE_QUOTA,
    SERVICE,
    STORAGE_CLASS,
    VOLUME,
    Kind,
    Obj,
)
from standalone.store.fields import LIST_TYPE, MAP_KEYS, MAP_TYPE, Node

BLANK: Final[Obj] = {"metadata": {}}
"""An object of which nothing is said yet."""
_FILE: Final = Path(__file__).with_name("kinds.txt")
_SIMPLE: Final[Mapping[str, Node]] = {
    "string": {"type": "string"},
    "boolean": {"type": "boolean"},
    "integer": {"type": "integer", "format": "int64"},
    "bytes": {"type": "string", "format": "byte"},
    "time": {"type": "string", "format": "date-time"},
    "microtime": {"type": "string", "format": "date-time"},
    "quantity": {"x-kubernetes-int-or-string": True},
    "any": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
}
_FIELD: Final = re.compile(r"  (\w+) (\S+?)(\*?)  (.*)")
_LISTED: Final = re.compile(r"\[(\w+)(?::([\w,=]+))?\]")
AROUND: Final[Mapping[str, Obj]] = {
    "apiVersion": {"type": "string", "description": "The version of the API."},
    "kind": {"type": "string", "description": "The kind of the object."},
}
"""What stands in every object and every list."""
_NAMES: Final = {"kind": "", "plural": ""}
_BLANK: Final[Mapping[Kind, Obj]] = {
    NAMESPACE: {"spec": {}, "status": {}},
    NODE: {"spec": {}, "status": {"daemonEndpoints": {"kubeletEndpoint": {"Port": 0}}, "nodeInfo": {}}},
    POD: {"spec": {"containers": None}, "status": {}},
    CLAIM: {"spec": {"resources": {}}, "status": {}},
    VOLUME: {"spec": {}, "status": {}},
    SERVICE: {"spec": {}, "status": {"loadBalancer": {}}},
    STORAGE_CLASS: {"provisioner": ""},
    CSI_DRIVER: {"spec": {}},
    LEASE: {"spec": {}},
    ENDPOINT_SLICE: {"addressType": "", "endpoints": None, "ports": None},
    RESOURCE_QUOTA: {"spec": {}, "status": {}},
    EVENT: {
        "involvedObject": {}, "source": {}, "firstTimestamp": None, "lastTimestamp": None, "eventTime": None,
        "reportingComponent": "", "reportingInstance": "",
    },
    CRD: {
        "spec": {"group": "", "names": _NAMES, "scope": "", "versions": None},
        "status": {"conditions": None, "acceptedNames": _NAMES, "storedVersions": None},
    },
}  # fmt: skip
"""What a Go program sends of an object that says nothing: who says no more than that owns nothing by it."""


def node(kind: Kind) -> Node:
    """The schema of one of Kubernetes' own kinds; of one that the file does not know, no more than what all have."""
    return whole(_types().get(kind.kind, {"type": "object", "x-kubernetes-preserve-unknown-fields": True}))


def whole(schema: Node) -> Node:
    """The schema of an object, with the part that every object has."""
    properties = {**AROUND, **schema.get("properties", {}), "metadata": metadata()}
    return {**schema, "properties": properties}


def blank(kind: Kind) -> Obj:
    """The object of that kind of which nothing is said yet."""
    return {**BLANK, **_BLANK.get(kind, {})}


def metadata() -> Obj:
    """The schema of what every object has."""
    return shared("ObjectMeta")


def shared(name: str) -> Obj:
    """The schema of a part that many kinds have, or of what every kind can be answered with."""
    return _types()[name]


@cache
def _types() -> Mapping[str, Obj]:
    types: dict[str, Obj] = {}
    blocks = dict(_blocks(_FILE.read_text()))
    for name in blocks:
        _define(name, blocks, types)
    return types


def _blocks(text: str) -> Iterator[tuple[str, list[str]]]:
    """Every type by its name, with its first line and those of its fields."""
    lines: list[str] = []
    for line in text.splitlines():
        if line and not line.startswith(" "):
            lines = [line]
            yield line.split()[0], lines
        elif line:
            lines.append(line)


def _define(name: str, blocks: Mapping[str, list[str]], types: dict[str, Obj]) -> Obj:
    if name in types:
        return types[name]
    head, *lines = blocks[name]
    description = head.partition("  ")[2]
    properties, required = {}, []
    for line in lines:
        match = _FIELD.fullmatch(line)
        if match is None:
            raise ValueError(
                f"{_FILE.name}: expected two spaces, a field, its type, what it is; found {line!r}"
            )
        field, spelling, needed, told = match.groups()
        properties[field] = {**_type(spelling, blocks, types), "description": told}
        required += [field] if needed else []
    types[name] = {
        "type": "object",
        **({"description": description} if description else {}),
        "properties": properties,
        **({"required": required} if required else {}),
        **({MAP_TYPE: "atomic"} if head.endswith(" !") else {}),
    }
    return types[name]


def _type(spelling: str, blocks: Mapping[str, list[str]], types: dict[str, Obj]) -> dict[str, Any]:
    if spelling.endswith("!"):
        return {**_type(spelling[:-1], blocks, types), MAP_TYPE: "atomic"}
    if spelling in _SIMPLE:
        return dict(_SIMPLE[spelling])
    if match := _LISTED.fullmatch(spelling):
        inner, keys = match.groups()
        items = _type(inner, blocks, types)
        if not keys:
            return {"type": "array", "items": items, LIST_TYPE: "atomic"}
        named = [key.partition("=")[::2] for key in keys.split(",")]
        defaults = {key: {**items.get("properties", {}).get(key, {}), "default": d} for key, d in named if d}
        items = {**items, "properties": {**items.get("properties", {}), **defaults}}
        return {"type": "array", "items": items, LIST_TYPE: "map", MAP_KEYS: [key for key, _ in named]}
    if spelling[0] in "{<":
        items = _type(spelling[1:-1], blocks, types)
        if spelling[0] == "<":
            return {"type": "object", "additionalProperties": items}
        return {"type": "array", "items": items, LIST_TYPE: "set"}
    return dict(_define(spelling, blocks, types))
