"""Patches: JSON merge (RFC 7386), JSON (RFC 6902) and Kubernetes' strategic merge. Pure."""

from typing import Any, Final

import jsonpatch
import jsonpointer

from diskyard.api.meta import Obj
from diskyard.errors import BadRequest, Invalid
from diskyard.kube.client import Patch

MOST_OPERATIONS: Final = 10_000
"""As many operations as Kubernetes takes in one JSON patch."""

_MERGE_KEYS: Final = {
    "containers": "name", "initContainers": "name", "volumes": "name", "env": "name", "imagePullSecrets": "name",
    "secrets": "name", "ports": "containerPort", "volumeMounts": "mountPath", "volumeDevices": "devicePath",
    "conditions": "type", "ownerReferences": "uid", "hostAliases": "ip", "taints": "key", "addresses": "type",
    "containerStatuses": "name", "initContainerStatuses": "name",
}  # fmt: skip
"""By which field the elements of a list are told apart; other lists are replaced."""
_SETS: Final = ("finalizers",)
_REJECTED: Final = "the server rejected our request due to an error in our request"
_ORDER, _DROP, _RETAIN, _HOW = "$setElementOrder/", "$deleteFromPrimitiveList/", "$retainKeys", "$patch"


def patched(obj: Obj, patch: Any, how: Patch) -> Obj:
    """A new object: `obj` with the patch applied. Raises BadRequest, Invalid."""
    if how is Patch.JSON:
        return _json(obj, patch)
    if not isinstance(patch, dict):
        raise BadRequest(f"a merge patch is a JSON object, found {type(patch).__name__}")
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
            merged[field] = _merged_list(field, merged.get(field), value)
        else:
            merged[field] = strategic(merged.get(field), value)
    return merged


def _listed(field: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise BadRequest(f"{field} in a strategic merge patch: expected a list, found {type(value).__name__}")
    return value


def _merged_list(field: str, target: Any, patch: list[Any]) -> list[Any]:
    there = [*target] if isinstance(target, list) else []
    if field in _SETS:
        return [*there, *(item for item in patch if item not in there)]
    key = _merge_key(field, patch)
    if not key or not all(isinstance(item, dict) for item in there):
        return patch
    if any(item.get(_HOW) == "replace" for item in patch):
        return [item for item in patch if item.get(_HOW) != "replace"]
    dropped = [item.get(key) for item in patch if item.get(_HOW) == "delete"]
    changes = {item.get(key): item for item in patch if _HOW not in item}
    result = [
        strategic(item, changes.pop(item.get(key), {})) for item in there if item.get(key) not in dropped
    ]
    return result + [strategic({}, item) for item in changes.values()]


def _merge_key(field: str, patch: list[Any]) -> str:
    """The field that names this list's elements; empty when the list is replaced as a whole."""
    if not all(isinstance(item, dict) for item in patch):
        return ""
    key = _MERGE_KEYS.get(field, "")
    if field == "ports" and any("port" in item for item in patch):
        key = "port"  # a Service's ports
    return key if all(isinstance(item.get(key), str | int) or _HOW in item for item in patch) else ""


def _json(obj: Obj, patch: Any) -> Obj:
    if not isinstance(patch, list):
        raise BadRequest(f"a JSON patch is a list of operations, found {type(patch).__name__}")
    if len(patch) > MOST_OPERATIONS:
        raise BadRequest(f"{len(patch)} operations in one JSON patch; at most {MOST_OPERATIONS} are taken")
    try:
        result: Obj = jsonpatch.apply_patch(obj, patch)
    except (jsonpatch.InvalidJsonPatch, TypeError, AttributeError) as error:
        raise BadRequest(f"error decoding patch: {error}") from error
    except jsonpatch.JsonPatchTestFailed as error:
        raise Invalid(f"{_REJECTED}: a test operation found another value") from error
    except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException) as error:
        raise Invalid(f"{_REJECTED}: an operation names a path that the object does not have") from error
    return result
