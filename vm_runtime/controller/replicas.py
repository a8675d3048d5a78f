"""The reconciler of replica sets: so many instances of one template.

Each instance has a slot, and its name says which: to make one twice makes one. Those that run are the last to go.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import count, islice
from typing import Final

from diskyard.api import meta, selector
from diskyard.api.condition import timed
from diskyard.api.instance import FINAL_PHASES, part
from diskyard.api.meta import CONFIG_MAP, INSTANCE, KUBEVIRT, REPLICA_SET, Condition, Key, Kind, Obj
from diskyard.kube.client import Client, Deletion, Selection
from diskyard.kube.reconcile import Action, Create, Delete, Merge, Plan, Tell, everything, find, owners
from diskyard.kube.refusal import CreateOrExplain
from vm_runtime.controller.admission import replicas_refusal
from vm_runtime.controller.configuration import of_settings, settings_of
from vm_runtime.controller.phases import NOT_MADE

BURST: Final = 10
"""How many are made or taken away at a time."""


@dataclass(frozen=True)
class World:
    """A replica set and the instances that are its own."""

    obj: Obj
    instances: tuple[Obj, ...]
    taken: frozenset[str]
    """Names of all instances of the namespace."""
    obstacle: str
    """Why none may be made; empty: they may."""
    now: datetime

    @property
    def active(self) -> list[Obj]:
        """Those that count: neither over nor on their way out."""
        return [
            each
            for each in self.instances
            if meta.phase(each) not in FINAL_PHASES and not meta.deleting(each)
        ]

    @property
    def wanted(self) -> int:
        """How many there are to be."""
        said = meta.spec(self.obj).get("replicas")
        return said if isinstance(said, int) else 1


class Replicas:
    """VirtualMachineInstanceReplicaSet -> instances."""

    kind = REPLICA_SET

    def __init__(self, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._clock = clock
        self.wakes: Mapping[Kind, Callable[[Obj], Iterable[Key]]] = {
            INSTANCE: owners(REPLICA_SET),
            KUBEVIRT: everything,
            CONFIG_MAP: of_settings,
        }

    def gather(self, client: Client, key: Key) -> World | None:
        """The set, and every instance beside it."""
        obj = find(client, REPLICA_SET, key)
        if obj is None or meta.deleting(obj):
            return None
        there = client.list(INSTANCE, Selection(key.namespace)).items
        mine = tuple(each for each in there if meta.owned_by(each, obj))
        names = frozenset(meta.name(each) for each in there)
        return World(obj, mine, names, replicas_refusal(obj, settings_of(client)), self._clock())

    def decide(self, world: World) -> Plan:
        """What is over goes; then one more or one less, so many at a time."""
        actions: list[Action] = []
        if not meta.spec(world.obj).get("paused"):
            over = (each for each in world.instances if meta.phase(each) in FINAL_PHASES)
            actions += [_gone(each) for each in over if not meta.deleting(each)]
            missing = world.wanted - len(world.active)
            if missing > 0 and not world.obstacle:
                actions += _more(world, min(missing, BURST))
            elif missing < 0:
                actions += _fewer(world, min(-missing, BURST))
        return Plan((*actions, *_reported(world)))


def instance(owner: Obj, name: str) -> Obj:
    """An instance of the set's template."""
    template = part(meta.spec(owner), "template")
    return {
        "apiVersion": INSTANCE.api_version,
        "kind": INSTANCE.kind,
        "metadata": {
            "name": name,
            "namespace": meta.namespace(owner),
            "labels": dict(meta.labels(template)),
            "annotations": dict(meta.annotations(template)),
            "ownerReferences": [meta.owner_reference(REPLICA_SET, owner)],
        },
        "spec": meta.spec(template),
    }


def names(owner: Obj) -> Iterator[str]:
    """What the instances of a set are called, slot by slot."""
    for slot in count():
        digest = hashlib.sha256(f"{meta.uid(owner)}/{slot}".encode()).hexdigest()
        yield f"{meta.name(owner)}-{digest[:5]}"


def _more(world: World, number: int) -> Iterator[Action]:
    free = (name for name in names(world.obj) if name not in world.taken)
    for name in islice(free, number):
        yield CreateOrExplain(
            Create(INSTANCE, instance(world.obj, name)),
            REPLICA_SET,
            world.obj,
            lambda _, message: {"status": _status(replace(world, obstacle=message))},
            "status",
            NOT_MADE,
        )
        text = f"Started the virtual machine by creating the new virtual machine instance {name}"
        yield Tell(REPLICA_SET, world.obj, "SuccessfulCreate", text)


def _fewer(world: World, number: int) -> Iterator[Action]:
    for each in sorted(world.active, key=_worth)[:number]:
        yield _gone(each)
        text = f"Stopped the virtual machine by deleting the virtual machine instance {meta.name(each)}"
        yield Tell(REPLICA_SET, world.obj, "SuccessfulDelete", text)


def _worth(obj: Obj) -> tuple[bool, bool, float]:
    """How much would be lost with an instance: one that is up, that runs, that has run for long is worth most."""
    born = meta.meta(obj).get("creationTimestamp")
    age = -meta.moment(born).timestamp() if born else 0.0
    return _ready(obj), meta.phase(obj) == "Running", age


def _ready(obj: Obj) -> bool:
    return meta.holds(obj, "Ready")


def _gone(obj: Obj) -> Delete:
    return Delete(INSTANCE, meta.key(obj), Deletion(uid=meta.uid(obj)))


def _status(world: World) -> Obj:
    told = []
    if meta.spec(world.obj).get("paused"):
        told.append(Condition("ReplicaPaused", "True", "Paused", "Controller got paused"))
    if world.obstacle:
        told.append(Condition("ReplicaFailure", "True", NOT_MADE, world.obstacle))
    return {
        "replicas": len(world.active),
        "readyReplicas": sum(map(_ready, world.active)),
        "labelSelector": selector.written(part(meta.spec(world.obj), "selector")),
        "conditions": timed(world.obj, told, meta.timestamp(world.now)),
    }


def _reported(world: World) -> list[Action]:
    after = _status(world)
    if after == {"conditions": [], **meta.status(world.obj)}:
        return []
    change = {
        "metadata": {"resourceVersion": meta.meta(world.obj).get("resourceVersion")},
        "status": after,
    }
    return [Merge(REPLICA_SET, meta.key(world.obj), change, "status")]
