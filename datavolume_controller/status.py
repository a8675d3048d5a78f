"""What a DataVolume's status says: rules of which the first that speaks gives the phase, then its conditions. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from datavolume_controller.attempt import FAILED
from datavolume_controller.claim import Refusal, Storage, unknown_class
from datavolume_controller.refusal import QUOTA
from diskyard.api.condition import timed
from diskyard.api.config import Config
from diskyard.api.datavolume import DataVolume, Phase
from diskyard.api.meta import Condition, Obj
from diskyard.api.names import cdi
from diskyard.api.progress import COMPLETE, Figures, percentage
from diskyard.api.storage import Claim

NOT_SERVED: Final = "SourceNotServed"
NO_CLASS: Final = "StorageClassNotFound"
IN_THE_WAY: Final = "ErrResourceExists"
_BEFORE_THE_CLAIM: Final = (Phase.UNSET, Phase.PENDING)


@dataclass(frozen=True)
class World:
    """One DataVolume and what surrounds it, as they stand."""

    obj: Obj
    dv: DataVolume
    claim_obj: Obj | None
    claim: Claim | None
    storage: Storage
    config: Config
    figures: Figures | None
    """How far its importer is; None: not running, or it has not said."""
    now: str

    @property
    def owns(self) -> bool:
        """Whether the claim is this DataVolume's."""
        return self.claim is not None and self.claim.controller_uid == self.dv.uid

    @property
    def filled_before(self) -> bool:
        """Whether the claim holds its contents without our work: restored from a backup, or adopted."""
        if self.claim is None:
            return False
        if self.claim.annotations.get(cdi.POPULATED_FOR) == self.dv.key.name:
            return True
        return self.claim.annotations.get(cdi.CREATED_FOR) != self.dv.uid and adopts(self.dv, self.config)

    @property
    def foreign(self) -> bool:
        """Whether the claim belongs to somebody else."""
        return self.claim is not None and not self.owns and not self.filled_before

    @property
    def waits(self) -> bool:
        """Whether the claim is bound only when a pod needs it, and we honour that."""
        if self.claim is None or self.claim.immediate or self.dv.immediate:
            return False
        storage_class = self.storage.named(self.claim.storage_class)
        return self.config.honours_waiting and storage_class is not None and storage_class.waits


@dataclass(frozen=True)
class Event:
    """What is told when the phase changes."""

    reason: str
    message: str
    warning: bool = False


@dataclass(frozen=True)
class Outcome:
    """A phase, and what is told when it is another one than before."""

    phase: str
    event: Event | None = None


Rule = Callable[[World], Outcome | None]


def adopts(dv: DataVolume, config: Config) -> bool:
    """Whether the DataVolume takes a claim of its name over: its own word, else the feature gate."""
    said = dv.annotations.get(cdi.ALLOW_ADOPTION)
    return config.adopts if said is None else said.lower() == "true"


def outcome(world: World) -> Outcome:
    """The phase."""
    return next(found for rule in RULES if (found := rule(world)) is not None)


def _unserved(world: World) -> Outcome | None:
    return None if world.dv.served or world.filled_before else Outcome(Phase.PENDING)


def _no_claim(world: World) -> Outcome | None:
    if world.claim is not None:
        return None
    return Outcome(world.dv.phase or Phase.PENDING)


def _foreign(world: World) -> Outcome | None:
    return Outcome(world.dv.phase or Phase.PENDING) if world.foreign else None


def _lost(world: World) -> Outcome | None:
    claim = _claim(world)
    if claim.phase != "Lost":
        return None
    return Outcome(Phase.FAILED, Event("ErrClaimLost", f"PVC {claim.key.name} lost", warning=True))


def _nothing_to_do(world: World) -> Outcome | None:
    return Outcome(Phase.SUCCEEDED) if world.filled_before else None


def _succeeded(world: World) -> Outcome | None:
    claim = _claim(world)
    if claim.pod_phase != "Succeeded":
        return None
    message = f"Successfully imported into PVC {claim.key.name}"
    return Outcome(Phase.SUCCEEDED, Event("ImportSucceeded", message))


def _failed(world: World) -> Outcome | None:
    claim = _claim(world)
    if claim.pod_phase != "Failed":
        return None
    phase = Phase.FAILED if claim.fatal else Phase.SCHEDULED
    return Outcome(phase, Event("ImportFailed", f"Failed to import into PVC {claim.key.name}", warning=True))


def _unbound(world: World) -> Outcome | None:
    if _claim(world).bound:
        return None
    if world.waits:
        message = f"PVC {_claim(world).key.name} Pending"
        return Outcome(Phase.WAITING, Event("WaitForFirstConsumer", message))
    return Outcome(Phase.PENDING)


def _not_begun(world: World) -> Outcome | None:
    if cdi.IMPORT_POD in _claim(world).annotations:
        return None
    return Outcome(world.dv.phase or Phase.PENDING)


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
    _unserved, _no_claim, _foreign, _lost, _nothing_to_do, _succeeded, _failed, _unbound, _not_begun, _running,
    _scheduled,
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


def conditions(world: World, phase: str, refusal: Refusal | None = None) -> tuple[Condition, ...]:
    """Bound, Ready and Running."""
    running = _running_condition(world)
    return (_bound_condition(world, refusal), _ready_condition(phase, running), running)


def _progress(world: World, phase: str) -> str:
    if phase == Phase.SUCCEEDED:
        return COMPLETE
    importing = phase in (Phase.SCHEDULED, Phase.IMPORTING)
    before = world.dv.progress if importing else ""
    return percentage(world.figures.percent if world.figures else None, before)


def _bound_condition(world: World, refusal: Refusal | None) -> Condition:
    claim, held = world.claim, world.dv.conditions.get("Bound")
    if claim is None:
        if refusal:
            return Condition("Bound", "False", refusal.reason, refusal.message)
        if held and held.reason == QUOTA:
            return held
        return Condition("Bound", "False", "NotFound", "No PVC found")
    name, said = claim.key.name, claim.annotations
    reason, message = said.get(cdi.BOUND_REASON, ""), said.get(cdi.BOUND_MESSAGE, "")
    denied = said.get(cdi.BOUND_CONDITION) == "false"
    if world.foreign:
        return Condition("Bound", "False", IN_THE_WAY, in_the_way(name))
    if claim.phase == "Lost":
        return Condition("Bound", "False", "ClaimLost", "Claim Lost")
    if claim.bound:
        bound = Condition("Bound", "True", "Bound", f"PVC {name} Bound")
        return Condition("Bound", "False", reason, message) if denied else bound
    if denied:
        return Condition("Bound", "False", reason, f"target PVC {name} Pending and {message}")
    if claim.storage_class and not world.storage.knows(claim.storage_class):
        field = f"spec.{'pvc' if world.dv.pvc is not None else 'storage'}.storageClassName"
        return Condition("Bound", "False", NO_CLASS, unknown_class(claim.storage_class, field, world.storage))
    return Condition("Bound", "False", "Pending", f"PVC {name} Pending")


def _running_condition(world: World) -> Condition:
    if not world.dv.served and not world.filled_before:
        return Condition("Running", "False", NOT_SERVED, world.dv.unserved)
    if world.claim is None or world.foreign:
        return Condition("Running", "False")
    said = world.claim.annotations
    return Condition(
        type="Running",
        status="True" if said.get(cdi.RUNNING_CONDITION) == "true" else "False",
        reason=said.get(cdi.RUNNING_REASON, ""),
        message=said.get(cdi.RUNNING_MESSAGE, ""),
    )


def _ready_condition(phase: str, running: Condition) -> Condition:
    if phase == Phase.SUCCEEDED:
        return Condition("Ready", "True")
    if running.status == "True":
        return Condition("Ready", "False", "TransferRunning")
    return Condition("Ready", "False", FAILED if phase == Phase.FAILED else "")


def in_the_way(claim: str) -> str:
    """The message about a claim that is somebody else's."""
    return f'Resource "{claim}" already exists and is not managed by DataVolume'


def _claim(world: World) -> Claim:
    """The claim, for rules behind the one that speaks when there is none."""
    if world.claim is None:
        raise AssertionError("the rule for no claim comes first")
    return world.claim
