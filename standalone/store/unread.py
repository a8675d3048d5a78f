"""Fields that a schema keeps and does not describe: a slip of the pen, or what is not served. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from standalone.store.schema import KEEPS, Node


def unread(value: Any, node: Node, path: str) -> Iterator[str]:
    """The paths of such fields, below an object of the schema `node` at `path`; what holds anything has none."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from unread(item, node.get("items") or {}, f"{path}[{index}]")
    elif isinstance(value, dict) and "properties" in node:
        more = node.get("additionalProperties")
        for field, inner in value.items():
            found = node["properties"].get(field, more)
            if isinstance(found, Mapping):
                yield from unread(inner, found, f"{path}.{field}")
            elif node.get(KEEPS):
                yield f"{path}.{field}"
