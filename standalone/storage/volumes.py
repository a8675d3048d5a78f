"""Says of volumes whether they are to be had, and takes away those whose claims are gone, as they ask for."""

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from diskyard.api import meta
from diskyard.api.meta import CLAIM, VOLUME, Key, Kind, Obj
from diskyard.api.names import derived, kubernetes
from diskyard.kube.client import Client, Deletion
from diskyard.kube.reconcile import NOTHING, Delete, Merge, Plan, Tell, finalized, find
from standalone.colleagues import ALL, Duties
from standalone.storage import volume
from standalone.storage.action import Remove, Room
from standalone.storage.claims import Claims
from standalone.storage.contents import Contents
from standalone.storage.place import Place
from standalone.storage.snapshots import Snapshots


@dataclass(frozen=True)
class World:
    """A volume and everything that decides over it."""

    key: Key
    volume: Obj
    room: Room
    claim: Obj | None = None
    """The one that it is for, if that is there."""
    alone: bool = True
    """Whether no controller manager is at work, which would say how volumes stand."""

    @property
    def taken(self) -> bool:
        """Whether it is some claim's, there or gone."""
        of = volume.owner(self.volume)
        return of is not None and bool(of[1])

    @property
    def ours(self) -> bool:
        """Whether this storage made it."""
        return volume.is_ours(self.volume, self.room.node)


class Volumes:
    """The reconciler of volumes; one key at a time, beside that of claims."""

    kind = VOLUME

    def __init__(self, room: Room) -> None:
        self._room = room
        self.wakes: Mapping[Kind, Callable[[Obj], Iterable[Key]]] = {CLAIM: _volumes_of}

    def gather(self, client: Client, key: Key) -> World | None:
        """The volume and its claim."""
        found = find(client, VOLUME, key)
        if found is None:
            return None
        of = volume.owner(found)
        claim = find(client, CLAIM, of[0]) if of else None
        if of and of[1] and claim and meta.uid(claim) != of[1]:
            claim = None
        alone = self._room.duties.binds_claims(client, datetime.now(UTC))
        return World(key, found, self._room, claim, alone)

    def decide(self, world: World) -> Plan:
        """The first rule that speaks."""
        return next((plan for rule in RULES if (plan := rule(world)) is not None), NOTHING)


def _of_others(world: World) -> Plan | None:
    return None if world.alone or world.ours else NOTHING


def _in_use(world: World) -> Plan | None:
    return NOTHING if world.taken and world.claim else None


def _released(world: World) -> Plan | None:
    """Its claim is gone: it goes too, or is kept for whoever asked to retain it."""
    if not world.taken:
        return None
    policy = meta.spec(world.volume).get("persistentVolumeReclaimPolicy") or "Retain"
    if policy == "Delete" and world.ours:
        removed = Remove(world.volume, world.room.place)
        if meta.deleting(world.volume):
            return Plan((removed, *_freed(world)))
        return Plan((removed, Delete(VOLUME, world.key, Deletion(uid=meta.uid(world.volume)))))
    if meta.deleting(world.volume) or not world.alone:
        return None
    if policy == "Retain":
        return _said(world, "Released")
    sentence = (
        "this volume was made by hand: what lies in it is never deleted here. Delete what you do not need and then the "
        "volume, or set its persistentVolumeReclaimPolicy to Retain"
    )
    plan = _said(world, "Failed")
    told = Tell(VOLUME, world.volume, "VolumeFailedDelete", sentence, warning=True)
    return Plan((*plan.actions, told)) if plan.actions else NOTHING


def _deleting(world: World) -> Plan | None:
    """Nobody uses it: the object may go. What lies in a volume that was retained stays."""
    return Plan(_freed(world)) if meta.deleting(world.volume) else None


def _available(world: World) -> Plan | None:
    if world.taken or not world.alone:
        return NOTHING
    kept = meta.finalizers(world.volume)
    if kubernetes.VOLUME_PROTECTION not in kept:
        return Plan((finalized(VOLUME, world.volume, [*kept, kubernetes.VOLUME_PROTECTION]),))
    return _said(world, "Available")


RULES: Final = (_of_others, _in_use, _released, _deleting, _available)


def _said(world: World, phase: str) -> Plan:
    if meta.phase(world.volume) == phase:
        return NOTHING
    change = {"metadata": {"uid": meta.uid(world.volume)}, "status": {"phase": phase}}
    return Plan((Merge(VOLUME, world.key, change, "status"),))


def _freed(world: World) -> tuple[Merge, ...]:
    """Its protection taken off, where it is on; what others hold it by stays."""
    held = meta.finalizers(world.volume)
    kept = [name for name in held if name != kubernetes.VOLUME_PROTECTION]
    return (finalized(VOLUME, world.volume, kept),) if kept != held else ()


def _volumes_of(claim: Obj) -> Iterable[Key]:
    named = meta.spec(claim).get("volumeName")
    return {Key(derived.volume(meta.uid(claim))), *((Key(str(named)),) if named else ())}


def reconcilers(node: str, place: Place, duties: Duties = ALL) -> tuple[Claims, Volumes, Snapshots, Contents]:
    """The reconcilers of one node's storage; first, interrupted removals are finished."""
    place.sweep()
    room = Room(place, node, threading.Lock(), duties)
    return Claims(room), Volumes(room), Snapshots(room), Contents(room)
