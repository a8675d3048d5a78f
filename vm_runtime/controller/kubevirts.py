"""The reconciler of the KubeVirt object: says that what it asks for is there."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from diskyard import VERSION
from diskyard.api import meta
from diskyard.api.condition import timed
from diskyard.api.meta import KUBEVIRT, Condition, Key, Kind, Obj
from diskyard.api.settings import CR, UNFOLLOWED
from diskyard.kube.client import Client
from diskyard.kube.reconcile import NOTHING, Merge, Plan, find

DEPLOYED = (
    Condition("Available", "True", "AllComponentsReady", "All components are ready."),
    Condition("Progressing", "False", "AllComponentsReady", "All components are ready."),
    Condition("Degraded", "False", "AllComponentsReady", "All components are ready."),
    Condition("Created", "True", "AllResourcesCreated", "All resources were created."),
)
OTHER = (
    Condition("Available", "False", "ExistingDeployment", UNFOLLOWED),
    Condition("Progressing", "False", "ExistingDeployment", UNFOLLOWED),
    Condition("Degraded", "True", "ExistingDeployment", UNFOLLOWED),
    Condition("Created", "False", "ExistingDeployment", UNFOLLOWED),
)
"""Of a KubeVirt beside the one that is followed."""


@dataclass(frozen=True)
class World:
    """The object and the time."""

    obj: Obj
    now: datetime


class KubeVirts:
    """Writes `phase: Deployed` and the conditions for which people wait; of any other, that nobody follows it."""

    kind = KUBEVIRT
    wakes: Mapping[Kind, Callable[[Obj], Iterable[Key]]] = {}

    def __init__(self, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._clock = clock

    def gather(self, client: Client, key: Key) -> World | None:
        """The object."""
        obj = find(client, KUBEVIRT, key)
        return World(obj, self._clock()) if obj else None

    def decide(self, world: World) -> Plan:
        """Its status, when it does not say all that yet."""
        before, followed = meta.status(world.obj), meta.key(world.obj) == CR
        after = {
            **before,
            "phase": "Deployed" if followed else "Deploying",
            "observedGeneration": int(meta.meta(world.obj).get("generation") or 0),
            "observedKubeVirtVersion": f"diskyard-v{VERSION}",
            "targetKubeVirtVersion": f"diskyard-v{VERSION}",
            "conditions": timed(world.obj, DEPLOYED if followed else OTHER, meta.timestamp(world.now)),
        }
        if after == before or meta.deleting(world.obj):
            return NOTHING
        return Plan((Merge(KUBEVIRT, meta.key(world.obj), {"status": after}, "status"),))
