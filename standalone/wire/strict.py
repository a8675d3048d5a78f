"""What is wrong with a JSON body that a lenient reader passes over: fields that are said twice. Pure."""

import json
from collections.abc import Iterator
from typing import Any, Final

_MOST: Final = 100
"""So many are told."""


class _Twice(list[tuple[str, Any]]):
    """An object's fields as they were said, one of them (or one of an inner object's) more than once."""


def duplicates(raw: bytes) -> tuple[str, ...]:
    """`duplicate field "spec.source"`: every field of well-formed JSON that is said again; the last one counts."""
    seen = False

    def read(pairs: list[tuple[str, Any]]) -> Any:
        nonlocal seen
        fields = dict(pairs)
        if len(fields) == len(pairs) and not seen:
            return fields
        seen = True
        return _Twice(pairs)

    whole = json.loads(raw, object_pairs_hook=read, parse_int=str, parse_float=str)
    if not seen:
        return ()
    found = dict.fromkeys(f'duplicate field "{path}"' for path in _again(whole, ""))
    return tuple(found)[:_MOST]


def _again(value: Any, at: str) -> Iterator[str]:
    if isinstance(value, _Twice):
        known: set[str] = set()
        for name, inner in value:
            path = f"{at}.{name}".lstrip(".")
            if name in known:
                yield path
            known.add(name)
            yield from _again(inner, path)
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _again(inner, f"{at}.{name}".lstrip("."))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _again(inner, f"{at}[{index}]")
