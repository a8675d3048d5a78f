"""Where a DataVolume that is cloned stands, from what its claim says of the clone. Pure (cdi-wire: operations)."""

from collections.abc import Mapping
from typing import Final

from datavolume_controller.outcome import Event, Outcome, held_back
from datavolume_controller.world import World
from diskyard.api.datavolume import Phase
from diskyard.api.names import clone
from diskyard.api.storage import Claim

_PHASES: Final[Mapping[str, tuple[str, str]]] = {
    "": (Phase.CLONE_SCHEDULED, "Cloning from {source} into {target} scheduled"),
    "Pending": (Phase.CLONE_SCHEDULED, "Cloning from {source} into {target} scheduled"),
    "HostClone": (Phase.CLONING, "Cloning from {source} into {target} in progress"),
    "Snapshot": (
        Phase.SNAPSHOTTING,
        "Creating snapshot for smart-clone is in progress (for pvc {source})",
    ),
    "SnapshotClone": (
        Phase.RESTORING,
        "Creating PVC from snapshot source is in progress (for {kind} {source})",
    ),
    "CSIClone": (Phase.CSI_CLONING, "CSI Volume clone in progress (for pvc {source})"),
    "PrepClaim": (Phase.PREPARING, "Prepping PersistentVolumeClaim for DataVolume {target}"),
    "Rebind": (Phase.REBINDING, "Rebinding PersistentVolumeClaim for DataVolume {target}"),
}


def outcome(world: World, held: Claim) -> Outcome | None:
    """The phase of a clone; None: it has not moved."""
    said = held.annotations.get(clone.PHASE, "")
    leaf = world.cloning.leaf if world.cloning else None
    words = {"source": leaf.key if leaf else "?", "kind": leaf.entry if leaf else "", "target": world.dv.key}
    if held.pod_phase == "Succeeded" and held.bound:
        message = f"Successfully cloned from {words['source']} into {words['target']}"
        return Outcome(Phase.SUCCEEDED, Event("CloneSucceeded", message))
    if not held.bound and world.waits:
        return held_back(held, populated=True)
    if said == "Error":
        message = held.annotations.get(clone.ERROR, "")
        return Outcome(world.dv.phase or Phase.PENDING, Event("CloneFailed", message, warning=True))
    if said not in _PHASES:
        return None
    phase, text = _PHASES[said]
    return Outcome(phase, Event(phase, text.format(**words)))
