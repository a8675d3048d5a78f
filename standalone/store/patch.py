"""Patches: JSON merge (RFC 7386) and JSON (RFC 6902). Pure."""

from typing import Any

import jsonpatch
import jsonpointer

from diskyard.api.meta import Obj
from diskyard.errors import BadRequest, Invalid
from diskyard.kube.client import Patch


def patched(obj: Obj, patch: Any, how: Patch) -> Obj:
    """A new object: `obj` with the patch applied. Raises BadRequest, Invalid."""
    if how is Patch.JSON:
        return _json(obj, patch)
    if not isinstance(patch, dict):
        raise BadRequest(f"a merge patch is a JSON object, not {type(patch).__name__}")
    merged: Obj = merge(obj, patch)
    return merged


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


def _json(obj: Obj, patch: Any) -> Obj:
    try:
        result: Obj = jsonpatch.apply_patch(obj, patch)
    except (jsonpatch.InvalidJsonPatch, TypeError, AttributeError) as error:
        raise BadRequest(f"a JSON patch is a list of operations: {error}") from error
    except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException) as error:
        raise Invalid(f"the server rejected our request due to an error in our request: {error}") from error
    return result
