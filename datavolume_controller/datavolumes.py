"""DataVolumes: each gets its claim, and says where the claim's filling stands."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from datavolume_controller import attempt, importer, status
from datavolume_controller.claim import Refusal, Storage
from datavolume_controller.claim import claim as claim_for
from datavolume_controller.progress import FIRST, PERIOD, Scraper, Target
from datavolume_controller.refusal import CreateOrExplain
from datavolume_controller.status import World
from diskyard.api import meta
from diskyard.api import pod as pods
from diskyard.api.config import config
from diskyard.api.datavolume import Phase, datavolume
from diskyard.api.meta import (
    CDI_CONFIG,
    CLAIM,
    DATA_VOLUME,
    POD,
    STORAGE_CLASS,
    STORAGE_PROFILE,
    VOLUME,
    Condition,
    Key,
    Kind,
    Obj,
)
from diskyard.api.names import cdi
from diskyard.api.origin import Registry
from diskyard.api.progress import Figures
from diskyard.api.storage import Claim, claim, property_sets, storage_class
from diskyard.kube.cache import counts_by
from diskyard.kube.client import Client
from diskyard.kube.memory import Index
from diskyard.kube.reconcile import (
    NOTHING,
    Action,
    Create,
    Merge,
    Plan,
    Tell,
    everything,
    find,
    nothing,
    same_name,
)


def _class_of(volume: Obj) -> Iterable[Key]:
    yield Key(str(meta.spec(volume).get("storageClassName") or ""))


VOLUME_CLASSES: Final = Index(VOLUME, _class_of)
_OVER: Final = (Phase.SUCCEEDED, Phase.FAILED)


class DataVolumes:
    """Gives each DataVolume its claim and its status."""

    kind: Kind = DATA_VOLUME
    wakes: Mapping[Kind, Callable[[Obj], Iterable[Key]]] = {
        CLAIM: same_name,
        STORAGE_CLASS: everything,
        STORAGE_PROFILE: everything,
        CDI_CONFIG: everything,
        VOLUME: nothing,
        POD: nothing,
    }

    def __init__(self, scraper: Scraper) -> None:
        self._scraper = scraper

    def gather(self, client: Client, key: Key) -> World | None:
        """The DataVolume and what surrounds it."""
        obj = find(client, DATA_VOLUME, key)
        if obj is None:
            return None
        dv = datavolume(obj)
        claim_obj = find(client, CLAIM, dv.claim)
        found = claim(claim_obj) if claim_obj else None
        return World(
            obj=obj,
            dv=dv,
            claim_obj=claim_obj,
            claim=found,
            storage=storage(client),
            config=config(find(client, CDI_CONFIG, Key(cdi.CONFIG_NAME)) or {}),
            figures=self._figures(client, found) if found and found.pod_phase == "Running" else None,
            now=meta.timestamp(datetime.now(UTC)),
        )

    def decide(self, world: World) -> Plan:
        """What to do next."""
        if world.dv.deleting:
            return NOTHING
        refusal: Refusal | None = None
        if world.claim is None and world.dv.served and not world.dv.populated_claim:
            made = claim_for(world.obj, world.dv, world.storage, world.config)
            if not isinstance(made, Refusal):
                return Plan((_creation(world, made), *_noted(world)))
            refusal = made
        actions = (*_adoption(world), *_reported(world, refusal))
        running = world.claim is not None and world.claim.pod_phase == "Running"
        return Plan(actions, (PERIOD if world.figures else FIRST) if running else None)

    def _figures(self, client: Client, claim: Claim) -> Figures | None:
        pod = find(client, POD, Key(importer.pod_name(claim), claim.key.namespace))
        address = pods.facts(pod).ip if pod else ""
        if not pod or not address:
            return None
        return self._scraper.figures(Target(address, importer.owner_uid(claim), meta.uid(pod)))


def _creation(world: World, made: Obj) -> Action:
    """Make the claim; if that is refused, the DataVolume says why."""

    def patch(reason: str, message: str) -> Obj:
        return {"status": status.status(world, Phase.PENDING, Refusal(reason, message))}

    return CreateOrExplain(Create(CLAIM, made), DATA_VOLUME, world.obj, patch, "status")


def _noted(world: World) -> tuple[Tell, ...]:
    """What is done in another way than it was asked for."""
    asked = world.dv.origin
    if not isinstance(asked, Registry) or asked.method != "node":
        return ()
    message = (
        "spec.source.registry.pullMethod: the importer's pod pulls the image itself, also for node: the disk is the "
        "same; the node's own pull secrets and mirrors are not used"
    )
    return (Tell(DATA_VOLUME, world.obj, "PulledByPod", message),)


def _adoption(world: World) -> tuple[Action, ...]:
    """Take a claim over that is filled already and has no owner: one of the three actions that cross."""
    if world.claim_obj is None or not world.filled_before or world.owns:
        return ()
    if meta.controller_of(world.claim_obj):
        return ()
    metadata = meta.meta(world.claim_obj)
    owners = [
        *(metadata.get("ownerReferences") or ()),
        meta.owner_reference(DATA_VOLUME, world.obj),
    ]
    as_seen = {"resourceVersion": metadata.get("resourceVersion"), "ownerReferences": owners}
    return (Merge(CLAIM, world.dv.claim, {"metadata": as_seen}),)


def _reported(world: World, refusal: Refusal | None) -> tuple[Action, ...]:
    """Events of what changed, the annotations, then the status that makes them old."""
    found = status.outcome(world)
    said = status.status(world, found.phase, refusal)
    actions = [*_events(world, found, refusal), *_annotated(world, found.phase)]
    if said != meta.status(world.obj):
        actions.append(Merge(DATA_VOLUME, world.dv.key, {"status": said}, "status"))
    return tuple(actions)


def _events(world: World, found: status.Outcome, refusal: Refusal | None) -> tuple[Tell, ...]:
    told: list[Tell] = []
    if found.event and found.phase != world.dv.phase:
        event = found.event
        told.append(Tell(DATA_VOLUME, world.obj, event.reason, event.message, event.warning))
    bound, ready, running = status.conditions(world, found.phase, refusal)
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
    if world.dv.served:
        said[cdi.USE_POPULATOR] = "false"
    if world.claim and world.owns:
        told = world.claim.annotations
        said |= {name: told[name] for name in (cdi.ATTEMPTS, cdi.VDDK_VERSION, cdi.VDDK_HOST) if name in told}
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


def storage(client: Client) -> Storage:
    """What there is to make claims of, for `gather` and for admission."""
    return Storage(
        classes=tuple(storage_class(each) for each in client.list(STORAGE_CLASS).items),
        volume_classes=frozenset(key.name for key in counts_by(client, VOLUME_CLASSES)),
        profiles={meta.name(each): property_sets(each) for each in client.list(STORAGE_PROFILE).items},
    )
