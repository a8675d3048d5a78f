"""Gives VolumeSnapshots their contents, and says of them what those say: of the claims of one node's storage."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from diskyard.api import meta
from diskyard.api.meta import CLAIM, SNAPSHOT, SNAPSHOT_CLASS, SNAPSHOT_CONTENT, VOLUME, Key, Kind, Obj
from diskyard.api.names import kubernetes
from diskyard.api.names import snapshot as names
from diskyard.api.snapshot import failure, ready
from diskyard.kube.client import Client, Deletion, Selection
from diskyard.kube.interest import Interest
from diskyard.kube.reconcile import (
    NOTHING,
    Action,
    Create,
    Delete,
    Merge,
    Plan,
    Tell,
    everything,
    finalized,
    find,
)
from standalone.storage import snapshot, volume
from standalone.storage.action import Room
from standalone.storage.sourced import restored

_FINALIZERS: Final = (names.SOURCE_PROTECTION, names.BOUND_PROTECTION)


@dataclass(frozen=True)
class World:
    """A VolumeSnapshot and everything that decides over it."""

    key: Key
    snapshot: Obj
    node: str
    now: datetime
    alone: bool
    """Whether no other storage is at work on this server: what is wrong is then ours to say."""
    classes: tuple[Obj, ...] = ()
    claim: Obj | None = None
    volume: Obj | None = None
    content: Obj | None = None
    restoring: str = ""
    """A claim that is being made from it."""

    @property
    def chosen(self) -> Obj | None:
        """The class that it names."""
        name = meta.spec(self.snapshot).get("volumeSnapshotClassName")
        return next((each for each in self.classes if meta.name(each) == name), None)


class Snapshots:
    """The reconciler of VolumeSnapshots."""

    kind = SNAPSHOT

    def __init__(self, room: Room) -> None:
        self._room = room
        self._interest = Interest()
        self.wakes: Mapping[Kind, Callable[[Obj], Iterable[Key]]] = {
            SNAPSHOT_CONTENT: lambda obj: {
                snapshot.owner(obj)[0],
                *self._interest.roots(SNAPSHOT_CONTENT)(obj),
            },
            CLAIM: lambda obj: {*restored(obj), *self._interest.roots(CLAIM)(obj)},
            SNAPSHOT_CLASS: everything,
        }

    def gather(self, client: Client, key: Key) -> World | None:
        """The VolumeSnapshot, its class, its content, and the claim that it is taken of."""
        obj = find(client, SNAPSHOT, key)
        if obj is None:
            self._interest.note(key, ())
            return None
        source = Key(snapshot.claim(obj), key.namespace)
        content = Key(snapshot.content_name(obj))
        self._interest.note(key, [(SNAPSHOT_CONTENT, content), *([(CLAIM, source)] if source.name else [])])
        claim = find(client, CLAIM, source) if source.name else None
        named = meta.spec(claim or {}).get("volumeName")
        now = datetime.now(UTC)
        return World(
            key=key,
            snapshot=obj,
            node=self._room.node,
            now=now,
            alone=self._room.duties.binds_claims(client, now),
            classes=client.list(SNAPSHOT_CLASS).items,
            claim=claim,
            volume=find(client, VOLUME, Key(str(named))) if named else None,
            content=find(client, SNAPSHOT_CONTENT, content),
            restoring=_restoring(client, key) if meta.deleting(obj) else "",
        )

    def decide(self, world: World) -> Plan:
        """The first rule that speaks."""
        return next((plan for rule in RULES if (plan := rule(world)) is not None), NOTHING)


def _of_others(world: World) -> Plan | None:
    """Of another driver, or of another node's storage."""
    if world.content is not None:
        return None if snapshot.is_ours(world.content, world.node) else NOTHING
    if world.chosen is not None and world.chosen.get("driver") != kubernetes.PROVISIONER:
        return NOTHING
    ours = world.volume is not None and volume.is_ours(world.volume, world.node)
    return None if ours or world.alone else NOTHING


def _deleting(world: World) -> Plan | None:
    """It goes when no claim is being made from it, and, where its class says so, its content first."""
    if not meta.deleting(world.snapshot):
        return None
    held = meta.finalizers(world.snapshot)
    if not set(_FINALIZERS) & set(held):
        return NOTHING
    if world.restoring:
        message = f'stays while persistentvolumeclaim "{world.restoring}" is made from it'
        return Plan((Tell(SNAPSHOT, world.snapshot, "SnapshotDeletePending", message, warning=True),))
    content = world.content
    if content is not None and snapshot.bound(world.snapshot, content) and _goes_too(content):
        if meta.deleting(content):
            return NOTHING
        said = {"metadata": {"uid": meta.uid(content), "annotations": {names.BEING_DELETED: "yes"}}}
        key = meta.key(content)
        gone = Delete(SNAPSHOT_CONTENT, key, Deletion(uid=meta.uid(content)))
        return Plan((Merge(SNAPSHOT_CONTENT, key, said), gone))
    return Plan((finalized(SNAPSHOT, world.snapshot, [name for name in held if name not in _FINALIZERS]),))


def _protected(world: World) -> Plan | None:
    held = meta.finalizers(world.snapshot)
    missing = [name for name in _FINALIZERS if name not in held]
    return Plan((finalized(SNAPSHOT, world.snapshot, [*held, *missing]),)) if missing else None


def _given(world: World) -> Plan | None:
    """It stands for a content that somebody made."""
    if snapshot.claim(world.snapshot):
        return None
    content, name = world.content, snapshot.content_name(world.snapshot)
    if content is None:
        return _failed(world, "SnapshotContentMissing", f'VolumeSnapshotContent "{name}" not found')
    of, uid = snapshot.owner(content)
    if of != world.key or uid not in ("", meta.uid(world.snapshot)):
        message = f'VolumeSnapshotContent "{name}" is for VolumeSnapshot {of} (uid {uid or "of any"}), not for this one'
        return _failed(world, "SnapshotContentMisbound", message)
    if uid:
        return None
    ref = {"spec": {"volumeSnapshotRef": snapshot.reference(world.snapshot)}}
    return Plan((Merge(SNAPSHOT_CONTENT, meta.key(content), ref),))


def _classless(world: World) -> Plan | None:
    """Without a class it gets the default one."""
    name = meta.spec(world.snapshot).get("volumeSnapshotClassName")
    if world.content is not None or world.chosen is not None:
        return None
    if name:
        there = ", ".join(sorted(map(meta.name, world.classes))) or "none"
        message = f'volumesnapshotclass "{name}" not found; there are: {there}'
        return _failed(world, "GetSnapshotClassFailed", message)
    ours = [each for each in world.classes if each.get("driver") == kubernetes.PROVISIONER]
    defaults = [each for each in ours if meta.annotations(each).get(names.DEFAULT_CLASS) == "true"]
    if len(defaults) == 1:
        chosen = {"spec": {"volumeSnapshotClassName": meta.name(defaults[0])}}
        return Plan((Merge(SNAPSHOT, world.key, {"metadata": {"uid": meta.uid(world.snapshot)}, **chosen}),))
    message = (
        f"cannot find default snapshot class: expected one VolumeSnapshotClass of driver {kubernetes.PROVISIONER} with "
        f"the annotation {names.DEFAULT_CLASS}=true, found {len(defaults)}; name one in spec.volumeSnapshotClassName"
    )
    return _failed(world, "SetDefaultSnapshotClassFailed", message)


def _made(world: World) -> Plan | None:
    """Its content, once there is a volume to take it of."""
    if world.content is not None or world.chosen is None:
        return None
    source = snapshot.claim(world.snapshot)
    if world.claim is None:
        why = f'persistentvolumeclaim "{source}" not found'
    elif meta.deleting(world.claim):
        why = f'persistentvolumeclaim "{source}" is being deleted'
    elif meta.phase(world.claim) != "Bound" or world.volume is None:
        why = f'persistentvolumeclaim "{source}" is not bound yet: a snapshot is taken of its volume'
    elif not volume.is_ours(world.volume, world.node):
        why = (
            f'the volume of persistentvolumeclaim "{source}" was not made by {kubernetes.PROVISIONER} on node '
            f"{world.node}: no snapshot can be taken of it"
        )
    else:
        made = Create(
            SNAPSHOT_CONTENT, snapshot.content(world.snapshot, world.volume, world.chosen, world.node)
        )
        told = Tell(
            SNAPSHOT, world.snapshot, "CreatingSnapshot", f"Waiting for a snapshot of {source} to be taken"
        )
        return Plan((made, told))
    return _failed(world, "SnapshotContentCreationFailed", why)


def _reflected(world: World) -> Plan | None:
    """What its content says."""
    content = world.content
    if content is None or not snapshot.bound(world.snapshot, content):
        return None
    due, held = snapshot.reflected(content), meta.status(world.snapshot)
    if all(held.get(name) == said for name, said in due.items()):
        return NOTHING
    told: tuple[Action, ...] = ()
    if ready(content) and not ready(world.snapshot):
        told = (Tell(SNAPSHOT, world.snapshot, "SnapshotReady", f"Snapshot {world.key} is ready to use."),)
    return Plan((_status(world, due), *told))


RULES: Final = (_of_others, _deleting, _protected, _given, _classless, _made, _reflected)


def _goes_too(content: Obj) -> bool:
    return meta.spec(content).get("deletionPolicy") == "Delete"


def _status(world: World, said: Obj) -> Merge:
    return Merge(
        SNAPSHOT, world.key, {"metadata": {"uid": meta.uid(world.snapshot)}, "status": said}, "status"
    )


def _failed(world: World, reason: str, message: str) -> Plan:
    """Said by an event and in the status; what would change it wakes us."""
    if failure(world.snapshot) == message:
        return NOTHING
    error = snapshot.error(world.snapshot, message, world.now)
    told = Tell(SNAPSHOT, world.snapshot, reason, message, warning=True)
    return Plan((_status(world, {"readyToUse": False, "error": error}), told))


def _restoring(client: Client, key: Key) -> str:
    """A claim that waits for its volume, which is to be made from this VolumeSnapshot."""
    claims = client.list(CLAIM, Selection(namespace=key.namespace)).items
    waiting = (each for each in claims if key in restored(each) and meta.phase(each) in ("", "Pending"))
    return next((meta.name(each) for each in waiting if not meta.deleting(each)), "")
