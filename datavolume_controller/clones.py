"""Claims that name a VolumeCloneSource: another claim is filled beside the source, and gives them its volume.

Whatever is made for a while carries the claim's uid, and its name is derived from it: a crash anywhere is made good by
looking again, and the claim has a finalizer until nothing of that is left.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from datavolume_controller import clonephases, cloner, prime
from datavolume_controller.clonechecks import CHECKS
from datavolume_controller.cloneright import ALLOWED, MayOf, Wish, verdict
from datavolume_controller.cloneworld import World
from datavolume_controller.cloning import settled
from datavolume_controller.datasources import SOURCES, Named
from datavolume_controller.rebind import rebound
from datavolume_controller.settings import settings
from datavolume_controller.strategy import COPY
from datavolume_controller.usage import USERS
from datavolume_controller.worded import annotated, running
from diskyard.api import meta
from diskyard.api.meta import (
    CLAIM,
    CLONE_SOURCE,
    POD,
    RESOURCE_QUOTA,
    SNAPSHOT,
    SNAPSHOT_CLASS,
    SNAPSHOT_CONTENT,
    STORAGE_CLASS,
    STORAGE_PROFILE,
    VOLUME,
    Key,
    Kind,
    Obj,
)
from diskyard.api.names import cdi, clone, derived
from diskyard.api.progress import COMPLETE
from diskyard.api.snapshot import content_name
from diskyard.api.storage import Claim, Profile, claim, profile, storage_class
from diskyard.errors import NotFound
from diskyard.kube.access import asked_of
from diskyard.kube.cache import found_by
from diskyard.kube.client import Client, Deletion
from diskyard.kube.interest import Interest
from diskyard.kube.reconcile import NOTHING, Action, Delete, Merge, Plan, Tell, find, nothing, short


class Clones:
    """Fills each claim that names a VolumeCloneSource."""

    kind: Kind = CLAIM

    def __init__(self, may_of: MayOf = asked_of) -> None:
        """`may_of`: who says what somebody may."""
        self._may_of = may_of
        self._interest = Interest()
        self.wakes: Mapping[Kind, Callable[[Obj], Iterable[Key]]] = {
            CLAIM: lambda obj: (*_owner(obj), *self._interest.roots(CLAIM)(obj)),
            POD: _owner,
            SNAPSHOT: lambda obj: (*_owner(obj), *self._interest.roots(SNAPSHOT)(obj)),
            **{kind: self._interest.roots(kind) for kind in (CLONE_SOURCE, STORAGE_CLASS)},
            RESOURCE_QUOTA: short,
            VOLUME: nothing,
        }

    def gather(self, client: Client, key: Key) -> World | None:
        """The claim, what it is cloned from, and all that was made for that."""
        obj = find(client, CLAIM, key)
        target = claim(obj) if obj else None
        reference = target.populator if target else None
        if obj is None or target is None or reference is None or not _ours(obj, target):
            self._interest.note(key, ())
            return None
        where = target.annotations.get(clone.NAMESPACE) or key.namespace
        here = find(client, CLONE_SOURCE, Key(reference.name, key.namespace))
        source_cr = here or find(client, CLONE_SOURCE, Key(reference.name, where))
        wanted = settled(source_cr) if source_cr else None
        wanted = Named(wanted.entry, Key(wanted.key.name, where)) if wanted else None
        looked_at = [(CLONE_SOURCE, Key(reference.name, each)) for each in {key.namespace, where}]
        looked_at += [(STORAGE_CLASS, Key(target.storage_class))]
        looked_at += [(SOURCES[wanted.entry], wanted.key)] if wanted else []
        self._interest.note(key, () if target.bound else looked_at)
        return self._world(client, (obj, target), wanted, meta.spec(source_cr or {}))

    def decide(self, world: World) -> Plan:
        """What to do next."""
        return next((plan for rule in RULES if (plan := rule(world)) is not None), NOTHING)

    def _world(self, client: Client, whose: tuple[Obj, Claim], wanted: Named | None, wishes: Obj) -> World:
        obj, target = whose
        where = target.annotations.get(clone.NAMESPACE) or target.key.namespace
        source_obj = find(client, SOURCES[wanted.entry], wanted.key) if wanted else None
        source = claim(source_obj) if source_obj and wanted and wanted.entry == "pvc" else None
        chosen = find(client, STORAGE_CLASS, Key(target.storage_class))
        found = find(client, STORAGE_PROFILE, Key(target.storage_class))
        stand_in_obj = find(client, CLAIM, Key(derived.clone_claim(target.uid), where))
        stand_in = claim(stand_in_obj) if stand_in_obj else None
        begun = stand_in is not None or target.pod_phase == "Succeeded"
        allowed = ALLOWED
        if wanted and not begun and not target.deleting:
            wish = Wish(wanted.entry, wanted.key, target.key, target.annotations, target.uid)
            allowed = verdict(client, self._may_of(client), wish)
        known = profile(found) if found else Profile()
        content = _content(client, source_obj) if source is None else None
        driver = _driver(client, content, source)
        snapshots, why = _snapshot_class(client, known, driver)
        restored_obj = find(client, CLAIM, Key(derived.clone_original(target.uid), where))
        return World(
            obj=obj,
            claim=target,
            wanted=wanted,
            wishes=wishes,
            source_obj=source_obj,
            source=source,
            source_driver=driver,
            verdict=allowed,
            users=_writers(client, wanted.key) if source and wanted else (),
            storage_class=storage_class(chosen) if chosen else None,
            profile=known,
            snapshot_class=snapshots,
            selected=why,
            config=settings(client),
            stand_in_obj=stand_in_obj,
            stand_in=stand_in,
            volume=find(client, VOLUME, Key(stand_in.volume)) if stand_in and stand_in.volume else None,
            snapshot=find(client, SNAPSHOT, Key(derived.clone_snapshot(target.uid), where)),
            pod=find(client, POD, Key(cloner.name(stand_in), where)) if stand_in else None,
            preparer=find(client, POD, Key(derived.preparer_pod(target.uid), where)),
            content=content,
            restored_obj=restored_obj,
            restored=claim(restored_obj) if restored_obj else None,
            restoring_class=_restoring_class(client, driver) if content else "",
        )


def _ours(obj: Obj, target: Claim) -> bool:
    """Whether a claim is to be a clone, or has been one and has something left to be taken away."""
    found = target.populator
    if found is None or found.group != CLONE_SOURCE.group or found.kind != CLONE_SOURCE.kind:
        return False
    return not target.bound or clone.FINALIZER in meta.finalizers(obj)


def _leaving(world: World) -> Plan | None:
    """The claim is to go: so is all that was made for it."""
    if not world.claim.deleting:
        return None
    if clone.FINALIZER not in meta.finalizers(world.obj):
        return NOTHING
    return Plan(_cleared(world))


def _bound(world: World) -> Plan | None:
    """It has its volume: what was made for a while is of no use any more."""
    if not world.claim.bound:
        return None
    if world.claim.retained and world.stand_in_obj is not None:
        message = "PVC Prime retained in Lost state for debugging purposes"
        return Plan((Tell(CLAIM, world.obj, "RetainedPVCPrime", message), _unfinalised(world)))
    return Plan(_cleared(world))


def _unready(world: World) -> Plan | None:
    """First what makes sure that nothing is left behind, and how it is cloned; then the first object."""
    chosen, held = world.strategy, world.claim.annotations
    type_ = {clone.TYPE: chosen.strategy, clone.FALLBACK: chosen.message or None, clone.PHASE: "Pending"}
    cleared = dict.fromkeys((cdi.BOUND_CONDITION, cdi.BOUND_REASON, cdi.BOUND_MESSAGE, clone.ERROR))
    kept = meta.finalizers(world.obj)
    if clone.FINALIZER in kept:
        return None
    change = {
        "resourceVersion": meta.meta(world.obj).get("resourceVersion"),
        "finalizers": [*kept, clone.FINALIZER],
        "annotations": {**type_, **cleared, cdi.PRIME: derived.clone_claim(world.claim.uid)},
    }
    told = Tell(CLAIM, world.obj, chosen.reason, chosen.message, warning=True)
    new = chosen.reason and held.get(clone.FALLBACK) != chosen.message
    return Plan((*((told,) if new else ()), Merge(CLAIM, world.claim.key, {"metadata": change})))


def _working(world: World) -> Plan | None:
    """The phases, in order; the first that is not over speaks."""
    found = ((phase, act(world)) for phase, act in clonephases.phases(world))
    plan = next((plan for _, plan in found if plan is not None), None)
    if plan is None:
        return None
    return Plan((*prime.troubles(world.as_populated()), *plan.actions), plan.requeue_after)


def _handed_over(world: World) -> Plan | None:
    """Everything is there: it is said first, then the volume changes hands."""
    if world.stand_in is None or not world.stand_in.volume:
        return None
    done = {
        **(prime.reflected(world.as_populated()) if world.strategy.strategy == COPY else {}),
        **running("true", clonephases.POPULATING, "Rebind"),
        cdi.POD_PHASE: "Succeeded",
        cdi.PROGRESS: COMPLETE,
        clone.PHASE: "Rebind",
        clone.CLONE_OF: "true",
    }
    labels = _labels(world)
    told: tuple[Action, ...] = ()
    if world.claim.pod_phase != "Succeeded":
        told = (Tell(CLAIM, world.obj, "CloneSucceeded", "Clone Complete"),)
    return Plan(
        (*labels, *told, *annotated(world.claim, done), *rebound(world.obj, world.stand_in, world.volume))
    )


RULES: Final[tuple[Callable[[World], Plan | None], ...]] = (
    _leaving, _bound, *CHECKS, _unready, _working, _handed_over,
)  # fmt: skip


def _cleared(world: World) -> tuple[Action, ...]:
    """Take away what was made for a while; the finalizer when nothing is left."""
    left = [(kind, obj) for kind, obj in _temporary(world) if obj is not None]
    if not left:
        return (_unfinalised(world),)
    return tuple(
        Delete(kind, meta.key(obj), Deletion(uid=meta.uid(obj)))
        for kind, obj in left
        if not meta.deleting(obj)
    )


def _temporary(world: World) -> tuple[tuple[Kind, Obj | None], ...]:
    """A clone's own objects; the reader and its keys go with the stand-in."""
    claims = tuple((CLAIM, each) for each in (world.stand_in_obj, world.restored_obj))
    return ((POD, world.preparer), *claims, (SNAPSHOT, world.snapshot))


def _unfinalised(world: World) -> Merge:
    kept = [name for name in meta.finalizers(world.obj) if name != clone.FINALIZER]
    change = {"resourceVersion": meta.meta(world.obj).get("resourceVersion"), "finalizers": kept}
    done = {clone.PHASE: "Succeeded", cdi.PRIME: None, **running("false", "Completed", "Clone Complete")}
    more = {} if world.claim.deleting else {"annotations": done}
    return Merge(CLAIM, world.claim.key, {"metadata": {**change, **more}})


def _labels(world: World) -> tuple[Action, ...]:
    """What the disk says of itself goes with it; labels that the claim has stay."""
    found = {
        key: text
        for key, text in meta.labels(world.source_obj or {}).items()
        if cdi.PASSED_LABEL.fullmatch(key) and key not in world.claim.labels
    }
    ours = {key: text for key, text in found.items() if not key.startswith(cdi.P)}
    return (Merge(CLAIM, world.claim.key, {"metadata": {"labels": ours}}),) if ours else ()


def _owner(obj: Obj) -> Iterable[Key]:
    """The claim that something was made for."""
    namespace, _, name = meta.annotations(obj).get(clone.EVENTS_SOURCE, "").partition("/")
    return (Key(name, namespace),) if name else ()


def _writers(client: Client, source: Key) -> tuple[Key, ...]:
    """Pods that have not ended and may write to a claim."""
    found = found_by(client, USERS, source)
    return tuple(meta.key(each) for each in found if _writes(each, source.name))


def _writes(obj: Obj, name: str) -> bool:
    if meta.phase(obj) in ("Succeeded", "Failed"):
        return False
    if meta.labels(obj).get(cdi.COMPONENT_LABEL) == clone.COMPONENT:
        return False
    return any(
        volume["persistentVolumeClaim"].get("readOnly") is not True
        for volume in meta.spec(obj).get("volumes") or ()
        if isinstance(volume.get("persistentVolumeClaim"), dict)
        and volume["persistentVolumeClaim"].get("claimName") == name
    )


def _content(client: Client, found: Obj | None) -> Obj | None:
    """What storage has of a snapshot."""
    name = content_name(found or {})
    return find(client, SNAPSHOT_CONTENT, Key(name)) if name else None


def _driver(client: Client, content: Obj | None, source: Claim | None) -> str:
    """What made the source's volume, or its snapshot's content."""
    if source is None:
        return str(meta.spec(content or {}).get("driver") or "")
    found = find(client, STORAGE_CLASS, Key(source.storage_class))
    return storage_class(found).provisioner if found else ""


def _restoring_class(client: Client, driver: str) -> str:
    """A storage class by which a snapshot of that driver is restored: one that binds at once before one that waits."""
    found = [storage_class(each) for each in client.list(STORAGE_CLASS).items]
    fits = [each for each in found if each.provisioner == driver]
    return min(((each.waits, each.name) for each in fits), default=(False, ""))[1]


def _snapshot_class(client: Client, known: Profile, driver: str) -> tuple[str, str]:
    """A class of snapshots of that driver, and why that one: the profile's own, the default, or the first by name."""
    try:
        classes = [each for each in client.list(SNAPSHOT_CLASS).items if each.get("driver") == driver]
    except NotFound:
        return "", ""
    names = sorted(meta.name(each) for each in classes)
    if known.snapshot_class in names:
        return known.snapshot_class, "VolumeSnapshotClass selected according to StorageProfile"
    default = [meta.name(e) for e in classes if meta.annotations(e).get(cdi.DEFAULT_SNAPSHOT_CLASS) == "true"]
    if default:
        return min(default), "Default VolumeSnapshotClass selected"
    return next(iter(names), ""), "First VolumeSnapshotClass selected"
