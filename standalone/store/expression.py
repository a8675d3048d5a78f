"""Kubernetes' expression language (CEL) as text: a rule read into a tree. Pure.

https://github.com/google/cel-spec/blob/master/doc/langdef.md#syntax, with optional fields, elements and entries
(`a.?b`, `a[?b]`, `[?a]`, `{?a: b}`). Messages (`T{...}`) are not read: no rule of a kind has them.
"""

import re
from dataclasses import dataclass
from typing import Any, Final

LONGEST: Final = 16_384
DEEPEST: Final = 40
"""How deep brackets may nest: each level costs a dozen calls."""
LONGEST_CHAIN: Final = 200
"""How many operators may stand in a row."""
_TOKEN: Final = re.compile(
    r"""(?P<space>(?:\s|//[^\n]*)+)
    |(?P<float>\d+\.\d+(?:[eE][-+]?\d+)?|\d+[eE][-+]?\d+|\.\d+(?:[eE][-+]?\d+)?)
    |(?P<int>0x[0-9a-fA-F]+[uU]?|\d+[uU]?)
    |(?P<text>(?:[bB][rR]?|[rR][bB]?)?(?:\"\"\"(?s:.*?)(?<!\\)\"\"\"|'''(?s:.*?)(?<!\\)'''
        |"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'))
    |(?P<word>[A-Za-z_]\w*)
    |(?P<quoted>`[\w./-]+`)
    |(?P<sign>&&|\|\||[<>=!]=|[-+*/%<>!?:.,()\[\]{}])""",
    re.VERBOSE | re.ASCII,
)
_LEVELS: Final = (("||",), ("&&",), ("<", "<=", ">", ">=", "==", "!=", "in"), ("+", "-"), ("*", "/", "%"))
"""Operators of two sides, those that bind least first."""
_VALUES: Final = {"true": True, "false": False, "null": None}
_RESERVED: Final = frozenset(
    ("as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop", "package",
     "namespace", "return", "var", "void", "while", "in")
)  # fmt: skip
_ESCAPED: Final = re.compile(
    r"\\(u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[xX][0-9a-fA-F]{2}|[0-3][0-7]{2}|.)", re.DOTALL
)
_CONTROLS: Final = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


class Unreadable(ValueError):
    """The text is no expression; the message says where."""


@dataclass(frozen=True)
class Node:
    """One operation: its name, and what it is about: other nodes, names, values."""

    op: str
    of: tuple[Any, ...] = ()


def tree(text: str) -> Node:
    """What an expression says. Raises Unreadable."""
    if len(text) > LONGEST:
        raise Unreadable(f"expected at most {LONGEST} characters, found {len(text)}")
    reading = _Reading(text)
    node = reading.expression()
    reading.expect("")
    return node


def _tokens(text: str) -> list[tuple[str, str, int]]:
    """Kind, text and place of every word and sign; an empty one ends them."""
    found, at = [], 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise Unreadable(
                f"Syntax error: token recognition error at: {text[at : at + 20]!r} (column {at + 1})"
            )
        if match.lastgroup != "space":
            found.append((str(match.lastgroup), match[0], at))
        at = match.end()
    return [*found, ("end", "", at)]


class _Reading:
    """Where in the text we are."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._at = 0
        self._depth = 0

    def expression(self) -> Node:
        """One expression, as far as it goes."""
        self._depth += 1
        if self._depth > DEEPEST:
            raise Unreadable(f"expected at most {DEEPEST} nested expressions")
        node = self._level(0)
        if self._skip("?"):
            yes = self._level(0)
            self.expect(":")
            node = Node("?:", (node, yes, self.expression()))
        self._depth -= 1
        return node

    def expect(self, sign: str) -> None:
        """Go past a sign that must be here."""
        if not self._skip(sign):
            raise self._wrong(f"expecting {sign!r}" if sign else "expecting the end")

    def _wrong(self, why: str) -> Unreadable:
        _, text, at = self._tokens[self._at]
        return Unreadable(f"Syntax error: mismatched input {text or '<EOF>'!r} {why} (column {at + 1})")

    def _skip(self, *signs: str) -> str | None:
        kind, text, _ = self._tokens[self._at]
        if text not in signs or kind in ("text", "quoted"):
            return None
        self._at += kind != "end"
        return text or "end"

    def _level(self, level: int) -> Node:
        if level == len(_LEVELS):
            return self._unary()
        found = [self._level(level + 1)]
        signs = []
        while sign := self._skip(*_LEVELS[level]):
            signs.append(sign)
            found.append(self._level(level + 1))
            if len(signs) > LONGEST_CHAIN:
                raise Unreadable(f"expected at most {LONGEST_CHAIN} operators in a row")
        if level < 2:
            return Node(signs[0], tuple(found)) if signs else found[0]
        node = found[0]
        for sign, right in zip(signs, found[1:], strict=True):
            node = Node("call", (f"_{sign}_", None, (node, right)))
        return node

    def _unary(self) -> Node:
        signs = []
        while sign := self._skip("!", "-"):
            signs.append(sign)
            if len(signs) > LONGEST_CHAIN:
                raise Unreadable(f"expected at most {LONGEST_CHAIN} operators in a row")
        if signs and signs[-1] == "-" and self._tokens[self._at][0] in ("int", "float"):
            kind, text, at = self._tokens[self._at]
            self._tokens[self._at] = (kind, f"-{text}", at)
            signs.pop()
        node = self._member()
        for sign in reversed(signs):
            node = Node("call", (f"{sign}_", None, (node,)))
        return node

    def _member(self) -> Node:
        node = self._primary()
        for _ in range(LONGEST_CHAIN):
            if self._skip("."):
                node = self._selected(node)
            elif self._skip("["):
                op = "[?]" if self._skip("?") else "[]"
                node = Node(op, (node, self.expression()))
                self.expect("]")
            else:
                return node
        raise Unreadable(f"expected at most {LONGEST_CHAIN} fields in a row")

    def _selected(self, node: Node) -> Node:
        if self._skip("?"):
            return Node(".?", (node, self._name()))
        name = self._name()
        return Node("call", (name, node, self._many(")"))) if self._skip("(") else Node(".", (node, name))

    def _name(self) -> str:
        kind, text, _ = self._tokens[self._at]
        if kind not in ("word", "quoted"):
            raise self._wrong("expecting IDENTIFIER")
        self._at += 1
        return text.strip("`")

    def _primary(self) -> Node:
        kind, text, _ = self._tokens[self._at]
        if self._skip("("):
            node = self.expression()
            self.expect(")")
            return node
        if self._skip("["):
            return Node("list", self._many("]"))
        if self._skip("{"):
            return Node("map", self._many("}"))
        self._skip(".")
        if kind in ("int", "float", "text"):
            self._at += 1
            return Node("value", (_literal(kind, text),))
        if text in _RESERVED:
            raise self._wrong("expecting an expression")
        if text in _VALUES:
            self._at += 1
            return Node("value", (_VALUES[text],))
        name = self._name()
        return Node("call", (name, None, self._many(")"))) if self._skip("(") else Node("name", (name,))

    def _many(self, end: str) -> tuple[Any, ...]:
        """Arguments, elements with whether they are optional, or entries with that too."""
        found: list[Any] = []
        while not self._skip(end):
            optional = end != ")" and self._skip("?") is not None
            node = self.expression()
            if end == "}":
                self.expect(":")
                found.append((optional, node, self.expression()))
            else:
                found.append(node if end == ")" else (optional, node))
            if not self._skip(","):
                self.expect(end)
                break
        return tuple(found)


def _literal(kind: str, text: str) -> Any:
    if kind == "float":
        return float(text)
    if kind == "int":
        number = int(text.rstrip("uU"), 16 if "x" in text else 10)
        if not -(2**63) <= number < (2**64 if text[-1] in "uU" else 2**63):
            raise Unreadable(f"invalid int literal: {text}")
        return number
    prefix = re.match("[bBrR]*", text)
    said = text[prefix.end() :] if prefix else text
    quote = said[:3] if said[:3] in ('"""', "'''") else said[:1]
    inner = said[len(quote) : -len(quote)]
    told = prefix[0].lower() if prefix else ""
    plain = inner if "r" in told else _ESCAPED.sub(_character, inner)
    return plain.encode() if "b" in told else plain


def _character(match: "re.Match[str]") -> str:
    said = match[1]
    if len(said) > 1:
        number = int(said, 8) if said.isdigit() and len(said) == 3 else int(said[1:], 16)
        if number > 0x10FFFF or 0xD800 <= number < 0xE000:
            raise Unreadable(f"{match[0]} is no character")
        return chr(number)
    return _CONTROLS.get(said, said)
