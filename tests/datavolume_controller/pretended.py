"""Storage and a node that pretend: a claim is bound, an importer runs and has succeeded, as soon as they are seen."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

from datavolume_controller import poller
from diskyard.api import meta
from diskyard.api.meta import CLAIM, POD, Key, Kind, Obj
from diskyard.api.poll import Found
from diskyard.kube.client import Client
from diskyard.kube.controller import Controllers
from diskyard.kube.reconcile import NOTHING, Merge, Plan, find

ENDED = {
    "exitCode": 0,
    "message": '{"message":"Import Complete"}',
    "reason": "Completed",
    "finishedAt": "2026-11-21T12:00:00Z",
}
FOUND = Found(f"sha256:{0:064x}").to_text()
"""What a look at a source finds, each time."""


class Storage:
    kind: Kind = CLAIM
    wakes: Mapping[Kind, Callable[[Obj], Iterable[Key]]] = {}

    def gather(self, client: Client, key: Key) -> Obj | None:
        return find(client, CLAIM, key)

    def decide(self, world: Obj) -> Plan:
        if meta.deleting(world):  # no pod is known to use it
            return Plan((Merge(CLAIM, meta.key(world), {"metadata": {"finalizers": None}}),))
        if meta.phase(world) == "Bound":
            return NOTHING
        named = {"spec": {"volumeName": f"pv-{meta.name(world)}"}}
        bound = {"status": {"phase": "Bound", "capacity": meta.spec(world)["resources"]["requests"]}}
        return Plan((Merge(CLAIM, meta.key(world), named), Merge(CLAIM, meta.key(world), bound, "status")))


class Node:
    kind: Kind = POD
    wakes: Mapping[Kind, Callable[[Obj], Iterable[Key]]] = {}

    def gather(self, client: Client, key: Key) -> Obj | None:
        return find(client, POD, key)

    def decide(self, world: Obj) -> Plan:
        if meta.deleting(world) or meta.phase(world) == "Succeeded":
            return NOTHING
        begins = meta.phase(world) != "Running"
        name = meta.spec(world)["containers"][0]["name"]
        ended = {**ENDED, "message": FOUND} if name == poller.CONTAINER else ENDED
        state = {"running": {"startedAt": ENDED["finishedAt"]}} if begins else {"terminated": ended}
        container = {
            "name": name,
            "state": state,
            "ready": True,
            "restartCount": 0,
            "image": "",
            "imageID": "",
        }
        phase = "Running" if begins else "Succeeded"
        status = {"phase": phase, "podIP": "127.64.0.1", "containerStatuses": [container]}
        return Plan((Merge(POD, meta.key(world), {"status": status}, "status"),))


@contextmanager
def pretending(client: Client, workers: int = 2) -> Iterator[None]:
    """Both at work on that store."""
    controllers = Controllers(client, [Storage(), Node()], workers)
    controllers.start()
    try:
        yield
    finally:
        controllers.stop()
