"""May a pod run here? The sentences are those of Kubernetes' scheduler. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from diskyard.api import meta, quantity
from diskyard.api.meta import Obj
from diskyard.api.names.cdi import SELECTED_NODE
from diskyard.api.names.kubernetes import TUN_DEVICE
from standalone.node import placement
from standalone.node.placement import UNMARKED, Marks

PATIENCE: Final = timedelta(seconds=5)
"""A claim made a moment before its pod is not worth a complaint: it is bound within milliseconds."""
HOST_ADDRESS: Final = "127.0.0.1"
"""Where a yard's node is; one of a cluster has an address that others reach."""
SCHEDULERS: Final = ("", "default-scheduler", "diskyard")
"""Pods that leave their scheduling to one of these are ours to place."""
_ONE_NODE: Final = "0/1 nodes are available: "
NO_MEMORY: Final = "1 Insufficient memory"
PRESSURE: Final = f"{_ONE_NODE}1 node(s) had untolerated taint {{node.kubernetes.io/disk-pressure: }}."


@dataclass(frozen=True)
class Claim:
    """A claim that a pod uses; `obj` None: there is none."""

    name: str
    obj: Obj | None
    waits: bool = False
    """Its class binds when a first consumer comes."""
    elsewhere: bool = False
    """Its volume is on another node."""
    taken: bool = False
    """It is for one pod alone, and another has it."""

    def fresh(self, now: datetime) -> bool:
        """Whether it is so young that its volume may simply not be made yet."""
        created = meta.meta(self.obj or {}).get("creationTimestamp")
        return bool(created) and now - meta.moment(str(created)) < PATIENCE

    @property
    def bound(self) -> bool:
        """Whether it has its volume."""
        return self.obj is not None and meta.phase(self.obj) == "Bound"


@dataclass(frozen=True)
class Node:
    """What the decision needs of the node."""

    name: str
    labels: Mapping[str, str]
    """Those that it was made with."""
    devices: frozenset[str]
    """Device resources that pods may ask for."""
    address: str = HOST_ADDRESS
    marks: Marks = UNMARKED
    """What its Node object says at this moment."""


@dataclass(frozen=True)
class Room:
    """Bytes of memory that a node has for guests, and those that are promised to nobody yet."""

    total: int
    left: int


def room(total: int, pods: Sequence[Obj]) -> Room:
    """What is left of that much memory beside those pods."""
    there = (pod for pod in pods if meta.phase(pod) not in ("Succeeded", "Failed"))
    return Room(total, total - sum(map(memory, there)))


def memory(pod: Obj) -> int:
    """Bytes that a pod asks for: an init container's are its others' afterwards."""
    spec = meta.spec(pod)
    first, then = ([_memory(each) for each in spec.get(k) or ()] for k in ("initContainers", "containers"))
    return max([*first, sum(then)])


def _memory(container: Obj) -> int:
    return quantity.parse(((container.get("resources") or {}).get("requests") or {}).get("memory") or 0)


def obstacle(
    pod: Obj, claims: Sequence[Claim], node: Node, *, pressed: bool = False, room: Room | None = None
) -> str:
    """Why no node takes the pod; empty: this one does (once its claims are bound)."""
    for claim in claims:
        if claim.obj is None:
            return f'{_ONE_NODE}persistentvolumeclaim "{claim.name}" not found.'
        if meta.deleting(claim.obj):
            return f'{_ONE_NODE}persistentvolumeclaim "{claim.name}" is being deleted.'
    if any(not claim.bound and not claim.waits for claim in claims):
        return f"{_ONE_NODE}pod has unbound immediate PersistentVolumeClaims."
    if why := placement.unwelcome(pod, node.name, node.marks):
        return f"{_ONE_NODE}1 node(s) {why}"
    if any(claim.elsewhere for claim in claims):
        return f"{_ONE_NODE}1 node(s) had volume node affinity conflict."
    if any(claim.taken for claim in claims):
        return (
            f"{_ONE_NODE}1 node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access "
            "mode."
        )
    for device in sorted(devices(pod) - node.devices):
        return f"{_ONE_NODE}1 Insufficient {device}."
    if room and memory(pod) > room.left:
        sizes = (memory(pod), max(0, room.left), room.total)
        asked, left, total = (quantity.canonical(quantity.round_down(size)) for size in sizes)
        return f"{_ONE_NODE}{NO_MEMORY}: {asked} asked for, {left} of {total} left."
    return PRESSURE if pressed else ""


def unselected(claims: Sequence[Claim], node: Node) -> list[Obj]:
    """The claims that wait for a first consumer and have not been told where it is."""
    return [
        claim.obj
        for claim in claims
        if claim.obj and not claim.bound and meta.annotations(claim.obj).get(SELECTED_NODE) != node.name
    ]


def devices(pod: Obj) -> set[str]:
    """Device resources that a pod asks for: everything of a vendor's domain."""
    return {
        name
        for container in containers(pod)
        for name in limits(container)
        if "/" in name and not name.startswith("requests.")
    }


def is_connected(pod: Obj) -> bool:
    """Whether a pod is to have a network namespace of its own: who makes devices makes them there."""
    return TUN_DEVICE in devices(pod)


def containers(pod: Obj) -> list[Obj]:
    """Init containers, then the others."""
    spec = meta.spec(pod)
    return [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]


def limits(container: Obj) -> Mapping[str, Any]:
    """What a container may use at most, and the devices that it gets."""
    return (container.get("resources") or {}).get("limits") or {}
