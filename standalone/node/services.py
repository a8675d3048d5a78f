"""Gives Services of pods an address that works on this machine, and keeps it leading to those that are ready."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from diskyard.api import meta
from diskyard.api.meta import POD, SERVICE, Key, Kind, Obj
from diskyard.kube.client import Client, Selection
from diskyard.kube.reconcile import NOTHING, Merge, Plan, Tell, everything, find
from standalone.node.forward import Forwarder, Place
from standalone.node.probe import port as numbered
from standalone.node.schedule import containers

NETWORK: Final = "127.33"
"""Addresses of Services: of the loopback, so that they work on this machine and nowhere else."""
_HEADLESS: Final = "None"


@dataclass(frozen=True)
class World:
    """A Service and everything that decides over it."""

    key: Key
    forwarder: Forwarder
    served: dict[Key, frozenset[Place]]
    """What is passed on now."""
    service: Obj | None = None
    pods: tuple[Obj, ...] = ()
    taken: frozenset[str] = field(default_factory=frozenset)
    """Addresses of other Services."""


class Services:
    """The reconciler of Services that select pods; those without a selector are their makers' own."""

    kind = SERVICE

    def __init__(self, forwarder: Forwarder) -> None:
        self._forwarder = forwarder
        self._served: dict[Key, frozenset[Place]] = {}
        self.wakes: Mapping[Kind, Callable[[Obj], Iterable[Key]]] = {POD: everything}

    def gather(self, client: Client, key: Key) -> World | None:
        """The Service, its pods, and what addresses others have."""
        found = find(client, SERVICE, key)
        if found is None or not _selects(found):
            return World(key, self._forwarder, self._served) if key in self._served else None
        wanted = meta.spec(found)["selector"]
        pods = tuple(
            each
            for each in client.list(POD, Selection(key.namespace)).items
            if all(meta.labels(each).get(name) == text for name, text in wanted.items())
        )
        others = (meta.spec(each).get("clusterIP") for each in client.list(SERVICE).items)
        return World(key, self._forwarder, self._served, found, pods, frozenset(ip for ip in others if ip))

    def decide(self, world: World) -> Plan:
        """The first rule that speaks."""
        return next((plan for rule in RULES if (plan := rule(world)) is not None), NOTHING)


@dataclass(frozen=True)
class Pass:
    """Have a Service's ports passed on to these places; what cannot be becomes an event."""

    world: World
    fronts: Mapping[Place, tuple[Place, ...]]

    def carry_out(self, client: Client) -> None:
        """Pass them on."""
        key, served = self.world.key, self.world.served
        refused = self.world.forwarder.serve(self.fronts, served.get(key, frozenset()))
        kept = frozenset(self.fronts) - refused.keys()
        if kept:
            served[key] = kept
        else:
            served.pop(key, None)
        for (address, number), why in refused.items():
            advice = "; ports below 1024 need root: choose a higher one" if number < 1024 else ""
            told = f"nobody listens at {address}:{number} for this Service: {why}{advice}"
            if self.world.service:
                Tell(SERVICE, self.world.service, "FailedToListen", told, warning=True).carry_out(client)


def _gone(world: World) -> Plan | None:
    return Plan((Pass(world, {}),)) if world.service is None else None


def _unaddressed(world: World) -> Plan | None:
    service = world.service or {}
    if meta.spec(service).get("clusterIP"):
        return None
    address = _address(meta.uid(service), world.taken)
    change = {"metadata": {"uid": meta.uid(service)}, "spec": {"clusterIP": address, "clusterIPs": [address]}}
    return Plan((Merge(SERVICE, world.key, change),))


def _served(world: World) -> Plan:
    service = world.service or {}
    spec = meta.spec(service)
    fronts = {
        (str(spec["clusterIP"]), int(port["port"])): tuple(_behind(service, port, world.pods))
        for port in spec.get("ports") or ()
        if (port.get("protocol") or "TCP") == "TCP"
    }
    if any((port.get("protocol") or "TCP") != "TCP" for port in spec.get("ports") or ()):
        sentence = "only TCP is passed on to pods here"
        told = Tell(SERVICE, service, "UnsupportedProtocol", sentence, warning=True)
        return Plan((Pass(world, fronts), told))
    return Plan((Pass(world, fronts),))


RULES: Final = (_gone, _unaddressed, _served)


def _selects(service: Obj) -> bool:
    spec = meta.spec(service)
    ours = spec.get("type") != "ExternalName" and spec.get("clusterIP") != _HEADLESS
    return bool(spec.get("selector")) and ours and not meta.deleting(service)


def _behind(service: Obj, port: Obj, pods: Iterable[Obj]) -> Iterable[Place]:
    """Where the pods listen that are ready (or that are to be told of anyway)."""
    anyway = meta.spec(service).get("publishNotReadyAddresses")
    for pod in sorted(pods, key=meta.name):
        ready = meta.holds(pod, "Ready") and not meta.deleting(pod)
        address = meta.status(pod).get("podIP")
        wanted = {"port": port.get("targetPort") or port["port"]}
        numbers = (numbered(wanted, each) for each in containers(pod))
        number = next((one for one in numbers if one is not None), None)
        if address and number and (ready or anyway):
            yield str(address), number


def _address(uid: str, taken: frozenset[str]) -> str:
    number = int.from_bytes(hashlib.sha256(uid.encode()).digest()[:4], "big")
    while True:
        address = f"{NETWORK}.{number // 254 % 254 + 1}.{number % 254 + 1}"
        if address not in taken:
            return address
        number += 1
