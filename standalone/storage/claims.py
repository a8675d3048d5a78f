"""Gives claims their volumes, and takes the volumes away again."""

import os
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from diskyard.api import meta, quantity
from diskyard.api import pod as api_pod
from diskyard.api.meta import CLAIM, POD, STORAGE_CLASS, VOLUME, Key, Kind, Obj
from diskyard.api.names import cdi, derived, kubernetes
from diskyard.errors import AlreadyExists, NoSpace, NotFound
from diskyard.kube.client import Client, Selection
from diskyard.kube.reconcile import NOTHING, Delete, Merge, Plan, Tell
from standalone.colleagues import CONTROLLERS, at_work
from standalone.storage import place, volume
from standalone.storage.place import Place

LOOK_AGAIN: Final = 15.0
"""Seconds until a claim that waits for something is looked at again, as Kubernetes' own controller does."""


@dataclass(frozen=True)
class World:
    """A claim and everything that decides over it."""

    key: Key
    claim: Obj | None
    place: Place
    node: str
    lock: threading.Lock
    volume: Obj | None = None
    """The one that is, or will be, this claim's."""
    abandoned: tuple[Obj, ...] = ()
    """Volumes of earlier claims of this name."""
    storage_class: Obj | None = None
    classes: Mapping[str, bool] = field(default_factory=dict)
    """Each class, and whether it is a default."""
    used: bool = False
    alone: bool = True
    """Whether no controller manager is at work, which would bind claims and hold back what is in use."""
    room: int = 0
    """Bytes that are not promised yet."""
    root: bool = False


class Claims:
    """The reconciler of claims for one node's local storage."""

    kind = CLAIM

    def __init__(self, node: str, where: Place) -> None:
        self._node = node
        self._place = where
        self._lock = threading.Lock()
        self._pending: set[Key] = set()
        self.wakes: Mapping[Kind, Callable[[Obj], Iterable[Key]]] = {
            POD: _claims_of,
            VOLUME: lambda each: (*_claim_of(each), *self._pending),
            STORAGE_CLASS: lambda _: tuple(self._pending),
        }

    def gather(self, client: Client, key: Key) -> World | None:
        """The claim, its class and volume, who uses it, and the room that is left."""
        claim = _get(client, CLAIM, key)
        volumes = client.list(VOLUME).items
        abandoned = tuple(
            each for each in volumes
            if _refers(each, key) and volume.is_ours(each, self._node)
            and (claim is None or each["spec"]["claimRef"].get("uid") != meta.uid(claim))
        )  # fmt: skip
        if claim is None:
            self._pending.discard(key)
            if not abandoned:
                return None
            return World(key, None, self._place, self._node, self._lock, abandoned=abandoned)
        (self._pending.discard if meta.phase(claim) == "Bound" else self._pending.add)(key)
        name = meta.spec(claim).get("volumeName") or derived.volume(meta.uid(claim))
        return World(
            key=key,
            claim=claim,
            place=self._place,
            node=self._node,
            lock=self._lock,
            volume=next((each for each in volumes if meta.name(each) == name), None),
            abandoned=abandoned,
            storage_class=_get(client, STORAGE_CLASS, Key(_class_name(claim) or "")),
            classes={meta.name(each): _is_default(each) for each in client.list(STORAGE_CLASS).items},
            alone=not at_work(client, CONTROLLERS, datetime.now(UTC)),
            used=meta.deleting(claim) and _used(client, key),
            room=self._place.size() - place.promised(volumes),
            root=os.geteuid() == 0,
        )

    def decide(self, world: World) -> Plan:
        """The first rule that speaks."""
        return next((plan for rule in RULES if (plan := rule(world)) is not None), NOTHING)


@dataclass(frozen=True)
class Promise:
    """Make a volume's object: from now on its room is counted, whatever happens next."""

    volume: Obj
    place: Place
    lock: threading.Lock

    def carry_out(self, client: Client) -> None:
        """Make it, unless another claim was quicker. Raises NoSpace."""
        name = meta.name(self.volume)
        size = quantity.parse(self.volume["spec"]["capacity"]["storage"])
        with self.lock, suppress(AlreadyExists):
            others = [each for each in client.list(VOLUME).items if meta.name(each) != name]
            if place.promised(others) + size > self.place.size():
                raise NoSpace(
                    f"the room for {name} was promised to another claim a moment ago; will look again"
                )
            client.create(VOLUME, self.volume)


@dataclass(frozen=True)
class Make:
    """Make a volume's directory."""

    volume: Obj
    place: Place

    def carry_out(self, _: Client) -> None:
        """Make it."""
        size = quantity.parse(self.volume["spec"]["capacity"]["storage"])
        self.place.make(meta.name(self.volume), size if volume.is_block(self.volume) else None)


@dataclass(frozen=True)
class Remove:
    """Take a volume's directory away."""

    volume: Obj
    place: Place

    def carry_out(self, _: Client) -> None:
        """Take it away."""
        self.place.remove(meta.name(self.volume), volume.is_block(self.volume))


def _abandoned(world: World) -> Plan | None:
    """Volumes whose claim is gone go too, or are kept for whoever asked to retain them."""
    actions: list[Remove | Merge | Delete] = []
    for each in world.abandoned:
        if meta.spec(each).get("persistentVolumeReclaimPolicy") == "Retain":
            if meta.phase(each) != "Released":
                actions.append(Merge(VOLUME, meta.key(each), {"status": {"phase": "Released"}}, "status"))
            continue
        kept = [
            name for name in meta.meta(each).get("finalizers") or () if name != kubernetes.VOLUME_PROTECTION
        ]
        actions += [
            Remove(each, world.place),
            Merge(VOLUME, meta.key(each), {"metadata": {"uid": meta.uid(each), "finalizers": kept}}),
            Delete(VOLUME, meta.key(each)),
        ]
    return Plan(tuple(actions)) if actions else None


def _gone(world: World) -> Plan | None:
    return NOTHING if world.claim is None else None


def _deleting(world: World) -> Plan | None:
    claim = _claim(world)
    if not meta.deleting(claim):
        return None
    held: list[str] = meta.meta(claim).get("finalizers") or []
    if world.used or cdi.CLAIM_PROTECTION not in held:
        return NOTHING
    kept = [name for name in held if name != cdi.CLAIM_PROTECTION]
    said = {
        "uid": meta.uid(claim),
        "resourceVersion": meta.meta(claim).get("resourceVersion"),
        "finalizers": kept,
    }
    return Plan((Merge(CLAIM, world.key, {"metadata": said}),))


def _served_by_others(world: World) -> Plan | None:
    """With a controller manager, only volumes of our classes are ours to make; it binds them."""
    claim = _claim(world)
    if world.alone:
        return None
    ours = (world.storage_class or {}).get("provisioner") == kubernetes.PROVISIONER
    waits = (world.storage_class or {}).get("volumeBindingMode") == "WaitForFirstConsumer"
    here = meta.annotations(claim).get(cdi.SELECTED_NODE) in ({world.node} if waits else {None, world.node})
    if (
        not ours
        or not here
        or world.volume
        or meta.phase(claim) == "Bound"
        or meta.spec(claim).get("volumeName")
    ):
        return NOTHING
    return _impossible(world) or Plan(_provision(world).actions[:2])


def _bound(world: World) -> Plan | None:
    """A claim that has its volume; or the rest of what makes it so."""
    claim, found = _claim(world), world.volume
    if found is None or not _refers(found, world.key):
        if meta.phase(claim) != "Bound":
            return None
        lost = "Bound claim has lost its PersistentVolume. Data on the volume is lost!"
        return Plan(
            (
                Merge(CLAIM, world.key, {"status": {"phase": "Lost"}}, "status"),
                Tell(CLAIM, claim, "ClaimLost", lost, warning=True),
            )
        )
    if meta.phase(claim) == "Bound" and meta.phase(found) == "Bound":
        return NOTHING
    return Plan(
        (*_binding(claim, found, world), Tell(CLAIM, claim, "ProvisioningSucceeded", _success(found)))
    )


def _success(found: Obj) -> str:
    return f"Successfully provisioned volume {meta.name(found)}"


def _binding(claim: Obj, found: Obj, world: World) -> tuple[Make | Merge, ...]:
    annotations = {kubernetes.BIND_COMPLETED: "yes", cdi.BOUND_BY_CONTROLLER: "yes",
                   cdi.PROVISIONER: kubernetes.PROVISIONER,
                   **dict.fromkeys((cdi.BOUND_CONDITION, cdi.BOUND_REASON, cdi.BOUND_MESSAGE))}  # fmt: skip
    spec = meta.spec(found)
    status = {"phase": "Bound", "accessModes": spec["accessModes"], "capacity": spec["capacity"]}
    uid = {"uid": meta.uid(claim)}
    return (
        Make(found, world.place),
        Merge(VOLUME, meta.key(found), {"status": {"phase": "Bound"}}, "status"),
        Merge(
            CLAIM, world.key,
            {"metadata": {**uid, "annotations": annotations}, "spec": {"volumeName": meta.name(found)}},
        ),
        Merge(CLAIM, world.key, {"metadata": uid, "status": status}, "status"),
    )  # fmt: skip


def _static(world: World) -> Plan | None:
    """A claim that asks for no class, or for one volume by name, is bound by hand."""
    spec = meta.spec(_claim(world))
    return NOTHING if spec.get("volumeName") or _class_name(_claim(world)) == "" else None


def _default(world: World) -> Plan | None:
    claim = _claim(world)
    if _class_name(claim) is not None:
        return None
    defaults = sorted(name for name, default in world.classes.items() if default)
    if defaults:
        change = {"metadata": {"uid": meta.uid(claim)}, "spec": {"storageClassName": defaults[0]}}
        return Plan((Merge(CLAIM, world.key, change),))
    sentence = (
        "no persistent volumes available for this claim and no storage class is set: name one in "
        f"spec.storageClassName ({_listed(world)}), or annotate one with {cdi.DEFAULT_CLASS}=true"
    )
    return _failed(claim, sentence, "FailedBinding")


def _unknown_class(world: World) -> Plan | None:
    if world.storage_class is not None:
        return None
    sentence = (
        f'storageclass.storage.k8s.io "{_class_name(_claim(world))}" not found; there are: {_listed(world)}'
    )
    return _failed(_claim(world), sentence)


def _foreign(world: World) -> Plan | None:
    provisioner = str((world.storage_class or {}).get("provisioner", ""))
    if provisioner == kubernetes.PROVISIONER:
        return None
    sentence = f"waiting for a volume to be created by the external provisioner '{provisioner}'"
    return Plan((Tell(CLAIM, _claim(world), "ExternalProvisioning", sentence),), LOOK_AGAIN)


def _waits_for_consumer(world: World) -> Plan | None:
    claim = _claim(world)
    waits = (world.storage_class or {}).get("volumeBindingMode") == "WaitForFirstConsumer"
    if not waits or meta.annotations(claim).get(cdi.SELECTED_NODE):
        return None
    sentence = "waiting for first consumer to be created before binding"
    return Plan((Tell(CLAIM, claim, "WaitForFirstConsumer", sentence),))


def _impossible(world: World) -> Plan | None:
    claim = _claim(world)
    spec = meta.spec(claim)
    source = spec.get("dataSourceRef") or spec.get("dataSource")
    if source:
        sentence = f"a volume from a {source.get('kind')} cannot be made here: remove spec.dataSource and dataSourceRef"
        return _failed(claim, sentence)
    if volume.is_block(claim) and not world.root:
        return _failed(
            claim,
            "volumeMode Block needs loop devices, which need root: run `diskyard up` as root, or use volumeMode "
            "Filesystem",
        )
    size = volume.request(claim)
    if size > world.room:
        return _failed(
            claim,
            f"asked for {quantity.human(size)}, and {quantity.human(max(0, world.room))} of "
            f"{quantity.human(world.place.size())} on {world.place.volumes} are not promised to other claims: ask for "
            "less, delete claims, or put the data directory on a larger file system",
        )
    return None


def _provision(world: World) -> Plan:
    claim = _claim(world)
    path = world.place.volume(derived.volume(meta.uid(claim)))
    due = volume.volume(claim, world.storage_class or {}, path, world.node)
    promise = Promise(due, world.place, world.lock)
    return Plan(
        (promise, *_binding(claim, due, world), Tell(CLAIM, claim, "ProvisioningSucceeded", _success(due)))
    )


RULES: Final = (
    _abandoned, _gone, _served_by_others, _deleting, _bound, _static, _default, _unknown_class, _foreign,
    _waits_for_consumer, _impossible, _provision,
)  # fmt: skip


def _failed(claim: Obj, sentence: str, reason: str = "ProvisioningFailed") -> Plan:
    """Said by an event, and on the claim, where whoever made it (a DataVolume) looks."""
    why = {cdi.BOUND_CONDITION: "false", cdi.BOUND_REASON: reason, cdi.BOUND_MESSAGE: sentence}
    said = Merge(CLAIM, meta.key(claim), {"metadata": {"uid": meta.uid(claim), "annotations": why}})
    known = why.items() <= meta.annotations(claim).items()
    told = Tell(CLAIM, claim, reason, sentence, warning=True)
    return Plan((told,) if known else (said, told), LOOK_AGAIN)


def _listed(world: World) -> str:
    return ", ".join(sorted(world.classes)) or "none"


def _claim(world: World) -> Obj:
    return world.claim or {}


def _class_name(claim: Obj) -> str | None:
    """The class that a claim asks for: empty for none, None for the default."""
    old = meta.annotations(claim).get(kubernetes.CLASS_ANNOTATION)
    said = meta.spec(claim).get("storageClassName", old)
    return None if said is None else str(said)


def _is_default(storage_class: Obj) -> bool:
    return meta.annotations(storage_class).get(cdi.DEFAULT_CLASS) == "true"


def _get(client: Client, kind: Kind, key: Key) -> Obj | None:
    try:
        return client.get(kind, key)
    except NotFound:
        return None


def _used(client: Client, key: Key) -> bool:
    """Whether a pod that has begun, and is not over, mounts the claim."""
    return any(
        key.name in api_pod.claims(each)
        and meta.spec(each).get("nodeName")
        and meta.phase(each) not in ("Succeeded", "Failed")
        for each in client.list(POD, Selection(namespace=key.namespace)).items
    )


def _refers(found: Obj, key: Key) -> bool:
    ref = meta.spec(found).get("claimRef") or {}
    return ref.get("name") == key.name and ref.get("namespace") == key.namespace


def _claims_of(pod: Obj) -> Iterable[Key]:
    return [Key(name, meta.namespace(pod)) for name in api_pod.claims(pod)]


def _claim_of(found: Obj) -> Iterable[Key]:
    ref = meta.spec(found).get("claimRef")
    return [Key(str(ref.get("name", "")), str(ref.get("namespace", "")))] if ref else []


def claims(node: str, volumes: Place) -> Claims:
    """The reconciler for the claims of that node; first, interrupted removals are finished."""
    volumes.sweep()
    return Claims(node, volumes)
