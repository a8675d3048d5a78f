"""Claims with a claim or a VolumeSnapshot as their `dataSource`: their volume is a copy of what lies there."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from diskyard.api import meta
from diskyard.api.meta import CLAIM, SNAPSHOT, SNAPSHOT_CONTENT, Key, Kind, Obj
from diskyard.api.names import snapshot as names
from diskyard.api.quantity import canonical
from diskyard.api.snapshot import failure, ready
from diskyard.kube.client import Client
from diskyard.kube.reconcile import Tell, find
from standalone.storage import snapshot, volume
from standalone.storage.copies import Copies, Copy
from standalone.storage.place import Place


@dataclass(frozen=True)
class Original:
    """What a claim's volume is to be a copy of: a claim and its volume, or a VolumeSnapshot and its content."""

    kind: Kind
    name: str
    obj: Obj | None
    holder: Obj | None
    """The volume or the content."""
    copy: Copy | None
    """How far it is."""

    @property
    def word(self) -> str:
        """How it is spoken of."""
        return f'{self.kind.singular} "{self.name}"'

    def path(self, place: Place) -> Path:
        """Where it lies."""
        held = self.holder or {}
        if self.kind == CLAIM:
            return place.volume(meta.name(held))
        return place.snapshot(snapshot.handle(held))


@dataclass(frozen=True)
class Duplicate:
    """Begin to copy a volume or a snapshot; that it is under way is fine."""

    whose: Key
    """The claim, or the content of a snapshot, that it is for."""
    source: Path
    path: Path
    copies: Copies

    def carry_out(self, _: Client) -> None:
        """Begin."""
        self.copies.begin(self.whose, self.source, self.path)


def restored(claim: Obj) -> Iterable[Key]:
    """The VolumeSnapshot that a claim names to be made from."""
    said = _named(claim)
    if (said.get("apiGroup"), said.get("kind")) == (SNAPSHOT.group, SNAPSHOT.kind):
        yield Key(str(said.get("name") or ""), meta.namespace(claim))


def original(client: Client, claim: Obj, volumes: Sequence[Obj], copies: Copies) -> Original | None:
    """What a claim names to be copied; None: nothing that storage copies."""
    copy = copies.look(meta.key(claim))
    for key in restored(claim):
        found = find(client, SNAPSHOT, key)
        content = find(client, SNAPSHOT_CONTENT, Key(snapshot.content_name(found))) if found else None
        return Original(SNAPSHOT, key.name, found, content, copy)
    said = _named(claim)
    if said.get("kind") != CLAIM.kind or said.get("apiGroup"):
        return None
    name = str(said.get("name") or "")
    found = find(client, CLAIM, Key(name, meta.namespace(claim)))
    named = meta.spec(found or {}).get("volumeName")
    held = next((each for each in volumes if meta.name(each) == named), None)
    return Original(CLAIM, name, found, held, copy)


def misfit(claim: Obj, source: Original, node: str) -> str:
    """Why no copy can be made of it, or not yet; empty: one can."""
    if source.obj is None:
        return f"{source.word} not found: the volume is to be a copy of what it holds"
    of_claim = source.kind == CLAIM
    hindrance = _unusable(source, node) if of_claim else _not_ready(source, node)
    if hindrance or source.holder is None:
        return hindrance
    said = "Block" if volume.is_block(source.obj) else "Filesystem"
    mode = said if of_claim else str(meta.spec(source.holder).get("sourceVolumeMode") or "Filesystem")
    changes = meta.annotations(source.holder).get(names.CHANGES_MODE) == "true"
    if (mode == "Block") != volume.is_block(claim) and not changes:
        return f"{source.word} has another volumeMode ({mode}): a copy has the same"
    has = (
        volume.capacity(source.holder)
        if of_claim
        else int(meta.status(source.holder).get("restoreSize") or 0)
    )
    if volume.request(claim) < has:
        return f"asked for less than {source.word} has: ask for at least {canonical(has)}"
    return ""


def told(kind: Kind, about: Obj, copy: Copy) -> Tell:
    """How it was copied."""
    if copy.reflinked:
        return Tell(kind, about, "Reflinked", "it shares its blocks with its source until either is written")
    sentence = "the file system of this node's volumes has no reflinks: the data was copied, holes are holes"
    return Tell(kind, about, "SparseCopy", sentence)


def _named(claim: Obj) -> Obj:
    found: Obj = meta.spec(claim).get("dataSource") or meta.spec(claim).get("dataSourceRef") or {}
    return found


def _unusable(source: Original, node: str) -> str:
    if meta.phase(source.obj or {}) != "Bound" or source.holder is None:
        return f"{source.word}, which is to be copied, is not bound yet"
    if not volume.is_ours(source.holder, node):
        return f"the volume of {source.word} is not of this node: it cannot be copied here"
    return ""


def _not_ready(source: Original, node: str) -> str:
    """Both have to name each other: a VolumeSnapshot alone could name anybody's content."""
    if not snapshot.bound(source.obj or {}, source.holder) or not ready(source.holder):
        why = failure(source.obj or {})
        return f"{source.word} is not ready to use yet{': ' if why else ''}{why}"
    if (
        source.holder is None
        or not snapshot.is_ours(source.holder, node)
        or not snapshot.handle(source.holder)
    ):
        return f"{source.word} is not of this node's storage: no volume can be made from it here"
    return ""
