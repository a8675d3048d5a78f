"""Kubernetes' expression language (CEL) at work: a rule's tree and the values of its names give a value. Pure.

With what Kubernetes 1.34 lets new rules use beyond the language itself: optional values, comprehensions with two
variables, its own libraries; and a budget: every step costs, and who has spent all is refused
(k8s.io/apiserver/pkg/apis/cel).
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from standalone.store import functions, named
from standalone.store.expression import Node, Unreadable, tree
from standalone.store.operators import STANDARD, TYPES, Failed, Maybe

MOST_A_RULE: Final = 1_000_000
MOST_AN_OBJECT: Final = 10_000_000
_LIST, _MAP, _ITERATION, _CHARACTERS = 10, 30, 3, 10
"""What a list, a map, each turn of a loop and so many characters cost, about as much as in cel-go."""
_FUNCTIONS: Final[Mapping[str, Callable[..., Any]]] = {
    **STANDARD,
    **functions.FUNCTIONS,
    **named.NAMED,
}
_LAZY: Final = ("or", "orValue", "value")
"""Methods of values that may not be there, whose argument may not be needed."""


class Exhausted(Exception):
    """A rule, or all rules of an object, cost more than they may."""


@dataclass
class Budget:
    """What may still be spent on an object, and on the rule that is being looked at."""

    whole: int = MOST_AN_OBJECT
    rule: int = MOST_A_RULE

    def begin(self) -> None:
        """The next rule."""
        self.rule = MOST_A_RULE

    def spend(self, cost: int) -> None:
        """Raises Exhausted."""
        self.rule -= cost
        self.whole -= cost
        if min(self.rule, self.whole) < 0:
            raise Exhausted


@dataclass(frozen=True)
class Scope:
    """The names that are known at one place of an expression, and the budget."""

    names: Mapping[str, Any]
    budget: Budget = field(default_factory=Budget)

    def knowing(self, names: Mapping[str, Any]) -> "Scope":
        """The same with more names."""
        return replace(self, names={**self.names, **names})


class Expression:
    """A rule that can be asked again and again."""

    def __init__(self, text: str, names: tuple[str, ...] = ("self", "oldSelf")) -> None:
        """Raises Unreadable: it is no expression, or uses names or functions that nobody knows."""
        self._tree = tree(text)
        _check(self._tree, frozenset(names))

    def value(self, names: Mapping[str, Any], budget: Budget) -> Any:
        """What it says of these values. Raises Failed, Exhausted."""
        try:
            return _value(self._tree, Scope(names, budget))
        except RecursionError as error:
            raise Failed("the expression is too deep") from error


def _value(node: Node, scope: Scope) -> Any:
    scope.budget.spend(1)
    return _OPERATIONS[node.op](scope, *node.of)


def _named(scope: Scope, name: str) -> Any:
    return scope.names[name] if name in scope.names else TYPES[name]


def _field(scope: Scope, target: Node, name: str) -> Any:
    value = _value(target, scope)
    if isinstance(value, Maybe):
        return _found(value, name)
    if not isinstance(value, dict):
        raise Failed("no such overload")
    if name not in value:
        raise Failed(f"no such key: {name}")
    return value[name]


def _found(value: Any, key: Any) -> Maybe:
    """What stands there, if anything does."""
    if isinstance(value, Maybe):
        return _found(value.value, key) if value.there else value
    if isinstance(value, dict):
        return Maybe(there=True, value=value[key]) if key in value else Maybe()
    if isinstance(value, list) and isinstance(key, int) and not isinstance(key, bool):
        return Maybe(there=True, value=value[key]) if 0 <= key < len(value) else Maybe()
    raise Failed("no such overload")


def _element(scope: Scope, target: Node, index: Node) -> Any:
    value, key = _value(target, scope), _value(index, scope)
    if isinstance(value, Maybe):
        return _found(value, key)
    found = _found(value, key)
    if not found.there:
        raise Failed(f"index out of bounds: {key}" if isinstance(value, list) else f"no such key: {key}")
    return found.value


def _list(scope: Scope, *elements: tuple[bool, Node]) -> list[Any]:
    scope.budget.spend(_LIST)
    found = []
    for optional, node in elements:
        value = _value(node, scope)
        if not optional:
            found.append(value)
        elif value.there:
            found.append(value.value)
    return found


def _map(scope: Scope, *entries: tuple[bool, Node, Node]) -> dict[Any, Any]:
    scope.budget.spend(_MAP)
    found: dict[Any, Any] = {}
    for optional, key_node, node in entries:
        key, value = _value(key_node, scope), _value(node, scope)
        if key in found:
            raise Failed(f"insert failed: key {key} already exists")
        if not optional:
            found[key] = value
        elif value.there:
            found[key] = value.value
    return found


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Failed("no such overload")
    return value


def _any_order(wanted: bool) -> Callable[..., bool]:
    """`||` and `&&`, `exists` and `all`: one value decides, whatever fails beside it."""

    def decided(parts: Iterator[Callable[[], Any]]) -> bool:
        failed: Failed | None = None
        for part in parts:
            try:
                if _truth(part()) is wanted:
                    return wanted
            except Failed as error:
                failed = failed or error
        if failed:
            raise failed
        return not wanted

    return decided


_SOME, _EVERY = _any_order(True), _any_order(False)


def _logic(decided: Callable[..., bool]) -> Callable[..., bool]:
    return lambda scope, *nodes: decided((lambda node=node: _value(node, scope)) for node in nodes)


def _chosen(scope: Scope, condition: Node, yes: Node, no: Node) -> Any:
    return _value(yes if _truth(_value(condition, scope)) else no, scope)


def _called(scope: Scope, name: str, target: Node | None, arguments: tuple[Node, ...]) -> Any:
    macro = _MACROS.get((name, len(arguments)))
    if macro and (target is not None) is (name != "has"):
        return macro(scope, *(() if target is None else (target,)), *arguments)
    library = _library(target, name, scope.names)
    before = () if target is None or library else (_value(target, scope),)
    if name in _LAZY and before:
        return _fallen_back(scope, name, before[0], *arguments)
    values = (*before, *(_value(each, scope) for each in arguments))
    for value in values:
        scope.budget.spend(len(value) // _CHARACTERS if isinstance(value, str | bytes | list) else 0)
    try:
        return _FUNCTIONS[library or name](*values)
    except Failed:
        raise
    except (TypeError, AttributeError, KeyError) as error:
        raise Failed("no such overload") from error
    except (ValueError, ArithmeticError, IndexError, re.error) as error:
        raise Failed(str(error)) from error


def _fallen_back(scope: Scope, name: str, value: Any, other: Node | None = None) -> Any:
    if not isinstance(value, Maybe):
        raise Failed("no such overload")
    if value.there:
        return value if name == "or" else value.value
    if other is None:
        raise Failed("optional.none() dereference")
    return _value(other, scope)


def _library(target: Node | None, name: str, names: Mapping[str, Any] | frozenset[str]) -> str:
    """The full name of a library's function, such as `sets.contains`; empty: it is a method."""
    if target is None or target.op != "name" or target.of[0] in names:
        return ""
    full = f"{target.of[0]}.{name}"
    return full if full in _FUNCTIONS else ""


def _has(scope: Scope, place: Node) -> bool:
    value, name = _value(place.of[0], scope), place.of[1]
    return (
        bool(value.there and name in value.value) if isinstance(value, Maybe) else _found(value, name).there
    )


def _turns(scope: Scope, target: Node, *names: Node) -> Iterator[Scope]:
    """A scope for each element (or key), with its index (or value) where there are two names."""
    value = _value(target, scope)
    if not isinstance(value, list | dict):
        raise Failed("no such overload")
    if len(names) == 1:
        pairs: Iterator[tuple[Any, ...]] = ((each,) for each in value)
    else:
        pairs = iter(value.items() if isinstance(value, dict) else enumerate(value))
    known = [name.of[0] for name in names]
    for pair in pairs:
        scope.budget.spend(_ITERATION)
        yield scope.knowing(dict(zip(known, pair, strict=True)))


def _quantified(decided: Callable[..., bool]) -> Callable[..., bool]:
    def holds(scope: Scope, target: Node, *rest: Node) -> bool:
        *names, body = rest
        return decided((lambda turn=turn: _value(body, turn)) for turn in _turns(scope, target, *names))

    return holds


def _exists_one(scope: Scope, target: Node, *rest: Node) -> bool:
    *names, body = rest
    return sum(_truth(_value(body, turn)) for turn in _turns(scope, target, *names)) == 1


def _filtered(scope: Scope, target: Node, name: Node, body: Node) -> list[Any]:
    turns = _turns(scope, target, name)
    return [turn.names[name.of[0]] for turn in turns if _truth(_value(body, turn))]


def _mapped(names: int) -> Callable[..., list[Any]]:
    def result(scope: Scope, target: Node, *rest: Node) -> list[Any]:
        *tests, body = rest[names:]
        turns = _turns(scope, target, *rest[:names])
        return [_value(body, turn) for turn in turns if all(_truth(_value(one, turn)) for one in tests)]

    return result


def _transformed(scope: Scope, target: Node, *rest: Node) -> dict[Any, Any]:
    key, value, *tests, body = rest
    turns = _turns(scope, target, key, value)
    chosen = (turn for turn in turns if all(_truth(_value(one, turn)) for one in tests))
    return {turn.names[key.of[0]]: _value(body, turn) for turn in chosen}


def _entries(scope: Scope, target: Node, *rest: Node) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    for entry in _mapped(2)(scope, target, *rest):
        for key in entry:
            if key in found:
                raise Failed(f"insert failed: key {key} already exists")
        found |= entry
    return found


def _opt_map(flat: bool) -> Callable[..., Maybe]:
    def result(scope: Scope, target: Node, name: Node, body: Node) -> Maybe:
        value = _value(target, scope)
        if not isinstance(value, Maybe):
            raise Failed("no such overload")
        if not value.there:
            return value
        found = _value(body, scope.knowing({name.of[0]: value.value}))
        return found if flat and isinstance(found, Maybe) else Maybe(there=True, value=found)

    return result


_MACROS: Final[Mapping[tuple[str, int], Callable[..., Any]]] = {
    ("has", 1): _has,
    **{(name, 2 + more): _quantified(by) for name, by in (("all", _EVERY), ("exists", _SOME)) for more in (0, 1)},
    **{(name, 2 + more): _exists_one for name in ("exists_one", "existsOne") for more in (0, 1)},
    ("filter", 2): _filtered, ("map", 2): _mapped(1), ("map", 3): _mapped(1),
    ("transformList", 3): _mapped(2), ("transformList", 4): _mapped(2),
    ("transformMap", 3): _transformed, ("transformMap", 4): _transformed,
    ("transformMapEntry", 3): _entries, ("transformMapEntry", 4): _entries,
    ("optMap", 2): _opt_map(flat=False), ("optFlatMap", 2): _opt_map(flat=True),
}  # fmt: skip
"""By name and number of arguments: what looks at its arguments before they have values."""
_OPERATIONS: Final[Mapping[str, Callable[..., Any]]] = {
    "value": lambda _, value: value, "name": _named, ".": _field,
    ".?": lambda scope, target, name: _found(_value(target, scope), name),
    "[]": _element, "[?]": lambda scope, target, key: _found(_value(target, scope), _value(key, scope)),
    "list": _list, "map": _map, "?:": _chosen, "&&": _logic(_EVERY), "||": _logic(_SOME), "call": _called,
}  # fmt: skip


def _check(node: Node, names: frozenset[str]) -> None:
    """Raises Unreadable where a name or a function is not known."""
    if node.op == "name" and node.of[0] not in names and node.of[0] not in TYPES:
        raise Unreadable(f"undeclared reference to '{node.of[0]}' (in container '')")
    inner = names
    if node.op == "call":
        name, target, arguments = node.of
        inner = names | _bound(name, target, arguments)
        known = name in _FUNCTIONS or name in _LAZY or (name, len(arguments)) in _MACROS
        if not known and not _library(target, name, names):
            raise Unreadable(f"undeclared reference to '{name}' (in container '')")
        if target is not None and not _library(target, name, names):
            _check(target, names)
        for each in arguments:
            _check(each, inner)
        return
    for each in _below(node.of):
        _check(each, inner)


def _below(parts: tuple[Any, ...]) -> Iterator[Node]:
    for part in parts:
        if isinstance(part, Node):
            yield part
        elif isinstance(part, tuple):
            yield from _below(part)


def _bound(name: str, target: Node | None, arguments: tuple[Node, ...]) -> frozenset[str]:
    """The names that a macro gives to its body. Raises Unreadable where they are none."""
    if (name, len(arguments)) not in _MACROS or (target is None) is not (name == "has"):
        return frozenset()
    if name == "has":
        if arguments[0].op not in (".", ".?"):
            raise Unreadable("invalid argument to has() macro")
        return frozenset()
    two = name.startswith("transform") or (name != "map" and len(arguments) == 3)
    chosen = arguments[: 2 if two else 1]
    if any(each.op != "name" for each in chosen):
        raise Unreadable("argument must be a simple name")
    return frozenset(each.of[0] for each in chosen)
