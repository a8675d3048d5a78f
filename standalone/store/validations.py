"""Rules that a schema writes in CEL (`x-kubernetes-validations`): which of them an object breaks. Pure.

A rule that cannot be read is refused with the definition that has it (`unreadable`); one that a store has had from
before is skipped, and the log says so.
https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation-rules
"""

import base64
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from diskyard import log
from diskyard.errors import Cause
from standalone.store import fields, operators
from standalone.store.evaluation import Budget, Exhausted, Expression
from standalone.store.expression import Unreadable
from standalone.store.fields import Node
from standalone.store.operators import Failed, Maybe

RULES: Final = "x-kubernetes-validations"
_OLD: Final = re.compile(r"\boldSelf\b")
_WORDS: Final = frozenset(
    ("true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import",
     "let", "loop", "package", "namespace", "return", "var", "void", "while")
)  # fmt: skip
_ESCAPES: Final = (("__", "__underscores__"), (".", "__dot__"), ("-", "__dash__"), ("/", "__slash__"))
_SAID: Final = {
    "FieldValueForbidden": "Forbidden: {told}",
    "FieldValueRequired": "Required value: {told}",
    "FieldValueDuplicate": 'Duplicate value: "{type}": {told}',
    "FieldValueInvalid": 'Invalid value: "{type}": {told}',
}

_LONGEST_MESSAGE: Final = 5 * 1024
_NO_OVERLOAD: Final = (
    "call arguments did not match a supported operator, function or macro signature for rule"
)
_COSTS: Final = "operation cancelled: actual cost limit exceeded"
_TOO_DEAR: Final = "no further validation rules will be run due to call cost exceeds limit for rule"
_OVERSPENT: Final = (
    "validation failed due to running out of cost budget, no further validation rules will be run"
)

_READ: Final[Mapping[str, Callable[[str], Any]]] = {
    "date-time": operators.timestamp,
    "date": operators.timestamp,
    "duration": operators.duration,
    "byte": base64.b64decode,
}
"""What texts of a format are to a rule."""

_log = log.logger("store")


@dataclass(frozen=True)
class Rule:
    """One rule, compiled."""

    text: str
    program: Expression
    says: Expression | None
    spec: Mapping[str, Any]

    def applies(self, value: Any, old: Any) -> bool:
        """A rule about a change waits for one; any other need not hold again for a value that stays as it was."""
        if self._compares:
            return old is not None or bool(self.spec.get("optionalOldSelf"))
        return old is None or value != old

    @property
    def _compares(self) -> bool:
        return _OLD.search(self.text) is not None

    def cause(self, value: Any, old: Any, path: str, type_: str, budget: Budget) -> Cause | None:
        """What is wrong; None: nothing. Raises Exhausted."""
        before = Maybe(old is not None, old) if self.spec.get("optionalOldSelf") else old
        names = {"self": value, "oldSelf": before}
        budget.begin()
        try:
            if self.program.value(names, budget) is True:
                return None
        except Failed as error:
            why = (
                f"'{error}': {_NO_OVERLOAD}: "
                if str(error) == "no such overload"
                else f"{error} evaluating rule: "
            )
            return Cause(f'Invalid value: "{type_}": {why}{self._name}', path)
        told = (
            self._told(names, budget) or str(self.spec.get("message") or f"failed rule: {self.text}").strip()
        )
        reason = str(self.spec.get("reason") or "FieldValueInvalid")
        said = _SAID.get(reason, _SAID["FieldValueInvalid"]).format(told=told, type=type_)
        return Cause(said, f"{path}{self.spec.get('fieldPath', '')}".lstrip("."), reason)

    def too_dear(self, path: str, type_: str, budget: Budget) -> Cause:
        """What is said when it, or all rules of the object together, cost more than they may."""
        own = f"'{_COSTS}': {_TOO_DEAR}: {self._name}"
        return Cause(f'Invalid value: "{type_}": {own if budget.whole >= 0 else _OVERSPENT}', path)

    @property
    def _name(self) -> str:
        return str(self.spec.get("message") or self.text).strip()

    def _told(self, names: Mapping[str, Any], budget: Budget) -> str:
        """The sentence that the rule's own expression makes; empty: none, or none that can be shown."""
        found = None
        with suppress(Failed):
            found = self.says.value(names, budget) if self.says else None
        text = found.strip() if isinstance(found, str) else ""
        return text if len(text) <= _LONGEST_MESSAGE and "\n" not in text else ""


@dataclass(frozen=True)
class Place:
    """The rules of one place in a schema, and of the places below it that have any."""

    node: Node
    rules: tuple[Rule, ...] = ()
    below: Mapping[str, "Place"] = field(default_factory=dict)
    """By the name of the field."""
    each: "Place | None" = None
    """For every element of a list or a map."""


def place(node: Node) -> Place | None:
    """A schema's rules; None: it has none."""
    rules = tuple(rule for spec in node.get(RULES) or () if (rule := _compiled(spec)))
    inner = node.get("items") or node.get("additionalProperties")
    each = place(inner) if isinstance(inner, Mapping) else None
    named = {name: place(one) for name, one in node.get("properties", {}).items()}
    below = {name: one for name, one in named.items() if one}
    return Place(node, rules, below, each) if rules or below or each else None


def broken(at: Place, obj: Any, old: Any) -> list[Cause]:
    """What an object breaks; `old` is what it was, None: it is new, or nothing tells which it was."""
    return list(_until_dear(_broken(at, obj, old, "", Budget())))


def _until_dear(causes: Iterator[Cause | None]) -> Iterator[Cause]:
    """What is wrong, up to a rule that costs too much, and that one: None ends it."""
    for cause in causes:
        if cause is None:
            return
        yield cause


def _broken(at: Place, value: Any, old: Any, path: str, budget: Budget) -> Iterator[Cause | None]:
    if value is None:
        return
    if at.rules:
        yield from _judged(at, value, old, path.lstrip("."), budget)
    if isinstance(value, dict):
        was = old if isinstance(old, dict) else {}
        for name, inner in value.items():
            one = at.below.get(name) or at.each
            if one:
                yield from _broken(one, inner, was.get(name), f"{path}.{name}", budget)
    elif isinstance(value, list) and at.each:
        known = fields.parts(old, at.node) if at.node.get(fields.LIST_TYPE) == "map" else {}
        for index, item in enumerate(value):
            before = known.get(fields.element_of(item, at.node, index)) if known else None
            yield from _broken(at.each, item, before.value if before else None, f"{path}[{index}]", budget)


def _judged(at: Place, value: Any, old: Any, path: str, budget: Budget) -> Iterator[Cause | None]:
    """What the rules of one place say."""
    type_ = str(at.node.get("type", "object"))
    now, before = _typed(value, at.node), _typed(old, at.node)
    for rule in at.rules:
        if not rule.applies(value, old):
            continue
        try:
            cause = rule.cause(now, before, path, type_, budget)
        except Exhausted:
            yield rule.too_dear(path, type_, budget)
            yield None
            return
        if cause:
            yield cause


def unreadable(node: Node, path: str) -> Iterator[Cause]:
    """Rules of a schema that cannot be read, or use what nobody knows."""
    for index, spec in enumerate(node.get(RULES) or ()):
        for said in ("rule", "messageExpression"):
            try:
                if spec.get(said):
                    Expression(str(spec[said]))
            except Unreadable as error:
                told = f'Invalid value: "{spec[said]}": compilation failed: ERROR: {error}'
                yield Cause(told, f"{path}.{RULES}[{index}].{said}")
    for name, inner in (node.get("properties") or {}).items():
        yield from unreadable(inner, f"{path}.properties[{name}]")
    for name in ("items", "additionalProperties"):
        if isinstance(node.get(name), Mapping):
            yield from unreadable(node[name], f"{path}.{name}")


def _compiled(spec: Mapping[str, Any]) -> Rule | None:
    text, says = str(spec.get("rule", "")), spec.get("messageExpression")
    try:
        return Rule(text, Expression(text), Expression(str(says)) if says else None, spec)
    except Unreadable as error:
        _log.warning("a rule is not checked: it cannot be read", rule=text, error=error)
    return None


def _typed(value: Any, node: Node) -> Any:
    """The value as rules see it: with the types that the schema gives it, and fields named as CEL can name them."""
    if isinstance(value, list):
        return [_typed(item, node.get("items") or {}) for item in value]
    if isinstance(value, dict):
        known = node.get("properties", {})
        return {
            _name(name) if name in known else name: _typed(inner, fields.child(node, f"f:{name}"))
            for name, inner in value.items()
        }
    read = _READ.get(str(node.get("format"))) if isinstance(value, str) else None
    if read:
        with suppress(ValueError):  # what has not its format is refused for that
            return read(value)
    if node.get("type") == "number" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value


def _name(field_name: str) -> str:
    if field_name in _WORDS:
        return f"__{field_name}__"
    for plain, written in _ESCAPES:
        field_name = field_name.replace(plain, written)
    return field_name
