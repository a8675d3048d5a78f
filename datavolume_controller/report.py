"""What is told about a DataVolume and written on it: events of what changed, annotations, the status. Pure."""

from dataclasses import replace
from typing import Final

from datavolume_controller import aspect, attempt, status
from datavolume_controller.claim import Refusal
from datavolume_controller.outcome import Outcome
from datavolume_controller.world import World
from diskyard.api import meta
from diskyard.api.datavolume import Phase
from diskyard.api.meta import CLAIM, DATA_VOLUME, Condition
from diskyard.api.names import cdi
from diskyard.kube.reconcile import Action, Merge, Tell

_OVER: Final = (Phase.SUCCEEDED, Phase.FAILED)


def reported(world: World, refusal: Refusal | None) -> tuple[Action, ...]:
    """Events of what changed, the annotations, then the status that makes them old."""
    found = status.outcome(world)
    said = status.status(world, found.phase, refusal)
    actions = [
        *_events(world, found, refusal),
        *_annotated(world, found.phase),
        *_handed_on(world, found.phase),
    ]
    if said != meta.status(world.obj):
        actions.append(Merge(DATA_VOLUME, world.dv.key, {"status": said}, "status"))
    return tuple(actions)


def _events(world: World, found: Outcome, refusal: Refusal | None) -> tuple[Tell, ...]:
    told: list[Tell] = []
    if found.event and found.phase != world.dv.phase:
        event = found.event
        told.append(Tell(DATA_VOLUME, world.obj, event.reason, event.message, event.warning))
    bound, ready, running = aspect.conditions(world, found.phase, refusal)
    if _changed(world, bound) and bound.reason != "NotFound":
        trouble = bound.reason not in ("Bound", "Pending")
        told.append(Tell(DATA_VOLUME, world.obj, bound.reason, bound.message, trouble))
    idle = ready.status == "False" and running.status == "False"
    if idle and running.reason and running.message and _changed(world, running):
        told.append(Tell(DATA_VOLUME, world.obj, running.reason, running.message, warning=True))
    return (*told, *_untold(world))


def _changed(world: World, condition: Condition) -> bool:
    held = world.dv.conditions.get(condition.type)
    return held is None or (held.status, held.reason, held.message) != (
        condition.status,
        condition.reason,
        condition.message,
    )


def _untold(world: World) -> tuple[Tell, ...]:
    """Tries that failed and are not on the DataVolume yet, in the importer's own words: numbers, and what to change."""
    known = {each.run for each in attempt.attempts(world.dv.annotations.get(cdi.ATTEMPTS, ""))}
    tries = attempt.attempts(world.claim.annotations.get(cdi.ATTEMPTS, "")) if world.claim else ()
    return tuple(
        Tell(DATA_VOLUME, world.obj, each.reason, each.told, warning=True)
        for each in tries
        if each.failed and each.run not in known
    )


def _annotated(world: World, phase: str) -> tuple[Action, ...]:
    """The history of tries and the running transfer's figures, where people look for them."""
    said: dict[str, str | None] = {}
    if world.claim is not None and world.owns:
        told = world.claim.annotations
        said |= {name: told[name] for name in (cdi.ATTEMPTS, cdi.VDDK_VERSION, cdi.VDDK_HOST) if name in told}
        said[cdi.USE_POPULATOR] = "true" if world.populated else "false"
    if world.filled_before and world.claim is not None and phase == Phase.SUCCEEDED:
        said[cdi.PRE_POPULATED] = world.claim.key.name
    if world.figures:
        said[cdi.IMPORT_PROGRESS] = replace(world.figures, journal="").to_text()
    elif phase in _OVER:
        said[cdi.IMPORT_PROGRESS] = None
    changed = {key: text for key, text in said.items() if world.dv.annotations.get(key) != text}
    labels = _inherited(world, phase)
    if not changed and not labels:
        return ()
    metadata = {"annotations": changed, "labels": labels}
    return (Merge(DATA_VOLUME, world.dv.key, {"metadata": {k: v for k, v in metadata.items() if v}}),)


def _inherited(world: World, phase: str) -> dict[str, str]:
    """What the image said of itself, by way of the claim, once; what the DataVolume has stays."""
    ends = phase == Phase.SUCCEEDED and world.dv.phase != phase
    if world.claim is None or not world.owns or not ends:
        return {}
    found = {key: text for key, text in world.claim.labels.items() if cdi.PASSED_LABEL.fullmatch(key)}
    return {key: text for key, text in found.items() if key not in world.dv.labels}


def _handed_on(world: World, phase: str) -> tuple[Action, ...]:
    """The one annotation that a claim gets only when it is filled: for whom it is."""
    wanted = world.dv.annotations.get(cdi.POPULATED_FOR)
    claim = world.claim
    if claim is None or not wanted or phase != Phase.SUCCEEDED or not world.owns:
        return ()
    if claim.annotations.get(cdi.POPULATED_FOR) == wanted:
        return ()
    return (Merge(CLAIM, claim.key, {"metadata": {"annotations": {cdi.POPULATED_FOR: wanted}}}),)
