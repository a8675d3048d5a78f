"""A VolumeSnapshot and its content: which belongs to which, and what is written of them. Pure.

What belongs to whom, and under which names, is that of kubernetes-csi/external-snapshotter: where its controller is at
work too, both come to the same.
"""

import re
from datetime import UTC, datetime
from typing import Any, Final

from diskyard.api import meta, quantity
from diskyard.api import snapshot as api
from diskyard.api.meta import SNAPSHOT, SNAPSHOT_CLASS, SNAPSHOT_CONTENT, Key, Obj
from diskyard.api.names import derived, kubernetes
from diskyard.api.names import snapshot as names
from standalone.storage import volume

_HANDLE: Final = re.compile(r"snapshot-[0-9a-f-]{1,40}")
_NANOSECONDS: Final = 10**9


def classes() -> list[Obj]:
    """`local`, the default: what it made goes with its VolumeSnapshot."""
    metadata = {"name": kubernetes.LOCAL_CLASS, "annotations": {names.DEFAULT_CLASS: "true"}}
    return [
        {
            "apiVersion": SNAPSHOT_CLASS.api_version,
            "kind": SNAPSHOT_CLASS.kind,
            "metadata": metadata,
            "driver": kubernetes.PROVISIONER,
            "deletionPolicy": "Delete",
        }
    ]


def claim(snapshot: Obj) -> str:
    """The claim of which it is to be taken; empty: it is there already."""
    return str((meta.spec(snapshot).get("source") or {}).get("persistentVolumeClaimName") or "")


def content_name(snapshot: Obj) -> str:
    """What its content is called."""
    given = (meta.spec(snapshot).get("source") or {}).get("volumeSnapshotContentName")
    return str(given or derived.snapshot_content(meta.uid(snapshot)))


def taking(snapshot: Obj, name: str) -> bool:
    """Whether a snapshot is being taken of the claim of that name."""
    begun = bool(api.content_name(snapshot))
    return claim(snapshot) == name and begun and not api.ready(snapshot) and not api.failure(snapshot)


def owner(content: Obj) -> tuple[Key, str]:
    """The VolumeSnapshot that a content is for, and its uid (empty: whichever has the name)."""
    ref = meta.spec(content).get("volumeSnapshotRef") or {}
    return Key(str(ref.get("name") or ""), str(ref.get("namespace") or "")), str(ref.get("uid") or "")


def bound(snapshot: Obj, content: Obj | None) -> bool:
    """Whether each names the other."""
    return (
        content is not None
        and owner(content) == (meta.key(snapshot), meta.uid(snapshot))
        and content_name(snapshot) == meta.name(content)
    )


def handle(content: Obj) -> str:
    """What a content is called in storage; empty where that is no name of ours: nothing is looked for there."""
    given = (meta.spec(content).get("source") or {}).get("snapshotHandle")
    said = str(given or derived.snapshot_handle(owner(content)[1]))
    return said if _HANDLE.fullmatch(said) else ""


def volume_handle(content: Obj) -> str:
    """The volume of which a content is taken; empty: it is there already."""
    return str((meta.spec(content).get("source") or {}).get("volumeHandle") or "")


def is_ours(content: Obj, node: str) -> bool:
    """Whether a content is of this driver, and on that node or on none that is named."""
    said = meta.labels(content).get(names.MANAGED_BY, node)
    return meta.spec(content).get("driver") == kubernetes.PROVISIONER and said == node


def content(snapshot: Obj, source: Obj, chosen: Obj, node: str) -> Obj:
    """The content for a VolumeSnapshot of that volume, by that class."""
    return {
        "apiVersion": SNAPSHOT_CONTENT.api_version,
        "kind": SNAPSHOT_CONTENT.kind,
        "metadata": {
            "name": content_name(snapshot),
            "labels": {names.MANAGED_BY: node},
            "finalizers": [names.CONTENT_PROTECTION],
        },
        "spec": {
            "deletionPolicy": chosen.get("deletionPolicy"),
            "driver": chosen.get("driver"),
            "source": {"volumeHandle": meta.name(source)},
            "sourceVolumeMode": "Block" if volume.is_block(source) else "Filesystem",
            "volumeSnapshotClassName": meta.name(chosen),
            "volumeSnapshotRef": reference(snapshot),
        },
    }


def reference(snapshot: Obj) -> dict[str, Any]:
    """How a content names its VolumeSnapshot."""
    return {
        "apiVersion": SNAPSHOT.api_version,
        "kind": SNAPSHOT.kind,
        "namespace": meta.namespace(snapshot),
        "name": meta.name(snapshot),
        "uid": meta.uid(snapshot),
    }


def reflected(content: Obj) -> Obj:
    """The status of the VolumeSnapshot of a content."""
    said = meta.status(content)
    taken = said.get("creationTime")
    size = said.get("restoreSize")
    moment = datetime.fromtimestamp(int(taken) // _NANOSECONDS, UTC) if taken else None
    return {
        "boundVolumeSnapshotContentName": meta.name(content),
        "readyToUse": api.ready(content),
        "creationTime": meta.timestamp(moment) if moment else None,
        "restoreSize": quantity.canonical(int(size)) if size else None,
        "error": said.get("error"),
    }


def error(held: Obj, message: str, now: datetime) -> Obj:
    """The error in a status; what is known stays as it was told first."""
    known: Obj = meta.status(held).get("error") or {}
    return known if known.get("message") == message else {"message": message, "time": meta.timestamp(now)}
