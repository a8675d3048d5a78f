"""One object laid over another, and parts taken out again: what server-side apply is made of. Pure."""

from collections.abc import Iterable
from typing import Any

from standalone.store import fields
from standalone.store.fields import Node, Path, Paths


def merged(old: Any, new: Any, node: Node) -> Any:
    """`old` with all that `new` says: objects part by part, lists of named things and sets element by element."""
    if new is None and fields.divided(old, node) and old:
        return old
    if type(old) is not type(new) or not fields.divided(new, node) or not (old or new):
        return new
    before, after = fields.parts(old, node), fields.parts(new, node)

    def one(element: str) -> Any:
        if element not in after:
            return before[element].value
        part = after[element]
        return merged(before[element].value, part.value, part.node) if element in before else part.value

    if isinstance(new, dict):
        return {element[2:]: one(element) for element in {**before, **after}}
    twice = {element for element, part in before.items() if _is_several(part.value, old)}
    result = []
    for element in _in_order(list(before), list(after)):
        if element in twice and element not in after:
            result += before[element].value
        else:
            result.append(one(element))
    return result


def without(value: Any, node: Node, paths: Iterable[Path]) -> Any:
    """The value with those parts taken out; what loses all its parts is null."""
    gone = {path for path in paths if path}
    if not gone or not fields.divided(value, node) or not value:
        return value
    below: dict[str, set[Path]] = {}
    for path in gone:
        below.setdefault(path[0], set()).add(path[1:])
    if isinstance(value, dict):
        kept = {
            name: without(inner, fields.child(node, f"f:{name}"), below.get(f"f:{name}", ()))
            for name, inner in value.items()
            if (f"f:{name}",) not in gone
        }
        return kept or None
    items = node.get("items", {})
    named = [(fields.element_of(item, node, index), item) for index, item in enumerate(value)]
    left = [without(item, items, below.get(name, ())) for name, item in named if (name,) not in gone]
    return left or None


def pruned(value: Any, node: Node, last: Paths, owned: Paths) -> Any:
    """The value without what `last` had and nobody owns now; what lies in a part that goes, goes with it."""
    if not last:
        return value
    whole = fields.named(fields.present(value, node), node)
    first = without(value, node, fields.named(last, node))
    left = fields.named(fields.present(first, node), node)
    second = without(value, node, whole - left - fields.named(owned, node))
    left = fields.named(fields.present(second, node), node)
    return without(value, node, (whole - left) & fields.named(last, node))


def _is_several(value: Any, items: list[Any]) -> bool:
    """Whether a part stands for elements of one name: then it is none of the list's own."""
    return isinstance(value, list) and not any(value is item for item in items)


def _in_order(old: list[str], new: list[str]) -> list[str]:
    """All elements: the new ones in their order, each old one as near to its place as that allows."""
    told, shared = set(new), [element for element in new if element in set(old)]
    result: list[str] = []
    left, right = 0, 0
    while left < len(old) or right < len(new):
        if left < len(old) and right < len(new):
            if old[left] == new[right]:
                result.append(old[left])
                left, right, shared = left + 1, right + 1, shared[1:]
                continue
            if old[left] in told and shared and shared[0] != old[left]:
                left += 1
                continue
        if left < len(old):
            if old[left] not in told:
                result.append(old[left])
                left += 1
                continue
            left += old[left] in result
        if right < len(new):
            result.append(new[right])
            shared = shared[1:] if shared[:1] == [new[right]] else shared
            right += 1
    return result
