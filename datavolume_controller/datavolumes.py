"""DataVolumes: each gets its claim, and says where the claim's filling stands."""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Final

from datavolume_controller import cloning, importer, population, status, uploader
from datavolume_controller.claim import Refusal, Storage
from datavolume_controller.datasources import SOURCES
from datavolume_controller.progress import FIRST, IDLE, PERIOD, Scraper, Target
from datavolume_controller.report import reported
from datavolume_controller.settings import settings
from datavolume_controller.world import World
from diskyard.api import meta
from diskyard.api import pod as pods
from diskyard.api.datavolume import DataVolume, Phase, datavolume
from diskyard.api.meta import (
    CDI_CONFIG,
    CLAIM,
    CLONE_SOURCE,
    CSI_DRIVER,
    DATA_SOURCE,
    DATA_VOLUME,
    IMPORT_SOURCE,
    POD,
    RESOURCE_QUOTA,
    SNAPSHOT,
    STORAGE_CLASS,
    STORAGE_PROFILE,
    UPLOAD_SOURCE,
    VOLUME,
    Key,
    Kind,
    Obj,
)
from diskyard.api.names import cdi
from diskyard.api.origin import Registry
from diskyard.api.progress import Figures
from diskyard.api.storage import Claim, StorageClass, claim, profile, storage_class, volume
from diskyard.kube.cache import found_by
from diskyard.kube.client import Client, Deletion
from diskyard.kube.interest import Interest
from diskyard.kube.memory import Index
from diskyard.kube.reconcile import (
    NOTHING,
    Action,
    Create,
    Delete,
    Merge,
    Plan,
    Tell,
    everything,
    find,
    nothing,
    owners,
    same_name,
    short,
)
from diskyard.kube.refusal import CreateOrExplain

LOOK_AGAIN: Final = 30.0
"""Seconds until a DataVolume is looked at again that waits for volumes made by hand: nothing else wakes it."""


class DataVolumes:
    """Gives each DataVolume its claim and its status."""

    kind: Kind = DATA_VOLUME

    def __init__(self, scraper: Scraper) -> None:
        self._scraper = scraper
        self._interest = Interest()
        self.wakes: Mapping[Kind, Callable[[Obj], Iterable[Key]]] = {
            CLAIM: lambda obj: (*same_name(obj), *self._interest.roots(CLAIM)(obj)),
            STORAGE_CLASS: everything,
            STORAGE_PROFILE: everything,
            CDI_CONFIG: everything,
            IMPORT_SOURCE: owners(DATA_VOLUME),
            UPLOAD_SOURCE: owners(DATA_VOLUME),
            CLONE_SOURCE: owners(DATA_VOLUME),
            SNAPSHOT: self._interest.roots(SNAPSHOT),
            DATA_SOURCE: self._interest.roots(DATA_SOURCE),
            RESOURCE_QUOTA: short,
            CSI_DRIVER: nothing,
            VOLUME: nothing,
            POD: nothing,
        }

    def gather(self, client: Client, key: Key) -> World | None:
        """The DataVolume and what surrounds it."""
        obj = find(client, DATA_VOLUME, key)
        dv = datavolume(obj or {})
        self._interest.note(key, ((DATA_SOURCE, dv.refers),) if dv.refers else ())
        if obj is None:
            return None
        source_obj = find(client, *population.source_key(dv))
        cloned = cloning.gathered(client, dv, obj, source_obj)
        leaf = cloned.leaf if cloned else None
        if leaf and dv.phase != Phase.SUCCEEDED:
            seen = (SOURCES[leaf.entry], leaf.key)
            self._interest.note(key, (seen, (DATA_SOURCE, dv.refers)) if dv.refers else (seen,))
        claim_obj = find(client, CLAIM, dv.claim)
        found = claim(claim_obj) if claim_obj else None
        return World(
            obj=obj,
            dv=dv,
            claim_obj=claim_obj,
            claim=found,
            storage=_storage(client, dv, found),
            config=settings(client),
            figures=self._figures(client, found) if found and found.pod_phase == "Running" else None,
            now=meta.timestamp(datetime.now(UTC)),
            source_obj=source_obj,
            cloning=cloned,
            data_source=find(client, DATA_SOURCE, dv.refers) if dv.refers else None,
        )

    def decide(self, world: World) -> Plan:
        """What to do next."""
        if world.dv.deleting:
            return NOTHING
        refusal: Refusal | None = None
        if world.claim is None and world.dv.served and not world.dv.populated_claim:
            made = population.claimed(world.obj, world.dv, world.storage, world.config, world.cloning)
            if not isinstance(made, Refusal):
                return Plan((*_source(world, made), _creation(world, made), *_noted(world)))
            refusal = made
        actions = (*_taken_over(world), *_corrected(world), *reported(world, refusal))
        if world.claim is not None and world.claim.pod_phase == "Running":
            return Plan(actions, PERIOD if world.figures else IDLE if world.dv.uploads else FIRST)
        return Plan(actions, LOOK_AGAIN if refusal else None)

    def _figures(self, client: Client, target: Claim) -> Figures | None:
        """What the pod says that fills the claim, or the one that is filled in its place."""
        key = population.transfer(target)
        prime = find(client, CLAIM, key) if key != target.key else None
        worked_on = claim(prime) if prime else target
        upload = cdi.UPLOAD_TARGET in worked_on.annotations
        name = uploader.name(worked_on) if upload else importer.pod_name(worked_on)
        pod = find(client, POD, Key(name, key.namespace))
        address = pods.facts(pod).ip if pod else ""
        if not pod or not address:
            return None
        found = self._scraper.figures(Target(address, importer.owner_uid(worked_on), meta.uid(pod)))
        return None if upload and found and found.percent is None else found


def _source(world: World, made: Obj) -> tuple[Action, ...]:
    """What the claim's populator is told, before the claim is there."""
    if world.source_obj is not None or made["metadata"]["annotations"][cdi.USE_POPULATOR] != "true":
        return ()
    leaf = world.cloning.leaf if world.cloning else None
    return (Create(*population.source(world.obj, world.dv, leaf)),)


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


def _taken_over(world: World) -> tuple[Action, ...]:
    """Take a claim over that is filled already and has no owner: one of the three actions that cross."""
    if world.claim_obj is None or not world.filled_before or world.owns:
        return ()
    if meta.controller_of(world.claim_obj) or meta.deleting(world.claim_obj):
        return ()
    metadata = meta.meta(world.claim_obj)
    references = [*(metadata.get("ownerReferences") or ()), meta.owner_reference(DATA_VOLUME, world.obj)]
    as_seen = {"resourceVersion": metadata.get("resourceVersion"), "ownerReferences": references}
    return (Merge(CLAIM, world.dv.claim, {"metadata": as_seen}),)


def _corrected(world: World) -> tuple[Action, ...]:
    """What the claim and its populator's source are to say by now."""
    claim = world.claim
    if claim is None or not world.owns or claim.deleting:
        return ()
    if world.by_hand:
        return _bound_by_hand(world, claim)
    if world.filled_before or claim.filled:
        return _source_removed(world) if claim.bound else ()
    said = population.repeated(world.dv, claim)
    told = (Merge(CLAIM, claim.key, {"metadata": {"annotations": said}}),) if said else ()
    return (*_source_kept(world), *told)


def _source_kept(world: World) -> tuple[Action, ...]:
    """The populator's source says what the DataVolume says: it gets more stages, else is made again."""
    if not world.populated or not world.dv.origin:
        return _clone_kept(world)
    kind, wanted = population.source(world.obj, world.dv)
    if world.source_obj is None:
        return (Create(kind, wanted),)
    held = meta.spec(world.source_obj)
    if held == wanted["spec"] or meta.deleting(world.source_obj):
        return ()
    added = {key: wanted["spec"].get(key) for key in population.STAGED}
    if {**held, **added} == {**wanted["spec"], **added}:
        return (Merge(kind, meta.key(wanted), {"spec": added}),)
    return (_removal(kind, world.source_obj), Create(kind, wanted))


def _clone_kept(world: World) -> tuple[Action, ...]:
    """What is cloned is settled once; only what was taken away is said again."""
    leaf = world.cloning.leaf if world.cloning else None
    if not world.populated or leaf is None or world.source_obj is not None:
        return ()
    return (Create(*population.source(world.obj, world.dv, leaf)),)


def _source_removed(world: World) -> tuple[Action, ...]:
    """Nobody needs it any more."""
    found = world.source_obj
    if found is None or meta.deleting(found):
        return ()
    return (_removal(population.source_key(world.dv)[0], found),)


def _removal(kind: Kind, obj: Obj) -> Delete:
    return Delete(kind, meta.key(obj), Deletion(uid=meta.uid(obj)))


def _bound_by_hand(world: World, claim: Claim) -> tuple[Action, ...]:
    """A claim for volumes made by hand: bound to one of them it is filled; bound to another it has to go."""
    if not claim.bound:
        return ()
    if f'"{claim.volume}"' in claim.annotations[cdi.VOLUME_LIST]:
        said = {cdi.POPULATED_FOR: world.dv.key.name, cdi.VOLUME_LIST: None}
        return (Merge(CLAIM, claim.key, {"metadata": {"annotations": said}}),)
    message = f"DataVolume bound to unexpected PV {claim.volume}"
    return (
        Tell(DATA_VOLUME, world.obj, "ErrUnexpectedVolume", message, warning=True),
        Delete(CLAIM, claim.key, Deletion(uid=claim.uid)),
    )


def _storage(client: Client, dv: DataVolume, found: Claim | None) -> Storage:
    """For a DataVolume without a claim; for one that has its claim, what the claim may still wait for."""
    by_hand = cdi.CHECK_STATIC in dv.annotations and found is None
    asked = found.storage_class if found else dv.storage_class
    return storage(client, asked, dv.claim if by_hand else None)


def storage(client: Client, asked: str, kept_for: Key | None = None) -> Storage:
    """What there is to make a claim of the class `asked` of, for `gather` and for admission.

    Of the volumes only those that somebody made by hand may matter: where the class alone is not enough, those of that
    name, and those that are kept for a claim.
    """
    classes = tuple(storage_class(each) for each in client.list(STORAGE_CLASS).items)
    known = asked in {each.name for each in classes} if asked else any(_is_default(each) for each in classes)
    found = () if known else found_by(client, OF_CLASS, Key(asked))
    kept = found_by(client, KEPT_FOR, kept_for) if kept_for else ()
    return Storage(
        classes=classes,
        volumes=tuple({meta.name(each): volume(each) for each in (*found, *kept)}.values()),
        profiles={meta.name(each): profile(each) for each in client.list(STORAGE_PROFILE).items},
        drivers=frozenset(meta.name(each) for each in client.list(CSI_DRIVER).items),
    )


def _is_default(one: StorageClass) -> bool:
    return one.default or one.virt_default


def _class_of(obj: Obj) -> Iterable[Key]:
    yield Key(str(meta.spec(obj).get("storageClassName") or ""))


def _claim_of(obj: Obj) -> Iterable[Key]:
    held = volume(obj).claim
    return () if held is None else (held,)


OF_CLASS: Final = Index(VOLUME, _class_of)
KEPT_FOR: Final = Index(VOLUME, _claim_of)
