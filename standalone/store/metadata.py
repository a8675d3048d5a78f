"""What the server keeps in an object's metadata: identity, times, generation; and what it lets others change. Pure."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from diskyard.api import meta
from diskyard.api.meta import Kind, Obj
from diskyard.errors import BadRequest, Invalid

SERVER_FIELDS: Final = (
    "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "selfLink",
    "managedFields", "resourceVersion", "namespace", "name", "generateName",
)  # fmt: skip


@dataclass(frozen=True)
class Birth:
    """What makes a new object one of its own."""

    name: str
    uid: str
    now: str


def born(kind: Kind, obj: Obj, birth: Birth, *, generation: bool) -> Obj:
    """A new object as the server stores it: only what the author may say, and its identity."""
    said = meta.meta(obj)
    kept = {field: value for field, value in said.items() if field not in SERVER_FIELDS and value is not None}
    metadata = {
        "name": birth.name,
        **({"generateName": said["generateName"]} if said.get("generateName") else {}),
        **({"namespace": meta.namespace(obj)} if kind.namespaced else {}),
        "uid": birth.uid,
        "creationTimestamp": birth.now,
        **({"generation": 1} if generation else {}),
        **kept,
    }
    rest = {field: value for field, value in obj.items() if field not in ("apiVersion", "kind", "metadata")}
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, **rest}


def kept(kind: Kind, new: Obj, old: Obj) -> Obj:
    """`new` with what only the server may change as it stands in `old`."""
    said, was = meta.meta(new), meta.meta(old)
    metadata: dict[str, Any] = {field: was[field] for field in SERVER_FIELDS if field in was}
    metadata |= {
        field: value for field, value in said.items() if field not in SERVER_FIELDS and value is not None
    }
    rest = {field: value for field, value in new.items() if field not in ("apiVersion", "kind", "metadata")}
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, **rest}


def with_status_of(new: Obj, old: Obj) -> Obj:
    """`new` with the status of `old`."""
    result = {field: value for field, value in new.items() if field != "status"}
    if "status" in old:
        result["status"] = old["status"]
    return result


def only_status(new: Obj, old: Obj) -> Obj:
    """`old` with the status of `new`."""
    return with_status_of(copy.deepcopy(old), new)


def same(new: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    """Whether a write would change nothing."""
    return {**new, "metadata": _plain(new)} == {**old, "metadata": _plain(old)}


def next_generation(new: Obj, old: Obj, *, status: bool) -> Obj:
    """`new` with its generation one up when more than metadata (and status) has changed."""
    if "generation" not in meta.meta(old):
        return new
    apart = ("metadata", "status") if status else ("metadata",)
    changed = {f: v for f, v in new.items() if f not in apart} != {
        f: v for f, v in old.items() if f not in apart
    }
    if changed:
        new["metadata"]["generation"] = int(old["metadata"]["generation"]) + 1
    return new


def checked(kind: Kind, obj: Any) -> Obj:
    """The object, if it is one of that kind at all. Raises BadRequest."""
    if not isinstance(obj, dict) or not isinstance(obj.get("metadata"), dict):
        raise BadRequest(f"expected a {kind.kind} with metadata, found {type(obj).__name__} without")
    found = str(obj.get("kind") or kind.kind)
    if found != kind.kind:
        raise BadRequest(
            f"the object provided is unrecognized (must be of type {kind.kind}): it is a {found}"
        )
    if kind.namespaced and not meta.namespace(obj):
        raise BadRequest("an empty namespace may not be set during creation")
    return obj


def nameless(kind: Kind) -> Invalid:
    """The answer to an object without name and generateName."""
    return Invalid(
        f'{kind.kind} "" is invalid: metadata.name: Required value: name or generateName is required'
    )


def _plain(obj: Mapping[str, Any]) -> dict[str, Any]:
    return {field: value for field, value in obj["metadata"].items() if field != "resourceVersion"}
