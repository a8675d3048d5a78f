"""What speaks against a clone, or has it wait: rules of which the first that speaks is heard. Pure."""

from collections.abc import Callable
from typing import Final

from datavolume_controller import clonephases
from datavolume_controller.cloneright import CANNOT
from datavolume_controller.cloneworld import World, asked_size
from datavolume_controller.cloning import NO_SOURCE
from datavolume_controller.worded import annotated, running
from diskyard.api import quantity
from diskyard.api.config import Config
from diskyard.api.meta import CLAIM, CLONE_SOURCE, Key
from diskyard.api.names import cdi, clone, kubernetes
from diskyard.api.snapshot import ready
from diskyard.api.storage import Claim
from diskyard.kube.reconcile import NOTHING, Action, Plan, Tell

LOOK_AGAIN: Final = 30.0
"""Seconds until it is asked again whether a clone is permitted: nothing tells that a right was given."""


def _unclonable(world: World) -> Plan | None:
    """Clones are made only where a driver makes the volumes of a class that is named."""
    name = world.claim.storage_class
    if not name:
        return _refused(
            world, "ErrClaimNotValid", "spec.storageClassName is empty: a clone has to name its class"
        )
    if world.storage_class is None:
        return _refused(world, "ErrClaimNotValid", f'storageclass.storage.k8s.io "{name}" not found')
    if world.storage_class.provisioner.startswith(kubernetes.IN_TREE):
        message = f"In tree storage class does not support snapshot/clone: name another class than {name}"
        return _refused(world, "NoPopulator", message)
    return None


def _nameless(world: World) -> Plan | None:
    """Nothing says what is cloned."""
    wanted = world.claim.populator
    if world.wanted is not None or world.stand_in is not None or wanted is None:
        return None
    message = f"{CLONE_SOURCE.kind} {Key(wanted.name, world.where)} doesn't exist; waits for it"
    return _refused(world, "ErrResourceDoesntExist", message)


def _forbidden(world: World) -> Plan | None:
    """Not without the leave of those whose source it is."""
    if not world.verdict.refusal:
        return None
    plan = _failed(world, CANNOT, world.verdict.refusal)
    return Plan(plan.actions, LOOK_AGAIN)


def _absent(world: World) -> Plan | None:
    """The source may come later."""
    if world.stand_in is not None or world.source_obj is not None or world.wanted is None:
        return None
    word = "pvc" if world.wanted.entry == "pvc" else "snapshot"
    waits = _refused(world, NO_SOURCE, f"The source {word} {world.wanted.key.name} doesn't exist")
    return Plan((*waits.actions, *_exchanged(world)))


def _unfilled(world: World) -> Plan | None:
    """The source is not complete itself."""
    if world.stand_in is not None or world.wanted is None:
        return None
    source, name = world.source, world.wanted.key.name
    if source is None:
        usable = ready(world.source_obj)
        if usable and world.source_size:
            return None
        what = "has no RestoreSize" if usable else "is not ready to use"
        waits = _refused(world, "SnapshotNotReady", f"The source snapshot {name} {what}; waits for it")
        return Plan((*waits.actions, *_exchanged(world)), clonephases.PAUSE)
    if source.bound and not source.unfilled and not source.deleting:
        return None
    unfilled = "is not fully imported" if source.unfilled else "is not bound"
    what = "is being deleted" if source.deleting else unfilled
    waits = _refused(world, "CloneSourceNotReady", f"The source PVC {name} {what}; waits for it")
    return Plan((*waits.actions, *_exchanged(world)))


def _waits(world: World) -> Plan | None:
    """The class waits for the first consumer, and the scheduler has not chosen its node."""
    waits = world.storage_class is not None and world.storage_class.waits
    held_back = waits and not world.claim.node and not world.claim.immediate
    return Plan(_exchanged(world)) if world.stand_in is None and held_back else None


def _incompatible(world: World) -> Plan | None:
    """What can never be a clone of that."""
    source, target = world.source, world.claim
    if world.stand_in is not None:
        return None
    if source is None:
        size, block = world.source_size, world.source_block
        return _too_small(world, size, _fitting(world.config, target.storage_class, size, block))
    of = source.annotations.get(cdi.CONTENT_TYPE) or "kubevirt"
    wanted = target.annotations.get(cdi.CONTENT_TYPE) or "kubevirt"
    if cdi.CONTENT_TYPE in source.annotations and of != wanted:
        message = f"source contentType ({of}) and target contentType ({wanted}) do not match"
    elif wanted != "kubevirt" and source.block != target.block:
        modes = [("Block" if each.block else "Filesystem") for each in (source, target)]
        message = (
            f"source volumeMode ({modes[0]}) and target volumeMode ({modes[1]}) do not match, "
            f"contentType ({wanted})"
        )
    else:
        return _too_small(world, _size(source), _usable(world.config, source))
    return _never(world, message)


def _too_small(world: World, size: int, usable: int) -> Plan | None:
    """`size`: of the source's volume; `usable`: of the disk that it can hold."""
    target = world.claim
    if clone.PERMISSIVE in target.annotations or _usable(world.config, target) >= usable:
        return None
    has, asks = (quantity.canonical(each) for each in (size, asked_size(target)))
    message = (
        f"target resources requests storage size is smaller than the source: {asks} is asked for, the source has "
        f"{has}; ask for as much, or for no size at all"
    )
    return _never(world, message)


def _never(world: World, message: str) -> Plan:
    plan = _refused(
        world, "ErrIncompatiblePVC", f"The clone doesn't meet the validation requirements: {message}"
    )
    known = world.claim.annotations.get(cdi.BOUND_REASON) == "ErrIncompatiblePVC"
    told = Tell(CLAIM, world.obj, "CloneValidationFailed", message, warning=True)
    return plan if known else Plan((told, *plan.actions))


CHECKS: Final[tuple[Callable[[World], Plan | None], ...]] = (
    _unclonable, _nameless, _forbidden, _absent, _unfilled, _waits, _incompatible,
)  # fmt: skip


def _exchanged(world: World) -> tuple[Action, ...]:
    """A token that ends soon, for one that lasts until the source is there."""
    lasting = world.verdict.lasting
    return annotated(world.claim, {clone.LASTING_TOKEN: lasting}) if lasting else ()


def _refused(world: World, reason: str, message: str) -> Plan:
    """Why nothing happens yet: an event, once, and on the claim where its DataVolume looks."""
    why = {cdi.BOUND_CONDITION: "false", cdi.BOUND_REASON: reason, cdi.BOUND_MESSAGE: message}
    changed = annotated(world.claim, why)
    return Plan((Tell(CLAIM, world.obj, reason, message, warning=True), *changed)) if changed else NOTHING


def _failed(world: World, reason: str, message: str) -> Plan:
    """The clone itself cannot go on."""
    why = {clone.PHASE: "Error", clone.ERROR: message, **running("false", "Error", message)}
    changed = annotated(world.claim, why)
    return Plan((Tell(CLAIM, world.obj, reason, message, warning=True), *changed)) if changed else NOTHING


def _size(held: Claim) -> int:
    return held.capacity or asked_size(held)


def _usable(config: Config, held: Claim) -> int:
    """Bytes of a disk that a claim has room for."""
    return _fitting(config, held.storage_class, _size(held), held.block)


def _fitting(config: Config, storage_class: str, size: int, block: bool) -> int:
    return size if block else quantity.usable(size, float(config.overhead_of(storage_class, block)))
