"""What must hold before an instance gets its pod: a chain of pure rules, the first that is closed speaks."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from diskyard.api import meta
from diskyard.api.config import Config
from diskyard.api.instance import Instance
from diskyard.api.meta import Condition, Obj
from diskyard.api.settings import UNSET, Settings
from vm_runtime.controller import supply
from vm_runtime.controller.configuration import NOT_SAID, Acceleration, Networking
from vm_runtime.controller.phases import Stage
from vm_runtime.controller.supply import Supply

NO_KVM: Final = (
    "no node offers hardware virtualization that works ({reason}). Set spec.configuration."
    "developerConfiguration.useEmulation to true on KubeVirt kubevirt/kubevirt to run guests under software "
    "emulation, or make KVM work"
)


@dataclass(frozen=True)
class World:
    """An instance and everything that it stands on."""

    obj: Obj
    instance: Instance | None
    """None: its spec cannot be read; `problem` says why."""
    problem: str
    supplies: tuple[Supply, ...]
    pod: Obj | None
    consumer: Obj | None
    acceleration: Acceleration
    config: Config
    """How importers reach what they fetch."""
    now: datetime
    state: Obj | None = None
    """The claim of what its firmware and TPM remember."""
    settings: Settings = UNSET
    networking: Networking = NOT_SAID
    hot: tuple[Supply, ...] = ()
    """Of volumes that come while the guest runs."""
    lending: tuple[Obj, ...] = ()
    """The pods that hold their claims."""


@dataclass(frozen=True)
class Closed:
    """Why there is no pod yet."""

    message: str
    conditions: tuple[Condition, ...] = ()
    consumer: bool = False
    """A pod that only uses the claims would help."""
    event: str = ""

    @property
    def stage(self) -> Stage:
        """Pending, with the conditions that say why."""
        return Stage("Pending", self.conditions)


def closed(world: World) -> Closed | None:
    """The first gate that is closed; None: the guest can have its pod."""
    return next((verdict for rule in RULES if (verdict := rule(world))), None)


def _unreadable(world: World) -> Closed | None:
    return _unsynchronized("InvalidSpec", world.problem) if world.problem else None


def _claim_missing(world: World) -> Closed | None:
    gone = next((each for each in world.supplies if each.missing), None)
    if gone is None:
        return None
    name = f"{(world.instance.namespace if world.instance else '')}/{gone.volume.claim}"
    return _unsynchronized("FailedPvcNotFound", f"PVC {name} does not exist, waiting for it to appear")


def _claim_leaving(world: World) -> Closed | None:
    leaving = next((each for each in world.supplies if each.claim and meta.deleting(each.claim)), None)
    if leaving is None:
        return None
    name = leaving.volume.claim
    return _unsynchronized(
        "ClaimBeingDeleted", f"claim {name} is being deleted: make it anew, or use another"
    )


def _first_consumer(world: World) -> Closed | None:
    waiting = [each for each in world.supplies if each.waits_for_consumer]
    if not waiting or any(each.claim is None for each in world.supplies):
        return None
    text = f"{supply.progress(waiting[0])}: a pod that uses its claim makes it bind"
    unbound = any(not each.bound for each in world.supplies)
    return Closed(
        text, (Condition("Provisioning", "True", "WaitingForFirstConsumer", text),), consumer=unbound
    )


def _being_filled(world: World) -> Closed | None:
    unready = [each for each in world.supplies if not each.ready]
    if not unready:
        return None
    text = ", ".join(supply.progress(each) for each in unready)
    return Closed(text, (Condition("Provisioning", "True", "WaitingForDataVolumes", text),))


def _held(world: World) -> Closed | None:
    held = next((each for each in world.supplies if each.holder), None)
    if held is None:
        return None
    return _unsynchronized(
        "ClaimInUse",
        f"claim {held.volume.claim} is in use by guest {held.holder}: stop that guest, or mark the disk of both as "
        "shareable; where both only read it (a disc), say `readOnly: true` of the volume of both",
    )


def _unprobed(world: World) -> Closed | None:
    if world.acceleration.reason:
        return None
    text = "no node's agent has said yet how guests can run there"
    return Closed(text, (Condition("Synchronized", "False", "NodesNotProbed", text),))


def _no_acceleration(world: World) -> Closed | None:
    if world.acceleration.possible:
        return None
    text = NO_KVM.format(reason=world.acceleration.reason)
    return Closed(text, (Condition("PodScheduled", "False", "Unschedulable", text),), event="Unschedulable")


def _unsynchronized(reason: str, message: str) -> Closed:
    return Closed(message, (Condition("Synchronized", "False", reason, message),), event=reason)


RULES: Final[tuple[Callable[[World], Closed | None], ...]] = (
    _unreadable, _claim_missing, _claim_leaving, _first_consumer, _being_filled, _held, _unprobed, _no_acceleration,
)  # fmt: skip
