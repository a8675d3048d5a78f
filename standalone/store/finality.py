"""How objects end: grace for pods, finalizers for all. Pure: what a deletion leaves, and whether that is nothing."""

import copy
from datetime import datetime, timedelta
from typing import Final

from diskyard.api import meta
from diskyard.api.meta import NAMESPACE, POD, Kind, Obj
from diskyard.api.names import kubernetes
from diskyard.kube.client import Deletion

DEFAULT_GRACE: Final = 30
_OVER: Final = ("Succeeded", "Failed")
_HELD_BY: Final = {"Orphan": kubernetes.ORPHAN, "Foreground": kubernetes.FOREGROUND}


def deleted(kind: Kind, obj: Obj, deletion: Deletion, now: datetime) -> Obj:
    """The object after someone asked for its deletion; asked again, a pod's grace can only become shorter."""
    obj = copy.deepcopy(obj)
    metadata = obj["metadata"]
    finalizers = _held(metadata.pop("finalizers", []), deletion.propagation)
    metadata |= {"finalizers": finalizers} if finalizers else {}
    grace = _grace(obj, deletion) if kind == POD else 0
    if meta.deleting(obj):
        left = int(metadata.get("deletionGracePeriodSeconds", 0))
        if grace < left:
            sooner = meta.moment(metadata["deletionTimestamp"]) - timedelta(seconds=left - grace)
            metadata |= {"deletionTimestamp": meta.timestamp(sooner), "deletionGracePeriodSeconds": grace}
        return obj
    end = meta.timestamp(now + timedelta(seconds=grace))
    metadata |= {"deletionTimestamp": end, "deletionGracePeriodSeconds": grace}
    if "generation" in metadata:
        metadata["generation"] += 1
    if kind == NAMESPACE:
        obj["status"] = {**meta.status(obj), "phase": "Terminating"}
    return obj


def finished(kind: Kind, obj: Obj) -> bool:
    """Whether nothing holds an object any more that someone asked to delete."""
    if not meta.deleting(obj) or meta.meta(obj).get("finalizers"):
        return False
    if kind == NAMESPACE:
        return not meta.spec(obj).get("finalizers")
    return kind != POD or not meta.meta(obj).get("deletionGracePeriodSeconds")


def _held(finalizers: list[str], propagation: str) -> list[str]:
    """The finalizers, with the one that the last word about dependents asks for; no word changes none."""
    if not propagation:
        return finalizers
    holder = _HELD_BY.get(propagation)
    kept = [name for name in finalizers if name == holder or name not in _HELD_BY.values()]
    return [*kept, holder] if holder and holder not in kept else kept


def _grace(pod: Obj, deletion: Deletion) -> int:
    """Seconds: none for a pod that runs nowhere."""
    if not meta.spec(pod).get("nodeName") or meta.phase(pod) in _OVER:
        return 0
    if deletion.grace is not None:
        return max(0, deletion.grace)
    return int(meta.spec(pod).get("terminationGracePeriodSeconds", DEFAULT_GRACE))
