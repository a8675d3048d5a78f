"""What the server keeps in an object's metadata: identity, times, generation; and what it lets others change. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from diskyard.api import meta
from diskyard.api.meta import Kind, Obj
from diskyard.errors import BadRequest
from diskyard.kube.client import Deletion
from standalone.store import answers, authors

SERVER_FIELDS: Final = (
    "name", "generateName", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp",
    "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink",
)  # fmt: skip


@dataclass(frozen=True)
class Birth:
    """What makes a new object one of its own."""

    name: str
    uid: str
    now: str


def born(kind: Kind, obj: Obj, birth: Birth, *, generation: bool) -> Obj:
    """A new object as the server stores it: what its author may say, and its identity."""
    prefix = meta.meta(obj).get("generateName")
    metadata = {
        "name": birth.name,
        **({"generateName": prefix} if prefix else {}),
        **({"namespace": meta.namespace(obj)} if kind.namespaced else {}),
        "uid": birth.uid,
        **({"generation": 1} if generation else {}),
        "creationTimestamp": birth.now,
        **_said(obj),
    }
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, **content(obj)}


def kept(kind: Kind, new: Obj, old: Obj) -> Obj:
    """`new`, with what only the server may change as it stands in `old`."""
    was = meta.meta(old)
    identity: Obj = {field: was[field] for field in SERVER_FIELDS if field in was}
    metadata = identity | _said(new)
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, **content(new)}


def content(obj: Obj) -> Obj:
    """The object without what every object has."""
    return {field: value for field, value in obj.items() if field not in ("apiVersion", "kind", "metadata")}


def texts(of: Mapping[str, Any], fields: Sequence[str]) -> dict[str, Any]:
    """Those fields that are maps, as a real server's types read them: null among texts is the empty text."""
    maps = {field: of[field] for field in fields if isinstance(of.get(field), dict)}
    return {
        field: {name: "" if text is None else text for name, text in entries.items()}
        for field, entries in maps.items()
    }


def addressed(obj: Obj, subresource: str, *, status: bool) -> Obj:
    """Of what is said of an object, what this way in can change: all but the status, or the status alone."""
    if subresource:
        metadata = {
            f: v for f, v in meta.meta(obj).items() if f in ("name", "namespace", "resourceVersion", "uid")
        }
        part = {subresource: obj[subresource]} if subresource in obj else {}
        return {**_type(obj), "metadata": metadata, **part}
    return {field: value for field, value in obj.items() if field != "status" or not status}


def with_status_of(new: Obj, old: Obj) -> Obj:
    """`new` with the status of `old`."""
    rest = {field: value for field, value in new.items() if field != "status"}
    return {**rest, **({"status": old["status"]} if old.get("status") is not None else {})}


def same(new: Obj, old: Obj) -> bool:
    """Whether a write would change nothing."""
    return {**new, "metadata": _lasting(new)} == {**old, "metadata": _lasting(old)}


def counted(new: Obj, old: Obj, *, status: bool) -> Obj:
    """`new` with its generation one up when more than metadata (and status, where it is apart) has changed."""
    if "generation" not in meta.meta(old):
        return new
    apart = ("status",) if status else ()
    before, after = ({f: v for f, v in content(obj).items() if f not in apart} for obj in (old, new))
    generation = int(old["metadata"]["generation"]) + (before != after)
    return {**new, "metadata": {**new["metadata"], "generation": generation}}


def readable(kind: Kind, obj: Any) -> Obj:
    """The object, if it can be one of that kind at all. Raises BadRequest."""
    if not isinstance(obj, dict) or not isinstance(obj.get("metadata"), dict):
        raise answers.unlike(kind, f"{type(obj).__name__} without metadata")
    if obj.get("kind") not in (None, "", kind.kind):
        raise answers.unlike(kind, obj["kind"])
    if str(obj.get("apiVersion") or kind.api_version).rpartition("/")[0] != kind.group:
        raise answers.unlike(kind, f"apiVersion {obj['apiVersion']}")
    if kind.namespaced and not meta.namespace(obj):
        raise BadRequest(f"an empty namespace may not be set: {kind.plural} live in namespaces")
    return obj


def hold(kind: Kind, obj: Obj, uid: str, resource_version: str) -> None:
    """Preconditions of a write. Raises Conflict."""
    if uid and uid != meta.uid(obj):
        raise answers.another(kind, obj, uid)
    if resource_version and resource_version != meta.meta(obj)["resourceVersion"]:
        raise answers.modified(kind, meta.name(obj))


def check(kind: Kind, obj: Obj, deletion: Deletion) -> None:
    """Preconditions of a deletion. Raises Conflict."""
    revision = meta.meta(obj)["resourceVersion"]
    if deletion.uid and deletion.uid != meta.uid(obj):
        raise answers.changed(kind, obj, "UID", deletion.uid, meta.uid(obj))
    if deletion.resource_version and deletion.resource_version != revision:
        raise answers.changed(kind, obj, "ResourceVersion", deletion.resource_version, revision)


def _type(obj: Obj) -> Obj:
    return {field: obj[field] for field in ("apiVersion", "kind") if field in obj}


def _said(obj: Obj) -> dict[str, Any]:
    said = {f: v for f, v in meta.meta(obj).items() if f not in SERVER_FIELDS}
    said |= texts(said, ("labels", "annotations"))
    return {f: v for f, v in said.items() if v not in (None, {}, []) or (f == "managedFields" and v == [])}


def _lasting(obj: Mapping[str, Any]) -> dict[str, Any]:
    """Without the revision, and without the times of writes: a write that changes only these is none."""
    metadata = {field: value for field, value in obj["metadata"].items() if field != "resourceVersion"}
    return {**metadata, "managedFields": authors.timeless(metadata)}
