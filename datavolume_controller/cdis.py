"""The CDI object: says that what it asks for is there, as CDI's operator does."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from diskyard import VERSION
from diskyard.api import meta
from diskyard.api.condition import timed
from diskyard.api.meta import CDI, Condition, Key, Kind, Obj
from diskyard.kube.client import Client
from diskyard.kube.reconcile import NOTHING, Merge, Plan, find

CONDITIONS: Final = (
    Condition("Available", "True", "DeployCompleted", "Deployment Completed"),
    Condition("Progressing", "False", "DeployCompleted", "Deployment Completed"),
    Condition("Degraded", "False", "DeployCompleted"),
)


@dataclass(frozen=True)
class World:
    """The object and the time."""

    obj: Obj
    now: datetime


class CDIs:
    """Writes `phase: Deployed` and the conditions for which people wait."""

    kind = CDI
    wakes: Mapping[Kind, Callable[[Obj], Iterable[Key]]] = {}

    def __init__(self, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._clock = clock

    def gather(self, client: Client, key: Key) -> World | None:
        """The object."""
        obj = find(client, CDI, key)
        return World(obj, self._clock()) if obj else None

    def decide(self, world: World) -> Plan:
        """Its status, when it does not say all that yet."""
        before = meta.status(world.obj)
        versions = dict.fromkeys(
            ("operatorVersion", "targetVersion", "observedVersion"), f"diskyard-v{VERSION}"
        )
        conditions = timed(world.obj, CONDITIONS, meta.timestamp(world.now), heartbeats=True)
        after = {**before, **versions, "phase": "Deployed", "conditions": conditions}
        if after == before or meta.deleting(world.obj):
            return NOTHING
        return Plan((Merge(CDI, meta.key(world.obj), {"status": after}, "status"),))
