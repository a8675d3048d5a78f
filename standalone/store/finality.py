"""How objects end: grace for pods, finalizers for all. Pure: what a deletion leaves, or that nothing is left."""

import copy
from datetime import datetime, timedelta
from typing import Final

from diskyard.api import meta
from diskyard.api.meta import NAMESPACE, POD, Kind, Obj
from diskyard.kube.client import Deletion

DEFAULT_GRACE: Final = 30
_OVER: Final = ("Succeeded", "Failed")
_WAITS: Final = {"Orphan": "orphan", "Foreground": "foregroundDeletion"}


def deleted(kind: Kind, obj: Obj, deletion: Deletion, now: datetime) -> tuple[Obj, bool]:
    """The object after someone asked for its deletion, and whether it is gone."""
    obj = copy.deepcopy(obj)
    metadata = obj["metadata"]
    wait = _WAITS.get(deletion.propagation)
    if wait and not meta.deleting(obj) and wait not in metadata.get("finalizers", ()):
        metadata["finalizers"] = [*metadata.get("finalizers", ()), wait]
    grace = _grace(obj, deletion) if kind == POD else 0
    left = metadata.get("deletionGracePeriodSeconds")
    if not meta.deleting(obj):
        if "generation" in metadata:
            metadata["generation"] += 1
        metadata["deletionTimestamp"] = meta.timestamp(now + timedelta(seconds=grace))
        metadata["deletionGracePeriodSeconds"] = grace
    elif left is None or grace < left:
        metadata["deletionTimestamp"] = meta.timestamp(
            meta.moment(metadata["deletionTimestamp"]) - timedelta(seconds=int(left or 0) - grace)
        )
        metadata["deletionGracePeriodSeconds"] = grace
    if kind == NAMESPACE:
        obj["status"] = {**meta.status(obj), "phase": "Terminating"}
    return obj, finished(kind, obj)


def finished(kind: Kind, obj: Obj) -> bool:
    """Whether nothing holds an object any more that someone asked to delete."""
    if not meta.deleting(obj) or meta.meta(obj).get("finalizers"):
        return False
    if kind == NAMESPACE:
        return not meta.spec(obj).get("finalizers")
    return kind != POD or not meta.meta(obj).get("deletionGracePeriodSeconds")


def _grace(pod: Obj, deletion: Deletion) -> int:
    if not meta.spec(pod).get("nodeName") or meta.phase(pod) in _OVER:
        return 0
    if deletion.grace is not None:
        return max(0, deletion.grace)
    return int(meta.spec(pod).get("terminationGracePeriodSeconds", DEFAULT_GRACE))
