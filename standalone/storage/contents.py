"""Takes the snapshots that VolumeSnapshotContents stand for, and takes them away, as they ask for."""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from diskyard.api import meta
from diskyard.api.meta import SNAPSHOT, SNAPSHOT_CONTENT, VOLUME, Key, Kind, Obj
from diskyard.api.names import snapshot as names
from diskyard.api.quantity import human
from diskyard.api.snapshot import failure, ready
from diskyard.kube.client import Client
from diskyard.kube.reconcile import NOTHING, Merge, Plan, Tell, finalized, find
from standalone.storage import snapshot, volume
from standalone.storage.action import Room
from standalone.storage.copies import Copies, Copy
from standalone.storage.place import Place, allocated
from standalone.storage.sourced import Duplicate, told

LOOK_AGAIN: Final = 15.0
"""Seconds until what could not be taken is tried again."""
_COPYING: Final = 0.1


@dataclass(frozen=True)
class World:
    """A content and everything that decides over it."""

    key: Key
    content: Obj
    room: Room
    now: datetime
    snapshot: Obj | None = None
    """The VolumeSnapshot that it is for."""
    volume: Obj | None = None
    copy: Copy | None = None
    taken: int = 0
    """When what it stands for was complete, in nanoseconds since 1970; 0: it is not."""
    size: int = 0
    """Bytes of the largest file in that."""
    lacks: str = ""
    """Why there is no room for it."""
    alone: bool = True
    """Whether no other storage is at work on this server."""

    @property
    def path(self) -> Path | None:
        """Where it lies; None: its name is none of ours."""
        handle = snapshot.handle(self.content)
        return self.room.place.snapshot(handle) if handle else None


@dataclass(frozen=True)
class Discard:
    """Take a snapshot away."""

    handle: str
    place: Place

    def carry_out(self, _: Client) -> None:
        """Take it away; that it is gone is fine."""
        if self.handle:
            self.place.discard(self.handle)


@dataclass(frozen=True)
class Stop:
    """End a copy that nobody wants, or forget one that is over."""

    content: Key
    copies: Copies

    def carry_out(self, _: Client) -> None:
        """Tell it to end; that it is over is seen at the next look."""
        self.copies.stop(self.content)


class Contents:
    """The reconciler of VolumeSnapshotContents, for one node's storage."""

    kind = SNAPSHOT_CONTENT

    def __init__(self, room: Room) -> None:
        self._room = room
        self.wakes: Mapping[Kind, Callable[[Obj], Iterable[Key]]] = {
            SNAPSHOT: lambda obj: (Key(snapshot.content_name(obj)),),
        }

    def gather(self, client: Client, key: Key) -> World | None:
        """The content, its VolumeSnapshot, the volume that it is taken of, and how far that is."""
        content = find(client, SNAPSHOT_CONTENT, key)
        if content is None:
            self._room.copies.drop(key)
            return None
        of, uid = snapshot.owner(content)
        found, now = find(client, SNAPSHOT, of), datetime.now(UTC)
        place, handle = self._room.place, snapshot.handle(content)
        source = snapshot.volume_handle(content)
        held = find(client, VOLUME, Key(source)) if source else None
        taken, size = _facts(place.snapshot(handle)) if handle else (0, 0)
        copy = self._room.copies.look(key)
        begins = held is not None and not taken and (copy is None or copy.over)
        return World(
            key=key,
            content=content,
            room=self._room,
            now=now,
            snapshot=found if found and uid in ("", meta.uid(found)) else None,
            volume=held,
            copy=copy,
            taken=taken,
            size=size,
            lacks=self._lacks(client, source) if begins else "",
            alone=self._room.duties.binds_claims(client, now),
        )

    def decide(self, world: World) -> Plan:
        """The first rule that speaks."""
        return next((plan for rule in RULES if (plan := rule(world)) is not None), NOTHING)

    def _lacks(self, client: Client, source: str) -> str:
        """Where blocks are not shared its bytes have to have room beside what claims were promised."""
        place = self._room.place
        needs = 0 if place.shares() else allocated(place.volume(source))
        left = self._room.left(client, "") if needs else 0
        if needs <= left:
            return ""
        return (
            f"the file system of {place.volumes} has no reflinks: a snapshot is a copy of {human(needs)}, and "
            f"{human(max(0, left))} are not promised to claims: delete claims or snapshots, or put the data directory "
            "on XFS or Btrfs"
        )


def _of_others(world: World) -> Plan | None:
    """Of another driver, or of another node; one that names none is of the node that has it."""
    known = world.alone or bool(world.taken) or names.MANAGED_BY in meta.labels(world.content)
    return None if known and snapshot.is_ours(world.content, world.room.node) else NOTHING


def _deleting(world: World) -> Plan | None:
    """It goes when its VolumeSnapshot goes, and with it what it stands for, where its policy says so."""
    if not meta.deleting(world.content):
        return None
    held = meta.finalizers(world.content)
    if names.CONTENT_PROTECTION not in held:
        return NOTHING
    if world.snapshot is not None and not meta.deleting(world.snapshot):
        return NOTHING
    kept = [name for name in held if name != names.CONTENT_PROTECTION]
    gone = Discard(snapshot.handle(world.content), world.room.place)
    goes = meta.spec(world.content).get("deletionPolicy") == "Delete"
    if goes and world.copy is not None and not world.copy.over:
        return Plan((Stop(world.key, world.room.copies),), _COPYING)
    return Plan((*((gone,) if goes else ()), finalized(SNAPSHOT_CONTENT, world.content, kept)))


def _protected(world: World) -> Plan | None:
    held = meta.finalizers(world.content)
    if names.CONTENT_PROTECTION in held:
        return None
    return Plan((finalized(SNAPSHOT_CONTENT, world.content, [*held, names.CONTENT_PROTECTION]),))


def _unnamed(world: World) -> Plan | None:
    if world.path is not None:
        return None
    given = (meta.spec(world.content).get("source") or {}).get("snapshotHandle")
    return _failed(world, f'snapshotHandle "{given}" is none of this storage: expected snapshot-UID')


def _taken(world: World) -> Plan | None:
    """What it stands for is there."""
    if not world.taken:
        return None
    if ready(world.content):
        return NOTHING
    status = {
        "snapshotHandle": snapshot.handle(world.content),
        "creationTime": world.taken,
        "restoreSize": volume.capacity(world.volume) if world.volume else world.size,
        "readyToUse": True,
        "error": None,
    }
    return Plan((*_told(world), _status(world, status)))


def _lost(world: World) -> Plan | None:
    """It was there, or should be."""
    if snapshot.volume_handle(world.content) and not meta.status(world.content).get("snapshotHandle"):
        return None
    return _failed(world, f"there is no {world.path} any more: what the snapshot held is lost")


def _hindered(world: World) -> Plan | None:
    """Its volume is gone, or there is no room."""
    if world.copy is not None and not world.copy.over:
        return Plan(requeue_after=_COPYING)
    source = snapshot.volume_handle(world.content)
    if world.volume is None:
        return _failed(world, f'persistentvolume "{source}" not found: no snapshot can be taken of it')
    if not volume.is_ours(world.volume, world.room.node):
        return _failed(
            world, f'persistentvolume "{source}" was not made by this storage on node {world.room.node}'
        )
    return _failed(world, world.lacks, LOOK_AGAIN) if world.lacks else None


def _begun(world: World) -> Plan | None:
    """Its volume is copied; where that has failed, it is said, and begun again."""
    if world.path is None:
        return None
    source = world.room.place.volume(snapshot.volume_handle(world.content))
    begun = Duplicate(world.key, source, world.path, world.room.copies)
    if world.copy is None:
        return Plan((begun,), _COPYING)
    if not world.copy.failure:
        return Plan((Stop(world.key, world.room.copies),), _COPYING)
    said = _failed(world, f"no snapshot could be taken: {world.copy.failure}")
    return Plan((*said.actions, begun), LOOK_AGAIN)


RULES: Final = (_of_others, _deleting, _protected, _unnamed, _taken, _lost, _hindered, _begun)


def _status(world: World, said: Obj) -> Merge:
    return Merge(
        SNAPSHOT_CONTENT, world.key, {"metadata": {"uid": meta.uid(world.content)}, "status": said}, "status"
    )


def _failed(world: World, message: str, again: float | None = None) -> Plan:
    """Said in the status; its VolumeSnapshot says it too, and an event once."""
    if failure(world.content) == message and not ready(world.content):
        return Plan(requeue_after=again)
    error = snapshot.error(world.content, message, world.now)
    about = world.snapshot
    told = (Tell(SNAPSHOT, about, "SnapshotCreationFailed", message, warning=True),) if about else ()
    return Plan((_status(world, {"readyToUse": False, "error": error}), *told), again)


def _told(world: World) -> tuple[Tell, ...]:
    """How it was taken, while that is known."""
    if world.snapshot is None or not snapshot.volume_handle(world.content):
        return ()
    done = f"Snapshot {meta.key(world.snapshot)} was successfully taken."
    created = Tell(SNAPSHOT, world.snapshot, "SnapshotCreated", done)
    return (*((told(SNAPSHOT, world.snapshot, world.copy),) if world.copy else ()), created)


def _facts(path: Path) -> tuple[int, int]:
    """When a directory was complete, and the size of its largest file; zeros: there is none."""
    try:
        taken = path.stat().st_ctime_ns
        sizes = [Path(folder, file).lstat().st_size for folder, _, files in os.walk(path) for file in files]
    except OSError:
        return 0, 0
    return taken, max(sizes, default=0)
