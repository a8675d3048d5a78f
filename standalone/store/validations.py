"""Rules that a schema writes in CEL (`x-kubernetes-validations`): which of them an object breaks.

The language is `common-expression-language` (the extra `cel`), imported when the first schema with rules is used. Where
it is missing, or does not know what a rule is written in, the rule is skipped and the log says so.
https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation-rules
"""

import importlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from diskyard import log
from diskyard.errors import Cause
from standalone.store import fields, functions
from standalone.store.fields import Node

RULES: Final = "x-kubernetes-validations"
_LONGEST: Final = 16_384
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

_UNKNOWN: Final = "Undefined variable or function"
"""In what the language says of macros that it does not have, such as comprehensions with two variables."""

_log = log.logger("store")


class Program(Protocol):
    """A compiled expression."""

    def execute(self, context: Mapping[str, Any]) -> Any:
        """What the expression says of these values. Raises what Python raises for the like."""


@dataclass(frozen=True)
class Rule:
    """One rule, compiled."""

    text: str
    program: Program
    says: Program | None
    spec: Mapping[str, Any]

    def applies(self, *, changed: bool) -> bool:
        """A rule about a change waits for one."""
        return changed or bool(self.spec.get("optionalOldSelf")) or not self.compares

    @property
    def compares(self) -> bool:
        """Whether it is about a change; any other need not hold again for a value that stays as it was."""
        return _OLD.search(self.text) is not None

    def cause(self, context: Mapping[str, Any], path: str, type_: str) -> Cause | None:
        """What is wrong; None: nothing."""
        try:
            if self.program.execute(context) is True:
                return None
            told = self._told(context)
        except (ArithmeticError, LookupError, TypeError, ValueError, RuntimeError) as error:
            if _UNKNOWN in str(error):
                _log.warning(
                    "a rule is not checked: it uses what is not known here", rule=self.text, error=error
                )
                return None
            told = f"{error} evaluating rule: {self.text}"
        reason = str(self.spec.get("reason") or "FieldValueInvalid")
        said = _SAID.get(reason, _SAID["FieldValueInvalid"]).format(told=told, type=type_)
        return Cause(said, f"{path}{self.spec.get('fieldPath', '')}".lstrip("."), reason)

    def _told(self, context: Mapping[str, Any]) -> str:
        found = self.says.execute(context) if self.says else None
        return str(found or self.spec.get("message") or f"failed rule: {self.text}").strip()


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


def broken(at: Place, value: Any, old: Any, path: str = "") -> Iterator[Cause]:
    """What an object breaks; `old` is what it was, None: it is new, or nothing tells which it was."""
    if value is None:
        return
    if at.rules:
        context = {"self": _escaped(value, at.node), "oldSelf": _escaped(old, at.node)}
        for rule in at.rules:
            if rule.applies(changed=old is not None) and not (value == old and not rule.compares):
                cause = rule.cause(context, path, str(at.node.get("type", "object")))
                if cause:
                    yield cause
    if isinstance(value, dict):
        was = old if isinstance(old, dict) else {}
        for name, inner in value.items():
            one = at.below.get(name) or at.each
            if one:
                yield from broken(one, inner, was.get(name), f"{path}.{name}")
    elif isinstance(value, list) and at.each:
        known = fields.parts(old, at.node) if at.node.get(fields.LIST_TYPE) == "map" else {}
        for index, item in enumerate(value):
            before = known.get(fields.element_of(item, at.node, index)) if known else None
            yield from broken(at.each, item, before.value if before else None, f"{path}[{index}]")


def _compiled(spec: Mapping[str, Any]) -> Rule | None:
    text, says = str(spec["rule"]), spec.get("messageExpression")
    try:
        language = importlib.import_module("cel")
        telling = _Expression(language, str(says)) if says else None
        return Rule(text, _Expression(language, text), telling, spec)
    except ImportError:
        _log.warning("a rule is not checked: install the extra `cel`", rule=text)
    except ValueError as error:
        _log.warning("a rule is not checked: it cannot be read", rule=text, error=error)
    return None


class _Expression:
    """A compiled expression that knows Kubernetes' own functions. Raises ValueError where it cannot be read."""

    def __init__(self, language: Any, text: str) -> None:
        self._program: Program = language.compile(functions.plain(text[:_LONGEST]))
        self._context = language.Context

    def execute(self, context: Mapping[str, Any]) -> Any:
        """What it says of these values."""
        known = dict(functions.FUNCTIONS)
        return self._program.execute(self._context(variables=dict(context), functions=known))


def _escaped(value: Any, node: Node) -> Any:
    """The value with its fields named as CEL can name them."""
    if isinstance(value, list):
        return [_escaped(item, node.get("items") or {}) for item in value]
    if not isinstance(value, dict):
        return value
    known = node.get("properties", {})
    return {
        _name(name) if name in known else name: _escaped(inner, fields.child(node, f"f:{name}"))
        for name, inner in value.items()
    }


def _name(field_name: str) -> str:
    if field_name in _WORDS:
        return f"__{field_name}__"
    for plain, written in _ESCAPES:
        field_name = field_name.replace(plain, written)
    return field_name
