"""Claims that wait for their volume for long: what their storage says of that, in events, is said on the claim.

A DataVolume's condition Bound takes it from there. A claim that is filled in another one's place says it of that one
too: users look at the claim that they know.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from datavolume_controller import vddk
from datavolume_controller.population import ours
from datavolume_controller.worded import annotated
from diskyard.api import meta
from diskyard.api.meta import CLAIM, EVENT, Key, Kind, Obj
from diskyard.api.names import cdi
from diskyard.api.storage import Claim, claim
from diskyard.kube.client import Client, Selection
from diskyard.kube.reconcile import Plan, Tell, find

PATIENCE: Final = 5.0
"""Seconds that a claim may wait before its events are read: most are bound at once."""
PERIOD: Final = 15.0
SILENT: Final = frozenset({"ClaimMisbound", "ImportTargetInUse", "UploadTargetInUse"})
"""What comes and goes on the way, or is said elsewhere."""
OURS: Final = "diskyard"
_SAID_NO_MORE: Final = dict.fromkeys((cdi.BOUND_CONDITION, cdi.BOUND_REASON, cdi.BOUND_MESSAGE))


@dataclass(frozen=True)
class World:
    """A claim without a volume, or one that has it and still says that it has none."""

    obj: Obj
    claim: Claim
    waited: float
    """Seconds since it was made."""
    event: Obj | None = None
    """The newest warning about it that is not ours."""
    target: Obj | None = None
    """The claim in whose place it is filled."""


class Pendings:
    """Says of each of our claims why its storage gives it no volume."""

    kind: Kind = CLAIM
    wakes: Mapping[Kind, Callable[[Obj], Iterable[Key]]] = {}

    def gather(self, client: Client, key: Key) -> World | None:
        """A claim of ours that is pending or was, and what is told of it; None: any other."""
        obj = find(client, CLAIM, key)
        found = claim(obj) if obj else None
        if obj is None or found is None or found.deleting or not _ours(found):
            return None
        if found.annotations.get(cdi.BOUND_REASON) == vddk.AWAITING:
            return None
        if found.phase not in ("", "Pending"):
            return (
                World(obj, found, 0.0) if found.bound and cdi.BOUND_CONDITION in found.annotations else None
            )
        waited = (datetime.now(UTC) - meta.moment(meta.meta(obj)["creationTimestamp"])).total_seconds()
        if waited < PATIENCE:
            return World(obj, found, waited)
        owner = meta.controller_of(obj) or {}
        stands_in = cdi.POPULATOR_KIND in found.annotations and owner.get("kind") == CLAIM.kind
        target = find(client, CLAIM, Key(str(owner.get("name")), key.namespace)) if stands_in else None
        return World(obj, found, waited, _newest(client, found), target)

    def decide(self, world: World) -> Plan:
        """What to say."""
        if world.claim.bound:
            return Plan(annotated(world.claim, _SAID_NO_MORE))
        if world.waited < PATIENCE:
            return Plan((), PATIENCE - world.waited)
        if world.event is None:
            return Plan((), PERIOD)
        reason, message = str(world.event.get("reason") or ""), str(world.event.get("message") or "")
        said = {cdi.BOUND_CONDITION: "false", cdi.BOUND_REASON: reason, cdi.BOUND_MESSAGE: message}
        told = annotated(world.claim, said)
        if told and world.target is not None:
            text = f"[{world.claim.key.name}] : {message}"
            return Plan((Tell(CLAIM, world.target, reason, text, warning=True), *told), PERIOD)
        return Plan(told, PERIOD)


def _ours(claim: Claim) -> bool:
    """Whether a DataVolume, a populator's claim or who imports or uploads without either waits for it.

    A populator's own claim waits for its stand-in.
    """
    said = claim.annotations
    by_hand = any(each in said for each in cdi.FILLED_BY_US) and cdi.EXTERNAL_POPULATION not in said
    return (by_hand or cdi.CREATED_FOR in said or cdi.POPULATOR_KIND in said) and ours(
        claim.populator
    ) is None


def _newest(client: Client, claim: Claim) -> Obj | None:
    selection = Selection(claim.key.namespace, fields=f"involvedObject.uid={claim.uid}")
    found = [
        each
        for each in client.list(EVENT, selection).items
        if each.get("type") == "Warning"
        and each.get("reason") not in SILENT
        and (each.get("source") or {}).get("component") != OURS
    ]
    return max(found, key=_moment, default=None)


def _moment(event: Obj) -> str:
    series = event.get("series") or {}
    times = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    return str(next((each for each in times if each), meta.meta(event).get("creationTimestamp") or ""))
