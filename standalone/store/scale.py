"""The scale subresource: how many there are to be of something, read and written without knowing its kind. Pure.

Where the numbers stand in an object, its CustomResourceDefinition says (`subresources.scale`).
"""

import copy
from collections.abc import Mapping
from typing import Any, Final

from diskyard.api import meta
from diskyard.api.meta import Kind, Obj
from diskyard.errors import BadRequest, Cause
from standalone.store import answers

SCALE: Final = Kind("autoscaling", "v1", "Scale", "scales")
SUBRESOURCE: Final = "scale"
_MOST: Final = (1 << 31) - 1
_SHARED: Final = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")

Paths = Mapping[str, str]
"""`specReplicasPath`, `statusReplicasPath` and, where there is one, `labelSelectorPath`."""


def of(obj: Obj, paths: Paths) -> Obj:
    """An object's Scale."""
    metadata = {field: value for field, value in meta.meta(obj).items() if field in _SHARED}
    wanted = _at(obj, paths["specReplicasPath"])
    selector = _at(obj, paths.get("labelSelectorPath", ""))
    return {
        "kind": SCALE.kind,
        "apiVersion": SCALE.api_version,
        "metadata": metadata,
        "spec": {"replicas": wanted} if wanted else {},
        "status": {
            "replicas": _at(obj, paths["statusReplicasPath"]) or 0,
            **({"selector": selector} if selector else {}),
        },
    }


def scaled(obj: Obj, paths: Paths, asked: Obj) -> Obj:
    """The object with as many as a Scale asks for. Raises BadRequest, Invalid."""
    for field, expected in (("apiVersion", SCALE.api_version), ("kind", SCALE.kind)):
        if asked.get(field, expected) != expected:
            raise BadRequest(f"the body is not a Scale: its {field} is {str(asked[field])[:60]!r}")
    replicas = meta.spec(asked).get("replicas", 0)
    if isinstance(replicas, bool) or not isinstance(replicas, int):
        told = f"Invalid value: {str(replicas)[:60]}: should be a non-negative integer"
        raise answers.invalid(SCALE, meta.name(obj), [Cause(told, "spec.replicas")])
    result = copy.deepcopy(obj)
    revision = meta.meta(asked).get("resourceVersion")
    if revision:
        result["metadata"]["resourceVersion"] = revision
    *parents, last = _fields(paths["specReplicasPath"])
    at = result
    for name in parents:
        at = at.setdefault(name, {})
    at[last] = replicas
    return result


def place(paths: Paths) -> tuple[str, ...]:
    """Where the number stands, as `managedFields` says it."""
    return tuple(f"f:{name}" for name in _fields(paths["specReplicasPath"]))


def causes(obj: Obj, paths: Paths) -> list[Cause]:
    """What is wrong with the number that an object says of itself."""
    path = paths["specReplicasPath"]
    found = _at(obj, path)
    if isinstance(found, bool) or not isinstance(found, int) or 0 <= found <= _MOST:
        return []
    why = "should be a non-negative integer" if found < 0 else f"should be less than or equal to {_MOST}"
    return [Cause(f"Invalid value: {found}: {why}", path)]


def _at(obj: Obj, path: str) -> Any:
    found: Any = obj
    for name in _fields(path):
        found = found.get(name) if isinstance(found, dict) else None
    return found if path else None


def _fields(path: str) -> list[str]:
    return path.lstrip(".").split(".")
