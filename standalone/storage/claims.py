"""Gives claims their volumes: one that somebody made and that fits, else a new one; and lets claims grow."""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from diskyard.api import meta, quantity
from diskyard.api import pod as api_pod
from diskyard.api.meta import CLAIM, POD, SNAPSHOT, STORAGE_CLASS, VOLUME, Key, Kind, Obj
from diskyard.api.names import cdi, derived, kubernetes
from diskyard.kube.client import Client, Selection
from diskyard.kube.reconcile import NOTHING, Action, Merge, Plan, Tell, finalized, find
from standalone.storage import match, snapshot, volume
from standalone.storage.action import Grow, Make, Name, Promise, Room, Take
from standalone.storage.sourced import Duplicate, Original, misfit, original, told

LOOK_AGAIN: Final = 15.0
"""Seconds until a claim that waits for something is looked at again, as Kubernetes' own controller does."""
_COPYING: Final = 0.1
"""Seconds between two looks at a copy."""
_COPIED_BY_STORAGE: Final = (None, "", "snapshot.storage.k8s.io")
"""API groups of what storage itself copies; every other group has a populator of its own."""


@dataclass(frozen=True)
class World:
    """A claim and everything that decides over it."""

    key: Key
    claim: Obj
    room: Room
    volumes: tuple[Obj, ...] = ()
    storage_class: Obj | None = None
    classes: Mapping[str, bool] = field(default_factory=dict)
    """Each class, and whether it is a default."""
    used: bool = False
    alone: bool = True
    """Whether no controller manager is at work, which would bind claims and hold back what is in use."""
    left: int = 0
    """Bytes that are not promised, but to this claim."""
    root: bool = False
    original: Original | None = None
    """What its volume is to be a copy of."""

    @property
    def volume(self) -> Obj | None:
        """The volume that is this claim's."""
        of = (self.key, meta.uid(self.claim))
        return next((one for one in self.volumes if volume.owner(one) == of), None)

    @property
    def waits(self) -> bool:
        """Whether the claim's class binds it when a first consumer comes."""
        return (self.storage_class or {}).get("volumeBindingMode") == "WaitForFirstConsumer"


class Claims:
    """The reconciler of claims for one node's local storage."""

    kind = CLAIM

    def __init__(self, room: Room) -> None:
        self._room = room
        self._pending: set[Key] = set()
        self.wakes: Mapping[Kind, Callable[[Obj], Iterable[Key]]] = {
            POD: _claims_of,
            VOLUME: self._woken,
            STORAGE_CLASS: lambda _: tuple(self._pending),
            SNAPSHOT: lambda obj: (Key(snapshot.claim(obj), meta.namespace(obj)), *self._pending),
        }

    def gather(self, client: Client, key: Key) -> World | None:
        """The claim, its class, the volumes there are, who uses it, and the room that is left."""
        claim = find(client, CLAIM, key)
        if claim is None:
            self._pending.discard(key)
            self._room.copies.drop(key)
            return None
        (self._pending.discard if meta.phase(claim) == "Bound" else self._pending.add)(key)
        settled = meta.phase(claim) == "Bound" and volume.request(claim) <= volume.capacity(claim)
        volumes = client.list(VOLUME).items
        others = [one for one in volumes if (volume.owner(one) or ("", ""))[1] != meta.uid(claim)]
        return World(
            key=key,
            claim=claim,
            room=self._room,
            volumes=volumes,
            storage_class=find(client, STORAGE_CLASS, Key(volume.class_name(claim) or "")),
            classes={meta.name(each): _is_default(each) for each in client.list(STORAGE_CLASS).items},
            used=meta.deleting(claim) and _used(client, key),
            alone=self._room.duties.binds_claims(client, datetime.now(UTC)),
            left=0 if settled else self._room.place.room(volume.promises(others, self._room.node)),
            root=os.geteuid() == 0,
            original=None if settled else original(client, claim, volumes, self._room.copies),
        )

    def decide(self, world: World) -> Plan:
        """The first rule that speaks."""
        return next((plan for rule in RULES if (plan := rule(world)) is not None), NOTHING)

    def _woken(self, found: Obj) -> Iterable[Key]:
        of = volume.owner(found)
        waiting = () if of and not meta.deleting(found) else tuple(self._pending)
        return (*((of[0],) if of else ()), *waiting)


def _served_by_others(world: World) -> Plan | None:
    """With a controller manager, only volumes of our classes are ours to make and grow; it binds them."""
    if world.alone:
        return None
    claim = world.claim
    if world.volume:
        return _grown(world) if volume.is_ours(world.volume, world.room.node) else NOTHING
    ours = (world.storage_class or {}).get("provisioner") == kubernetes.PROVISIONER
    chosen = meta.annotations(claim).get(cdi.SELECTED_NODE)
    here = chosen == world.room.node or (chosen is None and not world.waits)
    if not ours or not here or meta.deleting(claim) or meta.spec(claim).get("volumeName"):
        return NOTHING
    return _copied(world) or _impossible(world) or Plan(_made(world)[1])


def _deleting(world: World) -> Plan | None:
    claim = world.claim
    if not meta.deleting(claim):
        return None
    held = meta.finalizers(claim)
    if world.used or cdi.CLAIM_PROTECTION not in held:
        return NOTHING
    kept = [name for name in held if name != cdi.CLAIM_PROTECTION]
    return Plan((finalized(CLAIM, claim, kept),))


def _bound(world: World) -> Plan | None:
    """A claim that has its volume; or the rest of what makes it so."""
    claim, found = world.claim, world.volume
    if found is None:
        if meta.phase(claim) not in ("Bound", "Lost"):
            return None
        lost = "Bound claim has lost its PersistentVolume. Data on the volume is lost!"
        change = Merge(CLAIM, world.key, {"status": {"phase": "Lost"}}, "status")
        told = Tell(CLAIM, claim, "ClaimLost", lost, warning=True)
        return Plan((change, told)) if meta.phase(claim) == "Bound" else NOTHING
    if meta.phase(claim) == "Bound" and meta.phase(found) == "Bound":
        return _grown(world)
    return Plan((Make(found, world.room.place), *_binding(world, found)))


def _binding(world: World, found: Obj) -> tuple[Action, ...]:
    """All that says that a volume is a claim's, once the volume says so."""
    claim, made = world.claim, volume.is_made(found)
    annotations = {kubernetes.BIND_COMPLETED: "yes", cdi.BOUND_BY_CONTROLLER: "yes",
                   **({cdi.PROVISIONER: kubernetes.PROVISIONER} if made else {}),
                   **dict.fromkeys((cdi.BOUND_CONDITION, cdi.BOUND_REASON, cdi.BOUND_MESSAGE))}  # fmt: skip
    spec, uid = meta.spec(found), {"uid": meta.uid(claim)}
    status = {"phase": "Bound", "accessModes": spec.get("accessModes"), "capacity": spec.get("capacity")}
    change = {"metadata": {**uid, "annotations": annotations}, "spec": {"volumeName": meta.name(found)}}
    told = Tell(CLAIM, claim, "ProvisioningSucceeded", f"Successfully provisioned volume {meta.name(found)}")
    return (
        Merge(VOLUME, meta.key(found), {"status": {"phase": "Bound"}}, "status"),
        Merge(CLAIM, world.key, change),
        Merge(CLAIM, world.key, {"metadata": uid, "status": status}, "status"),
        *((told,) if made else ()),
    )


def _grown(world: World) -> Plan:
    """A claim that asks for more than it has gets it, where its class and the room allow."""
    claim, found = world.claim, world.volume or {}
    wanted = volume.request(claim)
    if max(wanted, volume.capacity(found)) <= volume.capacity(claim):
        return NOTHING
    if not volume.is_ours(found, world.room.node) or not (world.storage_class or {}).get(
        "allowVolumeExpansion"
    ):
        return Plan((_told(world, "VolumeResizeFailed", _not_growing(world)),))
    if wanted > max(world.left, volume.capacity(found)):
        return Plan((_told(world, "VolumeResizeFailed", _too_little(world)),), LOOK_AGAIN)
    size = max((claim["spec"]["resources"]["requests"]["storage"], found["spec"]["capacity"]["storage"]),
               key=quantity.parse)  # fmt: skip
    larger = {**found, "spec": {**found["spec"], "capacity": {"storage": size}}}
    status = {"capacity": {"storage": size}, "conditions": None}
    said = Tell(CLAIM, claim, "VolumeResizeSuccessful", f"the volume has {size} now")
    return Plan(
        (
            Grow(found, size, volume.capacity(larger), world.room),
            Make(larger, world.room.place),
            Merge(CLAIM, world.key, {"metadata": {"uid": meta.uid(claim)}, "status": status}, "status"),
            said,
        )
    )


def _not_growing(world: World) -> str:
    return (
        f'volume "{meta.name(world.volume or {})}" does not grow: expected a volume that this node made, of a class '
        f'with allowVolumeExpansion, found class "{volume.class_name(world.claim)}"'
    )


def _named(world: World) -> Plan | None:
    """A claim that names its volume gets that one or none; so does one that a volume names."""
    claim, name = world.claim, meta.spec(world.claim).get("volumeName")
    here = (world.room.place, world.room.node)
    for found in world.volumes:
        reserved = volume.owner(found) == (world.key, "")
        if name == meta.name(found) or (reserved and not name):
            why = match.strict(claim, found, *here) if reserved else match.misfit(claim, found, *here)
            if not why:
                return _taken(world, found)
            sentence = f'Cannot bind to requested volume "{meta.name(found)}": it {why}'
            return _failed(world, sentence, "VolumeMismatch")
    return _failed(world, f'volume "{name}" not found', "FailedBinding") if name else None


def _taken(world: World, found: Obj) -> Plan:
    place = world.room.place
    make, told = Make(found, place), Name(found, world.claim, place)
    return Plan((Take(found, world.claim), make, *_binding(world, found), told))


def _default(world: World) -> Plan | None:
    if volume.class_name(world.claim) is not None:
        return None
    defaults = sorted(name for name, default in world.classes.items() if default)
    if not defaults:
        return None
    change = {"metadata": {"uid": meta.uid(world.claim)}, "spec": {"storageClassName": defaults[0]}}
    return Plan((Merge(CLAIM, world.key, change),))


def _waits_for_consumer(world: World) -> Plan | None:
    if not world.waits or meta.annotations(world.claim).get(cdi.SELECTED_NODE):
        return None
    sentence = "waiting for first consumer to be created before binding"
    return Plan((Tell(CLAIM, world.claim, "WaitForFirstConsumer", sentence),))


def _matched(world: World) -> Plan | None:
    """A volume that somebody made and that fits comes before a new one."""
    found = match.best(world.claim, world.volumes, world.room.place, world.room.node)
    return _taken(world, found) if found else None


def _classless(world: World) -> Plan | None:
    if volume.class_name(world.claim):
        return None
    asked = (
        "it asks for no storage class" if volume.class_name(world.claim) == "" else "no storage class is set"
    )
    sentence = (
        f"no persistent volumes available for this claim and {asked}: name one in spec.storageClassName "
        f"({_listed(world)}), annotate one with {cdi.DEFAULT_CLASS}=true before you make the claim, or make a volume"
    )
    return _failed(world, sentence + _told_volumes(world), "FailedBinding")


def _unknown_class(world: World) -> Plan | None:
    if world.storage_class is not None:
        return None
    name = volume.class_name(world.claim)
    sentence = f'storageclass.storage.k8s.io "{name}" not found; there are: {_listed(world)}'
    return _failed(world, sentence + _told_volumes(world))


def _foreign(world: World) -> Plan | None:
    provisioner = str((world.storage_class or {}).get("provisioner", ""))
    if provisioner == kubernetes.PROVISIONER:
        return None
    if provisioner == kubernetes.NO_PROVISIONER:
        name = volume.class_name(world.claim)
        sentence = f'no persistent volumes available for this claim, and class "{name}" makes none'
        return _failed(world, sentence + _told_volumes(world), "FailedBinding")
    sentence = f"waiting for a volume to be created by the external provisioner '{provisioner}'"
    return Plan((Tell(CLAIM, world.claim, "ExternalProvisioning", sentence),), LOOK_AGAIN)


def _impossible(world: World) -> Plan | None:
    claim = world.claim
    spec = meta.spec(claim)
    source = spec.get("dataSourceRef") or spec.get("dataSource")
    if source and source.get("apiGroup") not in _COPIED_BY_STORAGE:
        sentence = (
            f"waiting for the populator of {source.get('kind')} {source.get('name')} to give it a volume"
        )
        return Plan((Tell(CLAIM, claim, "ExternalProvisioning", sentence),))
    if source and world.original is None:
        sentence = f"a volume from a {source.get('kind')} cannot be made here: remove spec.dataSource and dataSourceRef"
        return _failed(world, sentence)
    if volume.is_block(claim) and not world.root:
        return _failed(
            world,
            "volumeMode Block needs loop devices, which need root: run `diskyard up` as root, or use volumeMode "
            "Filesystem",
        )
    return _failed(world, _too_little(world)) if volume.request(claim) > world.left else None


def _copied(world: World) -> Plan | None:
    """Its volume is a copy: made first, and only then the volume's."""
    source = world.original
    if source is None or world.volume is not None:
        return None
    why, copy = misfit(world.claim, source, world.room.node), source.copy
    path = world.room.place.volume(derived.volume(meta.uid(world.claim)))
    if path.exists() and (copy is None or copy.over):
        made = _provision(world) if world.alone else Plan(_made(world)[1])
        return Plan((*made.actions, *((told(CLAIM, world.claim, copy),) if copy else ())))
    if copy is not None and not copy.over:
        return Plan(requeue_after=_COPYING)
    if why:
        return _failed(world, why)
    if hindered := _impossible(world):
        return hindered
    begun = Duplicate(world.key, source.path(world.room.place), path, world.room.copies)
    if copy is None:
        return Plan((begun,), _COPYING)
    plan = _failed(world, f"{source.word} was not copied: {copy.failure}")
    return Plan((*plan.actions, begun), LOOK_AGAIN)


def _provision(world: World) -> Plan:
    due, actions = _made(world)
    return Plan((*actions, *_binding(world, due)))


def _made(world: World) -> tuple[Obj, tuple[Action, ...]]:
    """The claim's own volume, and what makes it."""
    path = world.room.place.volume(derived.volume(meta.uid(world.claim)))
    due = volume.volume(world.claim, world.storage_class or {}, path, world.room.node)
    return due, (Make(due, world.room.place), Promise(due, world.room))


RULES: Final = (
    _served_by_others, _deleting, _bound, _named, _default, _waits_for_consumer, _copied, _matched, _classless,
    _unknown_class, _foreign, _impossible, _provision,
)  # fmt: skip


def _too_little(world: World) -> str:
    free = quantity.human(world.room.place.free())
    return (
        f"asked for {quantity.human(volume.request(world.claim))}, and {quantity.human(max(0, world.left))} on "
        f"{world.room.place.volumes} are not promised to other claims ({free} are free): ask for less, "
        "delete claims, or put the data directory on a larger file system"
    )


def _failed(world: World, sentence: str, reason: str = "ProvisioningFailed") -> Plan:
    """Said by an event, and on the claim, where whoever made it (a DataVolume) looks."""
    why = {cdi.BOUND_CONDITION: "false", cdi.BOUND_REASON: reason, cdi.BOUND_MESSAGE: sentence}
    said = Merge(CLAIM, world.key, {"metadata": {"uid": meta.uid(world.claim), "annotations": why}})
    known = why.items() <= meta.annotations(world.claim).items()
    told = _told(world, reason, sentence)
    return Plan((told,) if known else (said, told), LOOK_AGAIN)


def _told(world: World, reason: str, sentence: str) -> Tell:
    return Tell(CLAIM, world.claim, reason, sentence, warning=True)


def _told_volumes(world: World) -> str:
    return match.told(world.claim, world.volumes, world.room.place, world.room.node)


def _listed(world: World) -> str:
    return ", ".join(sorted(world.classes)) or "none"


def _is_default(storage_class: Obj) -> bool:
    return meta.annotations(storage_class).get(cdi.DEFAULT_CLASS) == "true"


def _used(client: Client, key: Key) -> bool:
    """Whether a pod that has begun, and is not over, mounts the claim; or a snapshot is being taken of it."""
    taken = client.list(SNAPSHOT, Selection(namespace=key.namespace)).items
    return any(snapshot.taking(each, key.name) for each in taken) or any(
        key.name in api_pod.claims(each)
        and meta.spec(each).get("nodeName")
        and meta.phase(each) not in ("Succeeded", "Failed")
        for each in client.list(POD, Selection(namespace=key.namespace)).items
    )


def _claims_of(pod: Obj) -> Iterable[Key]:
    return [Key(name, meta.namespace(pod)) for name in api_pod.claims(pod)]
