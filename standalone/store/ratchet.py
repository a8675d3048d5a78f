"""What an update leaves as it was need not be right: a rule that came later does not stop other changes. Pure.

https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation-ratcheting
"""

from collections.abc import Sequence
from typing import Any

from standalone.store import fields
from standalone.store.fields import Node


def untouched(path: Sequence[str | int], value: Any, old: Any, node: Node) -> bool:
    """Whether the value at that path, or any that it lies in, is what it was.

    Elements of a list are the same ones where the schema says what tells them apart; all others only with their list.
    """
    for step in path:
        if value == old:
            return True
        element = f"f:{step}"
        if isinstance(step, int):
            if node.get(fields.LIST_TYPE) != "map":
                return False
            element = fields.element_of(value[step], node, step)
        known = fields.parts(old, node).get(element)
        if known is None:
            return False
        value, old, node = value[step], known.value, fields.child(node, element)
    return bool(value == old)
