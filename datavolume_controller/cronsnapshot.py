"""Images that are kept as snapshots, where their storage makes disks of those best: cdi-wire §7.3. Pure.

An image is imported into a claim, as ever; a snapshot of the claim's name is taken, the DataSource pointed at it, and
the claim goes. Back to claims, or to another class of snapshots: the image is imported once more, and the snapshot
serves until that is complete.
"""

from datavolume_controller import cronimage
from datavolume_controller.cronworld import World
from diskyard.api import meta
from diskyard.api.meta import CLAIM, DATA_VOLUME, SNAPSHOT, Obj
from diskyard.api.names import cdi, clone
from diskyard.kube.client import Deletion
from diskyard.kube.reconcile import Action, Create, Delete


def kept(world: World) -> tuple[Action, ...]:
    """A snapshot of an image that is complete; one of another class makes room for it."""
    if not (world.by_snapshot and world.good and world.whole and world.current) or world.moved or world.rival:
        return ()
    if world.snapshot is None:
        return (Create(SNAPSHOT, snapshot(world)),)
    return () if world.fresh else _gone(world.snapshot)


def cleared(world: World) -> tuple[Action, ...]:
    """What an image was kept as before, once it is kept as it is to be; never what the DataSource stands for."""
    at, other = world.points_at, "pvc" if world.by_snapshot else "snapshot"
    if not world.ready or world.rival or (at is not None and (at.entry, at.key) == (other, world.target)):
        return ()
    if not world.by_snapshot:
        return _gone(world.snapshot)
    found = ((DATA_VOLUME, world.dv), (CLAIM, world.claim))
    held = [(kind, obj) for kind, obj in found if obj and not meta.deleting(obj)]
    return tuple(Delete(kind, meta.key(obj), Deletion(uid=meta.uid(obj))) for kind, obj in held)


def snapshot(world: World) -> Obj:
    """As CDI makes it: its restore size and volume mode are said for those who make a claim of it."""
    claim = world.claim or {}
    size = (meta.status(claim).get("capacity") or meta.spec(claim)["resources"]["requests"])["storage"]
    tested = meta.annotations(claim).get(cdi.BOOT_TEST)
    return {
        "apiVersion": SNAPSHOT.api_version,
        "kind": SNAPSHOT.kind,
        "metadata": {
            "name": world.target.name,
            "namespace": world.target.namespace,
            "labels": {**_passed(claim), **cronimage.labels(world)},
            "annotations": {
                cdi.DIGEST: meta.annotations(claim).get(cdi.DIGEST, ""),
                cdi.LAST_USE_TIME: world.instant,
                clone.ADVISED_SIZE: str(size),
                clone.SOURCE_MODE: str(meta.spec(claim).get("volumeMode") or "Filesystem"),
                **({cdi.BOOT_TEST: tested} if tested else {}),
            },
            "ownerReferences": cronimage.owners(world),
        },
        "spec": {
            "volumeSnapshotClassName": world.snapshot_class,
            "source": {"persistentVolumeClaimName": world.target.name},
        },
    }


def _passed(claim: Obj) -> dict[str, str]:
    """Labels that go with a disk wherever it goes."""
    return {key: text for key, text in meta.labels(claim).items() if cdi.PASSED_LABEL.fullmatch(key)}


def _gone(snapshot: Obj | None) -> tuple[Action, ...]:
    if snapshot is None or meta.deleting(snapshot):
        return ()
    return (Delete(SNAPSHOT, meta.key(snapshot), Deletion(uid=meta.uid(snapshot))),)
