"""The conditions of a DataVolume (Bound, Ready, Running): what waits for what, in one line. Pure."""

from typing import Final

from datavolume_controller.attempt import FAILED
from datavolume_controller.claim import Refusal, unknown_class
from datavolume_controller.world import World
from diskyard.api import meta
from diskyard.api.datavolume import Phase
from diskyard.api.meta import Condition
from diskyard.api.names import cdi, kubernetes
from diskyard.api.storage import Claim, choices, default_class
from diskyard.kube.refusal import QUOTA

NOT_SERVED: Final = "SourceNotServed"
NO_CLASS: Final = "StorageClassNotFound"
IN_THE_WAY: Final = "ErrResourceExists"
LEAVING: Final = "ErrResourceMarkedForDeletion"
NO_SOURCE: Final = "DataSourceNotReady"
CLONED: Final = Condition("Running", "False", "Completed", "Clone Complete")


def conditions(world: World, phase: str, refusal: Refusal | None = None) -> tuple[Condition, ...]:
    """Bound, Ready and Running."""
    cloned = world.dv.clones and phase == Phase.SUCCEEDED
    running = CLONED if cloned and not world.filled_before else _running(world)
    return (_bound(world, refusal), _ready(phase, running), running)


def _bound(world: World, refusal: Refusal | None) -> Condition:
    claim, held = world.claim, world.dv.conditions.get("Bound")
    if claim is None:
        if refusal:
            return _not_bound(refusal.reason, refusal.message)
        if held and held.reason == QUOTA:
            return held
        return _not_bound("NotFound", "No PVC found")
    name, said = claim.key.name, claim.annotations
    reason, message = said.get(cdi.BOUND_REASON, ""), said.get(cdi.BOUND_MESSAGE, "")
    denied = said.get(cdi.BOUND_CONDITION) == "false"
    if claim.deleting:
        return _not_bound(LEAVING, f'Resource "{name}" marked for deletion')
    if world.foreign:
        return _not_bound(IN_THE_WAY, in_the_way(name))
    if claim.phase == "Lost":
        return _not_bound("ClaimLost", "Claim Lost")
    if claim.bound:
        bound = Condition("Bound", "True", "Bound", f"PVC {name} Bound")
        return _not_bound(reason, message) if denied else bound
    if denied:
        prime = f"[{said[cdi.PRIME]}] : " if cdi.PRIME in said else ""
        return _not_bound(reason, f"target PVC {name} Pending and {prime}{message}")
    return _without_class(world, claim) or _not_bound("Pending", f"PVC {name} Pending")


def _without_class(world: World, claim: Claim) -> Condition | None:
    """A claim that waits for a class: for the one that it names, or for any."""
    field = f"spec.{'pvc' if world.dv.pvc is not None else 'storage'}.storageClassName"
    if claim.storage_class:
        if world.storage.knows(claim.storage_class):
            return None
        return _not_bound(NO_CLASS, unknown_class(claim.storage_class, field, world.storage))
    named = "storageClassName" in meta.spec(world.claim_obj or {})
    if named or default_class(world.storage.classes, virt=False):
        return None
    message = (
        "no persistent volumes available for this claim and no storage class is set: no StorageClass is the default; "
        f"name one in {field} of another DataVolume ({choices(world.storage.classes)}), or annotate one with "
        f"{cdi.DEFAULT_CLASS}=true"
    )
    return _not_bound("FailedBinding", message)


def _not_bound(reason: str, message: str) -> Condition:
    return Condition("Bound", "False", reason, message)


def _running(world: World) -> Condition:
    if not world.dv.served and not world.filled_before:
        return Condition("Running", "False", NOT_SERVED, world.dv.unserved)
    if world.claim is None:
        return _not_ready(world) or Condition("Running", "False")
    if world.foreign:
        return Condition("Running", "False")
    said = world.claim.annotations
    return Condition(
        type="Running",
        status="True" if said.get(cdi.RUNNING_CONDITION) == "true" else "False",
        reason=said.get(cdi.RUNNING_REASON, ""),
        message=said.get(cdi.RUNNING_MESSAGE, ""),
    )


def _not_ready(world: World) -> Condition | None:
    """A clone waits for its DataSource."""
    where = world.dv.refers
    if where is None:
        return None
    if world.data_source is None:
        return Condition("Running", "False", NO_SOURCE, f"spec.sourceRef: there is no DataSource {where}")
    ready = meta.condition(world.data_source, "Ready") or {}
    if ready.get("status") != "True":
        why = ready.get("message") or "it says nothing yet"
        return Condition("Running", "False", NO_SOURCE, f"DataSource {where} is not ready: {why}")
    return None


def _ready(phase: str, running: Condition) -> Condition:
    if phase == Phase.SUCCEEDED:
        return Condition("Ready", "True")
    if running.status == "True":
        return Condition("Ready", "False", "TransferRunning")
    return Condition("Ready", "False", FAILED if phase == Phase.FAILED else "")


def in_the_way(claim: str) -> str:
    """The message about a claim that is somebody else's."""
    return f'Resource "{claim}" already exists and is not managed by DataVolume'


def in_tree(provisioner: str) -> bool:
    """Whether Kubernetes itself has that provisioner: then no populator can fill its claims."""
    return provisioner.startswith(kubernetes.IN_TREE)
