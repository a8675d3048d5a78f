"""JSON patches (RFC 6902), read as Kubernetes reads them. Pure.

It is laxer than the RFC in two places (`gopkg.in/evanphx/json-patch.v4`): to replace a field that is not there adds
it, and to test such a field for null succeeds.
"""

import copy
from collections.abc import Callable, Mapping
from typing import Any, Final

from diskyard.errors import ApiError, BadRequest, Invalid

MOST: Final = 10_000
"""As many operations as Kubernetes takes in one patch."""
LARGEST_COPIES: Final = 3 << 20
"""So many bytes may be copied within one object by one patch."""

Place = tuple[Any, str]
"""What holds a value, and by which name or index."""


class TooMany(ApiError):
    """413: more operations than are taken at once."""

    code = 413
    reason = "RequestEntityTooLarge"


class _Refused(Exception):
    """An operation that cannot be carried out."""


def operated(obj: Any, patch: Any) -> Any:
    """A new object, with all operations carried out. Raises BadRequest, Invalid."""
    if not isinstance(patch, list):
        raise BadRequest(f"error decoding patch: {unmarshalled(patch, '[]handlers.jsonPatchOp')}")
    if len(patch) > MOST:
        raise TooMany(f"The allowed maximum operations in a JSON patch is {MOST}, got {len(patch)}")
    document = [copy.deepcopy(obj)]
    left = LARGEST_COPIES
    for operation in patch:
        if not isinstance(operation, dict):
            raise BadRequest(f"error decoding patch: {unmarshalled(operation, 'handlers.jsonPatchOp')}")
        try:
            left = _left(left, _KNOWN[_text(operation, "op")](document, operation))
        except (_Refused, LookupError, ValueError) as error:
            told = "the server rejected our request due to an error in our request"
            raise Invalid(told, details={}) from error
    return document[0]


def unmarshalled(value: Any, wanted: str) -> str:
    """How a Go program says that JSON is of another type than it reads."""
    return f"json: cannot unmarshal {_GO.get(type(value), 'null')} into Go value of type {wanted}"


def _left(room: int, copied: int) -> int:
    if copied > room:
        raise _Refused
    return room - copied


def _add(document: list[Any], operation: Mapping[str, Any]) -> int:
    _put(_place(document, _text(operation, "path")), copy.deepcopy(operation.get("value")))
    return 0


def _remove(document: list[Any], operation: Mapping[str, Any]) -> int:
    _take(_place(document, _text(operation, "path")))
    return 0


def _replace(document: list[Any], operation: Mapping[str, Any]) -> int:
    path, value = _text(operation, "path"), copy.deepcopy(operation.get("value"))
    if not path:
        document[0] = value
        return 0
    holder, name = _place(document, path)
    if isinstance(holder, list):
        holder[_index(holder, name)] = value
    else:
        holder[name] = value
    return 0


def _move(document: list[Any], operation: Mapping[str, Any]) -> int:
    value = _take(_place(document, _text(operation, "from")))
    _put(_place(document, _text(operation, "path")), value)
    return 0


def _copy(document: list[Any], operation: Mapping[str, Any]) -> int:
    value = copy.deepcopy(_read(_place(document, _text(operation, "from"))))
    _put(_place(document, _text(operation, "path")), value)
    return len(str(value))


def _test(document: list[Any], operation: Mapping[str, Any]) -> int:
    path = _text(operation, "path")
    found = _read(_place(document, path)) if path else document[0]
    if not _same(found, operation.get("value")):
        raise _Refused
    return 0


_KNOWN: Final[Mapping[str, Callable[[list[Any], Mapping[str, Any]], int]]] = {
    "add": _add, "remove": _remove, "replace": _replace, "move": _move, "copy": _copy, "test": _test,
}  # fmt: skip
"""Each changes the document that the list holds, and says how many bytes it copied."""
_GO: Final = {
    dict: "object", list: "array", str: "string", bool: "bool", int: "number", float: "number",
}  # fmt: skip


def _text(operation: Mapping[str, Any], name: str) -> str:
    found = operation[name]
    if not isinstance(found, str):
        raise _Refused
    return found


def _place(document: list[Any], path: str) -> Place:
    """Where a path leads; what comes before its first slash is not looked at."""
    first, *names = (part.replace("~1", "/").replace("~0", "~") for part in path.split("/"))
    if not names:
        raise _Refused(first)
    at = document[0]
    for name in names[:-1]:
        at = _read((at, name))
        if not isinstance(at, dict | list):
            raise _Refused
    return at, names[-1]


def _read(place: Place) -> Any:
    holder, name = place
    return holder[_index(holder, name)] if isinstance(holder, list) else holder.get(name)


def _put(place: Place, value: Any) -> None:
    holder, name = place
    if not isinstance(holder, list):
        holder[name] = value
    elif name == "-":
        holder.append(value)
    else:
        holder.insert(_index([*holder, None], name), value)


def _take(place: Place) -> Any:
    holder, name = place
    return holder.pop(_index(holder, name) if isinstance(holder, list) else name)


def _index(items: list[Any], name: str) -> int:
    index = int(name)
    if not -len(items) <= index < len(items):
        raise _Refused
    return index % len(items)


def _same(one: Any, other: Any) -> bool:
    """Equal, and of one type: true is not 1."""
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)
