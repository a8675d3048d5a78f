"""What a DataVolume's status says: rules of which the first that speaks gives the phase, then its conditions. Pure."""

from collections.abc import Callable
from typing import Final

from datavolume_controller import clonestatus
from datavolume_controller.aspect import conditions, in_tree
from datavolume_controller.claim import Refusal
from datavolume_controller.outcome import Event, Outcome, held_back
from datavolume_controller.stages import advanced
from datavolume_controller.world import World
from diskyard.api.condition import timed
from diskyard.api.datavolume import Phase
from diskyard.api.meta import Obj
from diskyard.api.names import cdi
from diskyard.api.progress import COMPLETE, percentage
from diskyard.api.storage import Claim

Rule = Callable[[World], Outcome | None]


def outcome(world: World) -> Outcome:
    """The phase."""
    return next(found for rule in RULES if (found := rule(world)) is not None)


def _unserved(world: World) -> Outcome | None:
    return None if world.dv.served or world.filled_before else Outcome(Phase.PENDING)


def _no_claim(world: World) -> Outcome | None:
    return _as_before(world) if world.claim is None else None


def _foreign(world: World) -> Outcome | None:
    return _as_before(world) if world.foreign else None


def _lost(world: World) -> Outcome | None:
    claim = _claim(world)
    if claim.phase != "Lost":
        return None
    return Outcome(Phase.FAILED, Event("ErrClaimLost", f"PVC {claim.key.name} lost", warning=True))


def _nothing_to_do(world: World) -> Outcome | None:
    return Outcome(Phase.SUCCEEDED) if world.filled_before else None


def _by_hand(world: World) -> Outcome | None:
    return Outcome(Phase.PENDING) if world.by_hand else None


def _external(world: World) -> Outcome | None:
    """Somebody else's populator: a claim that is bound is filled."""
    populator, claim = world.dv.external, _claim(world)
    if populator is None:
        return None
    if claim.bound:
        message = f"PVC {claim.key.name} successfully populated by {populator.kind}"
        return Outcome(Phase.SUCCEEDED, Event("ExternalPopulationSucceeded", message))
    if world.waits:
        return held_back(claim, populated=True)
    chosen = world.storage.named(claim.storage_class)
    if chosen is not None and in_tree(chosen.provisioner):
        message = (
            f"No CSI driver makes the volumes of StorageClass {chosen.name} ({chosen.provisioner}), so "
            f"{populator.kind} {populator.name} cannot fill PVC {claim.key.name}: name a class of a CSI driver"
        )
        return Outcome(Phase.PENDING, Event("NoCSIDriverForExternalPopulation", message, warning=True))
    return Outcome(Phase.PENDING)


def _cloning(world: World) -> Outcome | None:
    """Cloned: where the clone stands, and nothing else."""
    if not world.dv.clones:
        return None
    return clonestatus.outcome(world, _claim(world)) or _as_before(world)


def _succeeded(world: World) -> Outcome | None:
    """Filled; a populator's claim is done only when it has the volume, too."""
    claim, dv = _claim(world), world.dv
    if claim.pod_phase != "Succeeded":
        return None
    name = claim.key.name
    if claim.staged:
        return _paused(world, name)
    if world.populated and not claim.bound:
        return _as_before(world)
    if dv.uploads:
        return Outcome(Phase.SUCCEEDED, Event("UploadSucceeded", f"Successfully uploaded into {name}"))
    return Outcome(Phase.SUCCEEDED, Event("ImportSucceeded", f"Successfully imported into PVC {name}"))


def _paused(world: World, name: str) -> Outcome | None:
    """A stage is on the disk; it waits for the next one to be asked for, or begins it."""
    said = world.claim.annotations if world.claim else {}
    if not world.populated and advanced(world.dv.stages, said):
        return _as_before(world)
    return Outcome(Phase.PAUSED, Event("ImportPaused", f"Multistage import into PVC {name} is paused"))


def _failed(world: World) -> Outcome | None:
    claim = _claim(world)
    if claim.pod_phase != "Failed":
        return None
    if world.dv.uploads:
        phase = Phase.FAILED if claim.fatal else Phase.UPLOAD_SCHEDULED
        return Outcome(phase, Event("UploadFailed", f"Upload into {claim.key.name} failed", warning=True))
    phase = Phase.FAILED if claim.fatal else Phase.SCHEDULED
    return Outcome(phase, Event("ImportFailed", f"Failed to import into PVC {claim.key.name}", warning=True))


def _unbound(world: World) -> Outcome | None:
    """Without a volume; a populator's claim is worked on all the same, once it may be."""
    claim = _claim(world)
    if claim.bound:
        return None
    if world.populated:
        if world.waits:
            return held_back(claim, populated=True)
        return None if claim.pod_phase else _as_before(world)
    return held_back(claim, populated=False) if world.waits else Outcome(Phase.PENDING)


def _not_begun(world: World) -> Outcome | None:
    said = _claim(world).annotations
    begun = cdi.POD_PHASE in said or (cdi.IMPORT_POD in said and not world.dv.uploads)
    return None if begun else _as_before(world)


def _uploading(world: World) -> Outcome | None:
    claim = _claim(world)
    if not world.dv.uploads:
        return None
    name = claim.key.name
    if claim.pod_phase == "Running" and claim.annotations.get(cdi.POD_READY) == "true":
        return Outcome(Phase.UPLOAD_READY, Event("UploadReady", f"Upload into {name} ready"))
    return Outcome(Phase.UPLOAD_SCHEDULED, Event("UploadScheduled", f"Upload into {name} scheduled"))


def _running(world: World) -> Outcome | None:
    claim = _claim(world)
    if claim.pod_phase != "Running":
        return None
    message = f"Import into {claim.key.name} in progress"
    return Outcome(Phase.IMPORTING, Event("ImportInProgress", message))


def _scheduled(world: World) -> Outcome | None:
    message = f"Import into {_claim(world).key.name} scheduled"
    return Outcome(Phase.SCHEDULED, Event("ImportScheduled", message))


RULES: Final[tuple[Rule, ...]] = (
    _unserved, _no_claim, _foreign, _lost, _nothing_to_do, _by_hand, _external, _cloning, _succeeded, _failed, _unbound,
    _not_begun, _uploading, _running, _scheduled,
)  # fmt: skip


def status(world: World, phase: str, refusal: Refusal | None = None) -> Obj:
    """The whole status; times move only where something changed."""
    claim = world.claim
    restarts = claim.annotations.get(cdi.POD_RESTARTS, "0") if claim else "0"
    return {
        **({"claimName": claim.key.name} if claim else {}),
        "phase": phase,
        "progress": _progress(world, phase),
        "restartCount": int(restarts) if restarts.isdecimal() else 0,
        "conditions": timed(world.obj, conditions(world, phase, refusal), world.now, heartbeats=True),
    }


def _progress(world: World, phase: str) -> str:
    if phase == Phase.SUCCEEDED:
        return COMPLETE
    importing = phase in (Phase.SCHEDULED, Phase.IMPORTING, Phase.PAUSED, Phase.CLONING)
    before = world.dv.progress if importing else ""
    return percentage(world.figures.percent if world.figures else None, before)


def _as_before(world: World) -> Outcome:
    """Nothing has happened to the phase; what was over once begins again."""
    over = world.dv.phase in (Phase.UNSET, Phase.SUCCEEDED, Phase.FAILED)
    return Outcome(Phase.PENDING if over else world.dv.phase)


def _claim(world: World) -> Claim:
    """The claim, for rules behind the one that speaks when there is none."""
    if world.claim is None:
        raise AssertionError("the rule for no claim comes first")
    return world.claim
