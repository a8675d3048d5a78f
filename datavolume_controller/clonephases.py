"""The phases of a clone: each says what to do next, or nothing when it is over. Pure (cdi-wire: phase lists)."""

from collections.abc import Callable, Mapping
from typing import Final

from datavolume_controller import cloner, prime
from datavolume_controller.cloneworld import World, asked_size, original, stand_in
from datavolume_controller.strategy import COPY, CSI_CLONE, SNAPSHOT
from datavolume_controller.worded import annotated, refused, running
from diskyard.api import meta, quantity
from diskyard.api import pod as pods
from diskyard.api.meta import CLAIM, POD, SECRET, Key, Obj
from diskyard.api.meta import SNAPSHOT as VOLUME_SNAPSHOT
from diskyard.api.names import cdi, clone, derived
from diskyard.kube.client import Deletion
from diskyard.kube.reconcile import Action, Create, Delete, Merge, Plan, Tell
from diskyard.kube.refusal import CreateOrExplain

PAUSE: Final = 2.0
"""Seconds until storage, or a source that somebody uses, is looked at again."""
PREPARER: Final = "cdi-populator-prep"
POPULATING: Final = "Populator is running"

Phase = Callable[[World], Plan | None]


def phases(world: World) -> tuple[tuple[str, Phase], ...]:
    """Those of this clone, in order."""
    entry = world.wanted.entry if world.wanted else "pvc"
    return PHASES[(world.strategy.strategy, entry)]


def said(world: World, phase: str, text: Mapping[str, str | None] | None = None) -> tuple[Action, ...]:
    """The patch that makes the claim say where its clone stands; none where it does."""
    told = running("true", POPULATING, phase) if text is None else dict(text)
    return annotated(world.claim, {clone.PHASE: phase, clone.ERROR: None, **told})


def in_use(world: World) -> Plan | None:
    """Somebody writes to the source: nothing is read until that ends."""
    if not world.users or world.wanted is None:
        return None
    message = f"pod {world.users[0]} using PersistentVolumeClaim {world.wanted.key.name}"
    waits = said(world, "Pending", running("false", "CloneSourceInUse", message))
    return Plan((Tell(CLAIM, world.obj, "CloneSourceInUse", message, warning=True), *waits), PAUSE)


def _made(world: World, data_source: Obj | None = None) -> Action:
    """Make the stand-in; why it may not be made is said on the claim: a quota of the source's namespace, say."""

    return CreateOrExplain(Create(CLAIM, stand_in(world, data_source)), CLAIM, world.obj, _denied)


def _denied(reason: str, message: str) -> Obj:
    denied = {cdi.BOUND_CONDITION: "false", cdi.BOUND_REASON: reason, cdi.BOUND_MESSAGE: message}
    return {"metadata": {"annotations": denied}}


def _host_clone(world: World) -> Plan | None:
    """Copied by two pods: one reads the source, one fills the stand-in."""
    held, source = world.stand_in, world.read
    if source is None:
        return None
    if held is None or world.stand_in_obj is None:
        return in_use(world) or Plan((*said(world, "HostClone"), _made(world)))
    if held.pod_phase == "Succeeded":
        return Plan(_reader_gone(world)) if world.pod and not meta.deleting(world.pod) else None
    reflected = said(world, "HostClone", _reflected(world))
    if world.pod is None:
        name = cloner.name(held)
        keys = cloner.Keys(world.stand_in_obj, held)
        made = cloner.pod(world.stand_in_obj, held, source, world.config)
        reader = CreateOrExplain(Create(POD, made), CLAIM, world.obj, refused(name))
        return in_use(world) or Plan((*reflected, keys, reader), PAUSE)
    address = world.facts.ip
    if not address or not world.facts.running:
        return Plan(reflected)
    host = f"[{address}]" if ":" in address else address
    asked = {
        cdi.IMPORT_SOURCE: clone.SOURCE,
        cdi.IMPORT_ENDPOINT: f"{clone.SCHEME}://{host}:{clone.PORT}/{source.uid}",
        clone.KEYS: cloner.name(held),
    }
    return Plan((*reflected, *annotated(held, asked)))


def _reflected(world: World) -> dict[str, str | None]:
    """What happens to the stand-in; while nothing does, what holds its reader back."""
    found = prime.reflected(world.as_populated())
    if found.get(cdi.RUNNING_REASON) or world.pod is None:
        return found
    held_back = world.facts.unschedulable
    waiting = world.facts.waiting or (("Unschedulable", held_back) if held_back else None)
    return found | running("false", *waiting) if waiting else found


def _reader_gone(world: World) -> tuple[Action, ...]:
    """The source is let go as soon as it is copied."""
    found = world.pod or {}
    keys = Key(meta.name(found), meta.namespace(found))
    return (Delete(SECRET, keys), Delete(POD, meta.key(found), Deletion(uid=meta.uid(found))))


def _original(world: World) -> Plan | None:
    """A snapshot that its target's storage cannot use becomes a claim of its own storage first; that is copied."""
    held = world.restored
    if world.filled or (held is not None and (held.bound or world.pod is not None)):
        return None
    if held is None and not world.restoring_class:
        message = (
            f"no storage class of driver {world.source_driver or '(unknown)'}, by which the snapshot could be restored "
            "before it is copied: make one, or have the claim be of that storage"
        )
        return Plan(said(world, "Pending", running("false", "CloneNotSupported", message)), PAUSE)
    if held is None:
        made = CreateOrExplain(Create(CLAIM, original(world)), CLAIM, world.obj, _denied)
        return Plan((*said(world, "SnapshotClone"), made))
    return Plan(said(world, "SnapshotClone"), PAUSE)


def _snapshot(world: World) -> Plan | None:
    """The source as it is at this moment."""
    if world.wanted is None or world.stand_in is not None:
        return None
    if world.snapshot is None:
        obj = {
            "apiVersion": VOLUME_SNAPSHOT.api_version,
            "kind": VOLUME_SNAPSHOT.kind,
            "metadata": {
                "name": derived.clone_snapshot(world.claim.uid),
                "namespace": world.where,
                "labels": {cdi.APP_LABEL: cdi.APP, clone.OWNED_BY: world.claim.uid},
                "annotations": {clone.EVENTS_SOURCE: str(world.claim.key)},
            },
            "spec": {
                "volumeSnapshotClassName": world.snapshot_class,
                "source": {"persistentVolumeClaimName": world.wanted.key.name},
            },
        }
        told = Tell(CLAIM, world.obj, "VolumeSnapshotClassSelected", world.selected)
        return in_use(world) or Plan((told, *said(world, "Snapshot"), Create(VOLUME_SNAPSHOT, obj)), PAUSE)
    if meta.status(world.snapshot).get("readyToUse") is True:
        return None
    trouble = str((meta.status(world.snapshot).get("error") or {}).get("message") or "")
    held_back = running("false", "SnapshotFailed", trouble) if trouble else None
    return Plan(said(world, "Snapshot", held_back), PAUSE)


def _snapshot_clone(world: World) -> Plan | None:
    """A volume made from a snapshot."""
    if world.stand_in is not None or world.wanted is None:
        return _provisioned(world, "SnapshotClone")
    own = world.wanted.entry == "snapshot"
    name = world.wanted.key.name if own else derived.clone_snapshot(world.claim.uid)
    made_of = {"apiGroup": VOLUME_SNAPSHOT.group, "kind": VOLUME_SNAPSHOT.kind, "name": name}
    return Plan((*said(world, "SnapshotClone"), _made(world, made_of)))


def _csi_clone(world: World) -> Plan | None:
    """A volume that its storage makes from the source's."""
    if world.stand_in is not None or world.wanted is None:
        return _provisioned(world, "CSIClone")
    made_of = {"kind": CLAIM.kind, "name": world.wanted.key.name}
    return in_use(world) or Plan((*said(world, "CSIClone"), _made(world, made_of)))


def _provisioned(world: World, phase: str) -> Plan | None:
    """The storage makes the volume, unless it waits for a pod."""
    waits = world.storage_class is not None and world.storage_class.waits
    if world.stand_in is None or world.stand_in.bound or waits:
        return None
    return Plan(said(world, phase), PAUSE)


def _prepared(world: World) -> Plan | None:
    """Bound, and as large as was asked for: a pod that uses it makes it so where nothing else does."""
    held = world.stand_in
    if held is None or world.stand_in_obj is None:
        return None
    wanted = asked_size(world.claim)
    if held.bound and held.capacity >= wanted:
        done = world.preparer
        if done is None or meta.deleting(done):
            return None
        return Plan((Delete(POD, meta.key(done), Deletion(uid=meta.uid(done))),))
    actions = list(said(world, "PrepClaim"))
    if held.bound and asked_size(held) < wanted:
        grown = {"spec": {"resources": {"requests": {"storage": quantity.canonical(wanted)}}}}
        actions.append(Merge(CLAIM, held.key, grown))
    if world.preparer is None and not _wanted_now(world):
        return Plan(tuple(actions), PAUSE)
    if world.preparer is None:
        actions.append(CreateOrExplain(Create(POD, _preparer(world)), CLAIM, world.obj, refused(PREPARER)))
    return Plan(tuple(actions), PAUSE)


def _wanted_now(world: World) -> bool:
    """Whether only a pod can bring it on: a class waits for one, or a file system grows when it is mounted."""
    held = world.stand_in
    waits = world.storage_class is not None and world.storage_class.waits
    return held is not None and (waits if not held.bound else asked_size(held) >= asked_size(world.claim))


def _preparer(world: World) -> Obj:
    held = world.stand_in_obj or {}
    block = world.claim.block
    worker = pods.Worker(
        container="dummy",
        command=("true",),
        mounts=() if block else ((clone.SOURCE_VOLUME, clone.SOURCE_DIR),),
        devices=((clone.SOURCE_VOLUME, cdi.BLOCK_DEVICE),) if block else (),
        volumes=(pods.claim_volume(clone.SOURCE_VOLUME, meta.name(held)),),
        resources=world.config.resources,
        pull_policy=world.config.pull_policy,
    )
    metadata = {
        "name": derived.preparer_pod(world.claim.uid),
        "namespace": world.where,
        "labels": {
            cdi.APP_LABEL: cdi.APP,
            cdi.COMPONENT_LABEL: PREPARER,
            clone.OWNED_BY: world.claim.uid,
        },
        "annotations": {**cdi.MESH_DEFAULTS, clone.EVENTS_SOURCE: str(world.claim.key)},
        "ownerReferences": [meta.owner_reference(CLAIM, held)],
    }
    return pods.pod(worker, metadata, **world.config.pod_spec)


_HOST: Final = ("HostClone", _host_clone)
_PREP: Final = ("PrepClaim", _prepared)
_RESTORED: Final = ("SnapshotClone", _snapshot_clone)


PHASES: Final[Mapping[tuple[str, str], tuple[tuple[str, Phase], ...]]] = {
    (COPY, "pvc"): (_HOST,),
    (COPY, "snapshot"): (("SnapshotClone", _original), _HOST),
    (SNAPSHOT, "pvc"): (("Snapshot", _snapshot), _RESTORED, _PREP),
    (SNAPSHOT, "snapshot"): (_RESTORED, _PREP),
    (CSI_CLONE, "pvc"): (("CSIClone", _csi_clone), _PREP),
}
"""(strategy, what is cloned) -> its phases, before the volume changes hands."""
