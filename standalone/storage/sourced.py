"""Claims with a claim as their `dataSource`: their volume is a copy of that one's."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from diskyard.api import meta
from diskyard.api.meta import CLAIM, Key, Obj
from diskyard.kube.client import Client
from diskyard.kube.reconcile import Tell, find
from standalone.storage import volume
from standalone.storage.copies import Copies, Copy


@dataclass(frozen=True)
class Original:
    """What a claim's volume is to be a copy of."""

    name: str
    claim: Obj | None
    volume: Obj | None
    copy: Copy | None
    """How far it is."""


@dataclass(frozen=True)
class Duplicate:
    """Begin to copy a volume; that it is under way is fine."""

    claim: Key
    source: Path
    path: Path
    copies: Copies

    def carry_out(self, _: Client) -> None:
        """Begin."""
        self.copies.begin(self.claim, self.source, self.path)


def original(client: Client, claim: Obj, volumes: Sequence[Obj], copies: Copies) -> Original | None:
    """What a claim names to be copied; None: no claim."""
    said = meta.spec(claim).get("dataSource") or meta.spec(claim).get("dataSourceRef") or {}
    if said.get("kind") != CLAIM.kind or said.get("apiGroup"):
        return None
    name = str(said.get("name") or "")
    found = find(client, CLAIM, Key(name, meta.namespace(claim)))
    named = meta.spec(found or {}).get("volumeName")
    held = next((each for each in volumes if meta.name(each) == named), None)
    return Original(name, found, held, copies.look(meta.key(claim)))


def misfit(claim: Obj, source: Original, node: str) -> str:
    """Why no copy can be made of it, or not yet; empty: one can."""
    if source.claim is None:
        return f'persistentvolumeclaim "{source.name}" not found: the volume is to be a copy of its volume'
    if meta.phase(source.claim) != "Bound" or source.volume is None:
        return f'persistentvolumeclaim "{source.name}", which is to be copied, is not bound yet'
    if not volume.is_ours(source.volume, node):
        return f'the volume of persistentvolumeclaim "{source.name}" is not of this node: it cannot be copied here'
    if volume.is_block(source.claim) != volume.is_block(claim):
        return f'persistentvolumeclaim "{source.name}" has another volumeMode: a copy has the same'
    if volume.request(claim) < volume.capacity(source.volume):
        has = meta.spec(source.volume)["capacity"]["storage"]
        return f'asked for less than persistentvolumeclaim "{source.name}" has: ask for at least {has}'
    return ""


def told(claim: Obj, copy: Copy) -> Tell:
    """How it was copied."""
    if copy.reflinked:
        return Tell(
            CLAIM, claim, "Reflinked", "the volume shares its blocks with its source until either is written"
        )
    sentence = "the file system of this node's volumes has no reflinks: the data was copied, holes are holes"
    return Tell(CLAIM, claim, "SparseCopy", sentence)
