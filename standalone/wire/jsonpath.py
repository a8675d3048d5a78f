"""The part of JSONPath that printer columns use: `.a.b`, `[0]`, `[*]`, `['a.b']`, `[?(@.type=='Ready')]`. Pure."""

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

Step = Callable[[Any], Iterator[Any]]

_TOKEN = re.compile(
    r"""\.(?P<field>(?:\\.|[^.\[\\])+)
      | \[(?P<index>-?\d+)\]
      | \[\s*(?P<all>\*)\s*\]
      | \[(?P<quote>['"])(?P<key>(?:\\.|(?!(?P=quote)).)*)(?P=quote)\]
      | \[\?\(\s*@(?P<path>(?:\.[\w\\.-]+)+)\s*==\s*(?P<mark>['"])(?P<value>[^'"]*)(?P=mark)\s*\)\]""",
    re.VERBOSE,
)


def found(path: str, value: Any) -> list[Any]:
    """Everything that the path leads to, in order; nothing for a path that we cannot read."""
    values = [value]
    for step in _steps(path):
        values = [result for each in values for result in step(each)]
    return values


@lru_cache(maxsize=1024)
def _steps(path: str) -> tuple[Step, ...]:
    steps, at = [], 0
    while at < len(path):
        token = _TOKEN.match(path, at)
        if token is None:
            return (_nothing,)
        steps.append(_step(token))
        at = token.end()
    return tuple(steps)


def _step(token: re.Match[str]) -> Step:
    if token["index"] is not None:
        return _item(int(token["index"]))
    if token["all"]:
        return _items
    if token["path"]:
        return _where(token["path"], token["value"])
    return _field(re.sub(r"\\(.)", r"\1", token["field"] or token["key"] or ""))


def _nothing(_: Any) -> Iterator[Any]:
    return iter(())


def _field(name: str) -> Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, dict) and name in value:
            yield value[name]

    return step


def _item(index: int) -> Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, list) and -len(value) <= index < len(value):
            yield value[index]

    return step


def _items(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        yield from value
    elif isinstance(value, dict):
        yield from value.values()


def _where(path: str, wanted: str) -> Step:
    def step(value: Any) -> Iterator[Any]:
        yield from (item for item in _items(value) if wanted in found(path, item))

    return step
