"""Which fields an object has, field by field, as server-side apply tells them apart. Pure.

A path is a tuple of elements in the spelling of `fieldsV1`: `f:name` a field, `k:{"name":"x"}` an element of a list of
named things, `v:"x"` a member of a set, `i:0` an element that nothing names. What a schema does not know is told apart
by its own type: objects by their fields, lists not at all.
https://kubernetes.io/docs/reference/using-api/server-side-apply/#merge-strategy
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import orjson

Node = Mapping[str, Any]
Path = tuple[str, ...]
Paths = frozenset[Path]

LIST_TYPE: Final = "x-kubernetes-list-type"
MAP_KEYS: Final = "x-kubernetes-list-map-keys"
MAP_TYPE: Final = "x-kubernetes-map-type"
_ANY: Final[Node] = {}
_ITSELF: Final = "."


class Part(NamedTuple):
    """A field of an object, or an element of a list, that can be owned by itself."""

    element: str
    value: Any
    node: Node
    named: bool
    """A field that the schema names; keys of maps and elements of lists are not."""


@dataclass(frozen=True)
class Difference:
    """Between two states of an object."""

    added: set[Path] = field(default_factory=set)
    modified: set[Path] = field(default_factory=set)
    removed: set[Path] = field(default_factory=set)


def divided(value: Any, node: Node) -> bool:
    """Whether the parts of a value can be owned apart."""
    if isinstance(value, dict):
        return bool(node.get(MAP_TYPE) != "atomic")
    return isinstance(value, list) and node.get(LIST_TYPE) in ("set", "map")


def parts(value: Any, node: Node) -> dict[str, Part]:
    """The parts of a divided value by their elements; elements of a list that are named alike are one."""
    if not divided(value, node):
        return {}
    found: dict[str, Part] = {}
    if isinstance(value, dict):
        for name, inner in value.items():
            element = f"f:{name}"
            found[element] = Part(element, inner, child(node, element), name in node.get("properties", _ANY))
        return found
    alike: dict[str, list[Any]] = {}
    for index, item in enumerate(value):
        alike.setdefault(element_of(item, node, index), []).append(item)
    items = node.get("items", _ANY)
    for element, same in alike.items():
        one = len(same) == 1
        found[element] = Part(element, same[0] if one else same, items if one else _ANY, named=False)
    return found


def child(node: Node, element: str) -> Node:
    """The schema of a part."""
    if not element.startswith("f:"):
        found = node.get("items")
    else:
        found = node.get("properties", _ANY).get(element[2:]) or node.get("additionalProperties")
    return found if isinstance(found, Mapping) else _ANY


def element_of(item: Any, node: Node, index: int) -> str:
    """What an element of a list is called."""
    if node.get(LIST_TYPE) == "set":
        return f"v:{_text(item)}"
    known = node.get("items", _ANY).get("properties", _ANY)
    keys = {}
    for name in node.get(MAP_KEYS, ()):
        value = item.get(name, known.get(name, _ANY).get("default")) if isinstance(item, dict) else None
        if value is None:
            return f"i:{index}"
        keys[name] = value
    return f"k:{_text(keys)}"


def present(value: Any, node: Node, at: Path = ()) -> Iterator[Path]:
    """The paths that a value has: what its author owns who applies it."""
    if not divided(value, node):
        yield at
    for part in parts(value, node).values():
        inner = (*at, part.element)
        yield from present(part.value, part.node, inner)
        if not part.named or part.value is None or part.value == {}:
            yield inner


def difference(old: Any, new: Any, node: Node) -> Difference:
    """What has to be said to make `new` from `old`."""
    found = Difference()
    _compare(old, new, node, (), found)
    return found


def named(paths: Iterable[Path], node: Node) -> Paths:
    """The paths, and all that they lie in by a field that the schema names."""
    found = set(paths)
    for path in tuple(found):
        at = node
        for length, element in enumerate(path[:-1], 1):
            if element.startswith("f:") and element[2:] in at.get("properties", _ANY):
                found.add(path[:length])
            at = child(at, element)
    return frozenset(found)


def shown(path: Path) -> str:
    """`.spec.containers[name="main"].image`."""
    return "".join(_shown(element) for element in path)


def written(paths: Iterable[Path]) -> dict[str, Any]:
    """The paths as `fieldsV1`."""
    tree: dict[str, Any] = {}
    chosen = sorted(paths)
    for path in chosen:
        at = tree
        for element in path:
            at = at.setdefault(element, {})
    for path in chosen:
        at = tree
        for element in path:
            at = at[element]
        if at:
            at[_ITSELF] = {}
    return tree


def read(tree: Any) -> Paths:
    """The paths that `fieldsV1` holds. Raises ValueError, TypeError."""
    return frozenset(_read(tree, ()))


def _read(tree: Any, at: Path) -> Iterator[Path]:
    if not isinstance(tree, dict):
        raise TypeError(f"fieldsV1 {shown(at)}: expected an object, found {type(tree).__name__}")
    if at and (not tree or _ITSELF in tree):
        yield at
    for element, inner in tree.items():
        if element == _ITSELF:
            continue
        if element[:2] not in ("f:", "k:", "v:", "i:"):
            raise ValueError(f"fieldsV1 {shown(at)}: {element[:60]!r} names nothing")
        if element[0] in "kv":
            orjson.loads(element[2:])
        yield from _read(inner, (*at, element))


def _compare(old: Any, new: Any, node: Node, at: Path, found: Difference) -> None:
    """What has changed in a value that is there on both sides; null can be a list or an object of nothing."""
    if old == new:
        return
    kinds = {divided(value, node) and type(value) for value in (old, new) if value is not None}
    if False in kinds or len(kinds) > 1 or not (old or new):
        found.modified.add(at)
        if len(kinds) == 1 or not (old or new):
            return
    before, after = parts(old, node), parts(new, node)
    for element, part in before.items():
        if element not in after:
            _every(part, at, found.removed)
    for element, part in after.items():
        if element not in before:
            _every(part, at, found.added)
        else:
            _compare(before[element].value, part.value, part.node, (*at, element), found)


def _every(part: Part, at: Path, found: set[Path]) -> None:
    """The paths of a part and of all that is in it."""
    inner = (*at, part.element)
    found.add(inner)
    for one in parts(part.value, part.node).values():
        _every(one, inner, found)


def _shown(element: str) -> str:
    kind, rest = element[:2], element[2:]
    if kind == "f:":
        return f".{rest}"
    if kind == "k:":
        return f"[{','.join(f'{name}={_text(value)}' for name, value in orjson.loads(rest).items())}]"
    return f"[={rest}]" if kind == "v:" else f"[{rest}]"


def _text(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
