"""What a DataVolume is cloned from, the claim that it becomes, and where its clone stands. Pure but for `gathered`."""

from dataclasses import dataclass, replace
from typing import Final

from datavolume_controller.claim import Refusal
from datavolume_controller.datasources import SOURCES, Named, named
from diskyard.api import meta, quantity, snapshot
from diskyard.api.config import Config
from diskyard.api.datavolume import DataVolume
from diskyard.api.meta import (
    CLAIM,
    CLONE_SOURCE,
    DATA_SOURCE,
    DATA_VOLUME,
    SNAPSHOT,
    SNAPSHOT_CONTENT,
    Key,
    Obj,
)
from diskyard.api.names import clone, derived
from diskyard.api.storage import BLOCK, Claim, claim
from diskyard.kube.client import Client
from diskyard.kube.reconcile import find

_ENTRIES: Final = {CLAIM.kind: "pvc", SNAPSHOT.kind: "snapshot"}
NO_SOURCE: Final = "CloneWithoutSource"


@dataclass(frozen=True)
class Cloning:
    """What is cloned, as it stands."""

    leaf: Named | None
    """The claim or snapshot; None while the DataSource names none."""
    found: Obj | None = None
    content: Obj | None = None
    """Of a snapshot: what storage has of it."""

    @property
    def source(self) -> Claim | None:
        """The claim that is cloned; None: it is a snapshot, or not there."""
        return claim(self.found) if self.found and self.leaf and self.leaf.entry == "pvc" else None


def gathered(client: Client, dv: DataVolume, obj: Obj, source_obj: Obj | None) -> Cloning | None:
    """What a DataVolume is cloned from: what was once settled for it, else what it names now."""
    if not dv.clones:
        return None
    leaf = settled(source_obj) if source_obj else _asked(client, dv, obj)
    if leaf is None:
        return Cloning(None)
    found = find(client, SOURCES[leaf.entry], leaf.key)
    held = snapshot.content_name(found) if found and leaf.entry == "snapshot" else ""
    return Cloning(leaf, found, find(client, SNAPSHOT_CONTENT, Key(held)) if held else None)


def settled(source_obj: Obj) -> Named | None:
    """What a VolumeCloneSource names."""
    said = meta.spec(source_obj).get("source") or {}
    entry = _ENTRIES.get(str(said.get("kind")))
    where = meta.annotations(source_obj).get(clone.NAMESPACE) or meta.namespace(source_obj)
    return Named(entry, Key(str(said.get("name") or ""), where)) if entry else None


def _asked(client: Client, dv: DataVolume, obj: Obj) -> Named | None:
    if dv.refers is None:
        return named(meta.spec(obj).get("source"), dv.key.namespace)
    data_source = find(client, DATA_SOURCE, dv.refers)
    found = named(meta.status(data_source or {}).get("source"), dv.refers.namespace)
    return found if found and found.entry != "dataSource" else None


def source(owner: Obj, dv: DataVolume, leaf: Named) -> Obj:
    """The VolumeCloneSource of a DataVolume: beside it, whichever namespace its source is in."""
    kind = SOURCES[leaf.entry]
    spec = {
        "source": {
            **({"apiGroup": kind.group} if kind.group else {}),
            "kind": kind.kind,
            "name": leaf.key.name,
        },
        "preallocation": dv.preallocation,
        "priorityClassName": dv.priority_class or None,
    }
    return {
        "apiVersion": CLONE_SOURCE.api_version,
        "kind": CLONE_SOURCE.kind,
        "metadata": {
            "name": derived.clone_source(dv.uid),
            "namespace": dv.key.namespace,
            "annotations": {clone.NAMESPACE: leaf.key.namespace},
            "ownerReferences": [meta.owner_reference(DATA_VOLUME, owner)],
        },
        "spec": {name: said for name, said in spec.items() if said is not None},
    }


def sized(dv: DataVolume, cloning: Cloning, config: Config, default: str = "") -> DataVolume | Refusal:
    """The DataVolume with the size that its claim needs, where it says none (cdi-wire: size inference).

    `default`: the class that it gets where it names none.

    On a file system that is the largest disk that the source's volume can hold: what made the disk grew it to that.
    """
    if cloning.leaf is None or cloning.found is None:
        return Refusal(NO_SOURCE, f"The source {_word(cloning)} doesn't exist")
    if dv.storage is None or _request(dv.storage):
        return dv
    held = cloning.source
    size = held.capacity if held else snapshot.restore_size(cloning.found)
    if not size:
        what = "is not bound yet" if held else "has no RestoreSize"
        return Refusal("CloneSourceNotReady", f"The source {_word(cloning)} {what}: its size is waited for")
    block = held.block if held else snapshot.mode(cloning.found, cloning.content) == BLOCK
    if not block:
        name = (held.storage_class if held else "") or dv.storage_class or default
        size = quantity.usable(size, float(config.overhead_of(name, block=False)))
    return replace(dv, storage={**dv.storage, "resources": {"requests": {"storage": str(size)}}})


def _request(storage: Obj) -> str:
    return str(((storage.get("resources") or {}).get("requests") or {}).get("storage") or "")


def _word(cloning: Cloning) -> str:
    if cloning.leaf is None:
        return "of its DataSource"
    return f"{'pvc' if cloning.leaf.entry == 'pvc' else 'snapshot'} {cloning.leaf.key.name}"
