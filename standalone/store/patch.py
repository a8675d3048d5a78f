"""Patches: JSON merge (RFC 7386), JSON (RFC 6902) and Kubernetes' strategic merge. Pure."""

from typing import Any, Final

from diskyard.api.meta import Obj
from diskyard.errors import BadRequest
from diskyard.kube.client import Patch
from standalone.store import operations

_MERGE_KEYS: Final = {
    "containers": "name", "initContainers": "name", "volumes": "name", "env": "name", "imagePullSecrets": "name",
    "secrets": "name", "ports": "containerPort", "volumeMounts": "mountPath", "volumeDevices": "devicePath",
    "conditions": "type", "ownerReferences": "uid", "hostAliases": "ip", "taints": "key", "addresses": "type",
    "containerStatuses": "name", "initContainerStatuses": "name",
}  # fmt: skip
"""By which field the elements of a list are told apart; other lists are replaced."""
_SETS: Final = ("finalizers",)
_ORDER, _DROP, _RETAIN, _HOW = "$setElementOrder/", "$deleteFromPrimitiveList/", "$retainKeys", "$patch"


def told(schema: Any) -> Any:
    """A schema that says how strategic patches treat its lists: kubectl makes its patches by that."""
    if isinstance(schema, list):
        return [told(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    result = {word: told(inner) for word, inner in schema.items() if word != "properties"}
    if isinstance(schema.get("properties"), dict):
        result["properties"] = {
            name: {**told(inner), **_strategy(name, inner)} for name, inner in schema["properties"].items()
        }
    return result


def _strategy(field: str, schema: Any) -> Obj:
    if schema.get("type") != "array":
        return {}
    if field in _SETS:
        return {"x-kubernetes-patch-strategy": "merge"}
    known = (schema.get("items") or {}).get("properties") or {}
    key = _MERGE_KEYS.get(field, "")
    if field == "ports" and key not in known:
        key = "port"
    how = "merge,retainKeys" if field == "volumes" else "merge"
    if key not in known:
        return {}
    return {"x-kubernetes-patch-merge-key": key, "x-kubernetes-patch-strategy": how}


def patched(obj: Obj, patch: Any, how: Patch) -> Obj:
    """A new object: `obj` with the patch applied. Raises BadRequest, Invalid."""
    if how is Patch.JSON:
        operated: Obj = operations.operated(obj, patch)
        return operated
    if not isinstance(patch, dict):
        raise BadRequest(f"error decoding patch: {operations.unmarshalled(patch, 'map[string]interface {}')}")
    result: Obj = merge(obj, patch) if how is Patch.MERGE else strategic(obj, patch)
    return result


def merge(target: Any, patch: Any) -> Any:
    """RFC 7386: null takes a field away, objects are merged, all else replaces."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for field, value in patch.items():
        if value is None:
            merged.pop(field, None)
        else:
            merged[field] = merge(merged.get(field), value)
    return merged


def strategic(target: Any, patch: Any) -> Any:
    """As `merge`, but lists of named things are merged by name, and directives (`$patch`, ...) are obeyed.

    https://github.com/kubernetes/community/blob/master/contributors/devel/sig-api-machinery/strategic-merge-patch.md
    """
    if not isinstance(patch, dict):
        return patch
    if patch.get(_HOW) == "replace":
        return {field: value for field, value in patch.items() if field != _HOW}
    merged = dict(target) if isinstance(target, dict) else {}
    if _RETAIN in patch:
        retained = _listed(_RETAIN, patch[_RETAIN])
        merged = {field: value for field, value in merged.items() if field in retained}
    for field, value in patch.items():
        if field.startswith(_DROP):
            name, dropped = field.removeprefix(_DROP), _listed(field, value)
            merged[name] = [item for item in _listed(name, merged.get(name, [])) if item not in dropped]
        elif field.startswith(_ORDER) or field in (_RETAIN, _HOW):
            continue
        elif value is None or (isinstance(value, dict) and value.get(_HOW) == "delete"):
            merged.pop(field, None)
        elif isinstance(value, list):
            merged[field] = _merged_list(field, merged.get(field), value, patch.get(_ORDER + field))
        else:
            merged[field] = strategic(merged.get(field), value)
    for name in (field.removeprefix(_ORDER) for field in patch if field.startswith(_ORDER)):
        if name not in patch and isinstance(merged.get(name), list):
            merged[name] = _merged_list(name, merged[name], [], patch[_ORDER + name])
    return merged


def _listed(field: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise BadRequest(f"{field} in a strategic merge patch: expected a list, found {type(value).__name__}")
    return value


def _merged_list(field: str, target: Any, patch: list[Any], order: Any) -> list[Any]:
    """The elements of both; `order` is how the patch wants them, where it says so."""
    there = [*target] if isinstance(target, list) else []
    order = patch if order is None else _listed(_ORDER + field, order)
    if field in _SETS:
        return _in_order([*there, *(item for item in patch if item not in there)], order, there)
    key = _merge_key(field, [*patch, *order])
    if not key or not all(isinstance(item, dict) for item in there):
        return patch
    if any(item.get(_HOW) == "replace" for item in patch):
        return [item for item in patch if item.get(_HOW) != "replace"]
    dropped = [item.get(key) for item in patch if item.get(_HOW) == "delete"]
    changes = {item.get(key): item for item in patch if _HOW not in item}
    result = [
        strategic(item, changes.pop(item.get(key), {})) for item in there if item.get(key) not in dropped
    ]
    names = [[item.get(key) for item in items] for items in (order, there)]
    merged = {item[key]: item for item in (*result, *(strategic({}, item) for item in changes.values()))}
    return [merged[name] for name in _in_order([*merged], *names)]


def _in_order(merged: list[Any], patched: list[Any], there: list[Any]) -> list[Any]:
    """What the patch names in its order, all else as it stood; where nothing ties the two, the patch's comes first."""
    right = sorted((one for one in merged if one in patched), key=patched.index)
    left = [one for one in merged if one not in patched]
    result: list[Any] = []
    while left and right:
        both = left[0] in there and right[0] in there
        first = left if both and there.index(left[0]) < there.index(right[0]) else right
        result.append(first.pop(0))
    return [*result, *left, *right]


def _merge_key(field: str, patch: list[Any]) -> str:
    """The field that names this list's elements; empty when the list is replaced as a whole."""
    if not all(isinstance(item, dict) for item in patch):
        return ""
    key = _MERGE_KEYS.get(field, "")
    if field == "ports" and any("port" in item for item in patch):
        key = "port"  # a Service's ports
    return key if all(isinstance(item.get(key), str | int) or _HOW in item for item in patch) else ""
