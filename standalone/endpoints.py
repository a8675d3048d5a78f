"""Endpoints and EndpointSlices of Services that select pods, as Kubernetes' own controllers write them."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import orjson

from diskyard.api import meta
from diskyard.api.meta import ENDPOINT_SLICE, ENDPOINTS, POD, SERVICE, Key, Kind, Obj
from diskyard.api.names import kubernetes
from diskyard.kube.client import Client, Selection
from diskyard.kube.reconcile import NOTHING, Action, Create, Delete, Merge, Plan, everything, find, same_name
from standalone.node.probe import port as numbered
from standalone.node.schedule import containers

_OVER: Final = ("Succeeded", "Failed")
_HEADLESS: Final = "None"
_HASH: Final = 5
Port = tuple[str, int, str]
"""Name, number, protocol."""


@dataclass(frozen=True)
class World:
    """A Service, its pods, and what is told of them so far."""

    key: Key
    service: Obj | None
    pods: tuple[Obj, ...]
    endpoints: Obj | None
    slices: tuple[Obj, ...]


class ServiceEndpoints:
    """The reconciler of Services that select pods."""

    kind: Kind = SERVICE
    wakes: Mapping[Kind, Callable[[Obj], Iterable[Key]]]

    def __init__(self) -> None:
        self.wakes = {POD: everything, ENDPOINTS: same_name, ENDPOINT_SLICE: _of_slice}

    def gather(self, client: Client, key: Key) -> World:
        """The Service, its pods, and what is told of them."""
        service = find(client, SERVICE, key)
        wanted = meta.spec(service or {}).get("selector") or {}
        pods = tuple(
            pod
            for pod in client.list(POD, Selection(key.namespace)).items
            if wanted and wanted.items() <= meta.labels(pod).items()
        )
        told = client.list(ENDPOINT_SLICE, Selection(key.namespace)).items
        slices = tuple(one for one in told if _is_ours(one) and Key(*_service_of(one)) == key)
        return World(key, service, pods, find(client, ENDPOINTS, key), slices)

    def decide(self, world: World) -> Plan:
        """What the Service's objects lack; nothing is left of one that is gone or selects nothing."""
        service = world.service
        if service is None:
            left = world.endpoints and kubernetes.ENDPOINTS_MANAGED_BY in meta.labels(world.endpoints)
            return Plan((Delete(ENDPOINTS, world.key),)) if left else NOTHING
        if not _selects(service):
            return NOTHING
        return Plan((*_endpoints(world, service), *_slices(world, service)))


def _endpoints(world: World, service: Obj) -> Iterator[Action]:
    labels = {**_labels(service), kubernetes.ENDPOINTS_MANAGED_BY: kubernetes.ENDPOINT_CONTROLLER}
    yield from _made(ENDPOINTS, world.endpoints, world.key, labels, {"subsets": subsets(service, world.pods)})


def _slices(world: World, service: Obj) -> Iterator[Action]:
    labels = {
        **_labels(service),
        kubernetes.SLICE_MANAGED_BY: kubernetes.SLICE_CONTROLLER,
        kubernetes.SERVICE_NAME: world.key.name,
    }
    there = {meta.name(one): one for one in world.slices}
    wanted = slices(service, world.pods)
    for name, fields in wanted.items():
        owner = [meta.owner_reference(SERVICE, service)]
        key = Key(name, world.key.namespace)
        yield from _made(ENDPOINT_SLICE, there.get(name), key, labels, fields, owner)
    for name in there.keys() - wanted.keys():
        yield Delete(ENDPOINT_SLICE, Key(name, world.key.namespace))


def _made(
    kind: Kind, found: Obj | None, key: Key, labels: Mapping[str, str], fields: Obj, *owners: list[Obj]
) -> Iterator[Action]:
    """The object as it is to be, made or changed where it is not."""
    if found is None:
        metadata: Obj = {"name": key.name, "namespace": key.namespace, "labels": labels}
        if owners:
            metadata["ownerReferences"] = owners[0]
        obj = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}
        yield Create(kind, {**obj, **{name: value for name, value in fields.items() if value is not None}})
        return
    right = {name: found.get(name) for name in fields} == fields
    if not right or meta.labels(found) != labels:
        gone = dict.fromkeys(meta.labels(found).keys() - labels.keys())
        yield Merge(kind, key, {"metadata": {"labels": {**labels, **gone}}, **fields})


def subsets(service: Obj, pods: Iterable[Obj]) -> list[Obj] | None:
    """Of Endpoints: the pods' addresses, together where they have the same ports."""
    anyway = bool(meta.spec(service).get("publishNotReadyAddresses"))
    of_port: dict[Port | None, list[tuple[bool, Obj]]] = {}
    for pod in sorted(pods, key=_place):
        if not _counts(pod) or (meta.deleting(pod) and not anyway):
            continue
        address = {"ip": meta.status(pod)["podIP"], **_node(pod), "targetRef": _target(pod)}
        ready = anyway or _ready(pod)
        for port in _ports(service, pod) if meta.spec(service).get("ports") else (None,):
            of_port.setdefault(port, []).append((ready, address))
    together: dict[bytes, tuple[list[tuple[bool, Obj]], list[Port]]] = {}
    for port, addresses in of_port.items():
        _, named = together.setdefault(orjson.dumps(addresses), (addresses, []))
        named += [port] if port else []
    return [_subset(addresses, named) for addresses, named in together.values()] or None


def _subset(addresses: list[tuple[bool, Obj]], ports: list[Port]) -> Obj:
    ready = [address for is_ready, address in addresses if is_ready]
    rest = [address for is_ready, address in addresses if not is_ready]
    told = [
        {**({"name": name} if name else {}), "port": number, "protocol": protocol}
        for name, number, protocol in sorted(ports)
    ]
    return {
        **({"addresses": ready} if ready else {}),
        **({"notReadyAddresses": rest} if rest else {}),
        **({"ports": told} if told else {}),
    }


def slices(service: Obj, pods: Iterable[Obj]) -> dict[str, Obj]:
    """EndpointSlices by their names: one for all pods with the same ports; an empty one where there are none."""
    anyway = bool(meta.spec(service).get("publishNotReadyAddresses"))
    found: dict[tuple[Port, ...], list[Obj]] = {}
    for pod in sorted(pods, key=_place):
        if _counts(pod):
            ports = tuple(_ports(service, pod))
            found.setdefault(ports, []).append(_endpoint(pod, anyway=anyway))
    named = partial(_name, service)
    if not found:
        return {named(()): {"addressType": "IPv4", "endpoints": None, "ports": None}}
    return {
        named(ports): {
            "addressType": "IPv4",
            "endpoints": endpoints,
            "ports": [
                {"name": name, "port": number, "protocol": protocol} for name, number, protocol in ports
            ],
        }
        for ports, endpoints in found.items()
    }


def _endpoint(pod: Obj, *, anyway: bool) -> Obj:
    serving, going = _ready(pod), meta.deleting(pod)
    conditions = {"ready": anyway or (serving and not going), "serving": serving, "terminating": going}
    address = {"addresses": [meta.status(pod)["podIP"]], "conditions": conditions}
    return {**address, **_node(pod), "targetRef": _target(pod)}


def _name(service: Obj, ports: tuple[Port, ...]) -> str:
    digest = hashlib.sha256(orjson.dumps([meta.uid(service), ports])).hexdigest()
    return f"{meta.name(service)}-{digest[:_HASH]}"


def _labels(service: Obj) -> dict[str, str]:
    headless = {kubernetes.HEADLESS: ""} if meta.spec(service).get("clusterIP") == _HEADLESS else {}
    return {**meta.labels(service), **headless}


def _ports(service: Obj, pod: Obj) -> Iterator[Port]:
    """The Service's ports as numbers of that pod; those that it does not have are left out."""
    for port in meta.spec(service).get("ports") or ():
        wanted = {"port": port.get("targetPort") or port["port"]}
        numbers = (numbered(wanted, each) for each in containers(pod))
        number = next((one for one in numbers if one is not None), None)
        if number is not None:
            yield str(port.get("name") or ""), int(number), str(port.get("protocol") or "TCP")


def _selects(service: Obj) -> bool:
    return bool(meta.spec(service).get("selector")) and meta.spec(service).get("type") != "ExternalName"


def _counts(pod: Obj) -> bool:
    """Whether there is something to lead to."""
    return bool(meta.status(pod).get("podIP")) and meta.phase(pod) not in _OVER


def _ready(pod: Obj) -> bool:
    return meta.holds(pod, "Ready")


def _node(pod: Obj) -> dict[str, Any]:
    node = meta.spec(pod).get("nodeName")
    return {"nodeName": node} if node else {}


def _target(pod: Obj) -> Obj:
    return {"kind": "Pod", "namespace": meta.namespace(pod), "name": meta.name(pod), "uid": meta.uid(pod)}


def _place(pod: Obj) -> tuple[str, str]:
    return str(meta.status(pod).get("podIP")), meta.uid(pod)


def _is_ours(found: Obj) -> bool:
    return meta.labels(found).get(kubernetes.SLICE_MANAGED_BY) == kubernetes.SLICE_CONTROLLER


def _service_of(found: Obj) -> tuple[str, str]:
    return meta.labels(found).get(kubernetes.SERVICE_NAME, ""), meta.namespace(found)


def _of_slice(found: Obj) -> Iterable[Key]:
    return (Key(*_service_of(found)),) if _is_ours(found) else ()
