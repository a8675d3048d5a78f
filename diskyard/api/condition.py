"""Conditions with their times, as they stand in a status: what says what it said keeps them. Pure."""

from collections.abc import Iterable

from diskyard.api import meta
from diskyard.api.meta import Condition, Obj


def timed(obj: Obj, conditions: Iterable[Condition], now: str, *, heartbeats: bool = False) -> list[Obj]:
    """The conditions of `obj` as they are to stand, `lastTransitionTime` moving with the status alone.

    `heartbeats`: also `lastHeartbeatTime`, as CDI has it, which moves with reason and message too.
    """
    return [_timed(each, meta.condition(obj, each.type) or {}, now, heartbeats) for each in conditions]


def _timed(condition: Condition, held: Obj, now: str, heartbeats: bool) -> Obj:
    words = {"reason": condition.reason, "message": condition.message}
    same_status = held.get("status") == condition.status
    same = same_status and all((held.get(name) or "") == text for name, text in words.items())
    beat = {"lastHeartbeatTime": (held.get("lastHeartbeatTime") if same else None) or now}
    return {
        "type": condition.type,
        "status": condition.status,
        "lastTransitionTime": (held.get("lastTransitionTime") if same_status else None) or now,
        **(beat if heartbeats else {}),
        **{name: text for name, text in words.items() if text},
    }
