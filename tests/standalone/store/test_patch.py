"""Strategic merge patches: lists of named things, directives."""

from typing import Any

import pytest

from standalone.store.patch import strategic

A, B = {"name": "a", "image": "1"}, {"name": "b", "image": "1"}


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ({"containers": [A, B]}, {"containers": [B | {"image": "2"}]}, {"containers": [A, B | {"image": "2"}]}),
        ({"containers": [A]}, {"containers": [{"name": "a", "x": 1}]}, {"containers": [A | {"x": 1}]}),
        ({"containers": [A]}, {"containers": [B]}, {"containers": [B, A]}),
        ({"containers": [A, B]}, {"containers": [{"name": "a", "$patch": "delete"}]}, {"containers": [B]}),
        ({"containers": [A]}, {"containers": [B, {"$patch": "replace"}]}, {"containers": [B]}),
        ({"containers": [A]}, {"$setElementOrder/containers": [{"name": "a"}]}, {"containers": [A]}),
        ({"finalizers": ["a"]}, {"finalizers": ["b"]}, {"finalizers": ["b", "a"]}),
        ({"finalizers": ["a", "b"]}, {"$deleteFromPrimitiveList/finalizers": ["a"]}, {"finalizers": ["b"]}),
        ({"command": ["a"]}, {"command": ["b"]}, {"command": ["b"]}),
        ({"a": 1, "b": 2}, {"$retainKeys": ["a"], "a": 3}, {"a": 3}),
        ({"spec": {"a": 1}}, {"spec": {"$patch": "replace", "b": 2}}, {"spec": {"b": 2}}),
        ({"spec": {"a": 1}}, {"spec": {"$patch": "delete"}}, {}),
        ({"a": 1, "b": 2}, {"a": None}, {"b": 2}),
        ({"ports": [{"port": 1, "x": 1}]}, {"ports": [{"port": 1, "y": 1}]}, {"ports": [{"port": 1, "x": 1, "y": 1}]}),
    ],
)  # fmt: skip
def test_a_strategic_patch(target: Any, patch: Any, result: Any) -> None:
    assert strategic(target, patch) == result
