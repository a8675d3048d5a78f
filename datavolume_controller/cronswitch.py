"""A complete image becomes the one that a DataSource stands for; older ones go. Pure."""

from datavolume_controller import cronimage
from datavolume_controller.cronworld import World
from datavolume_controller.datasources import SOURCES
from diskyard.api import meta
from diskyard.api.cron import last_used, standing_for
from diskyard.api.meta import CLAIM, DATA_SOURCE, DATA_VOLUME, IMPORT_CRON, SNAPSHOT, Key, Obj
from diskyard.api.names import cdi
from diskyard.kube.client import Deletion
from diskyard.kube.reconcile import Action, Create, Delete, Merge, Tell


def switched(world: World) -> tuple[Action, ...]:
    """What is due when an image is complete, or when somebody has pointed the DataSource elsewhere."""
    if world.rival:
        name, rival = world.cron.data_source.name, world.rival
        message = f"DataSource {name} is already managed by DataImportCron {rival}"
        known = meta.condition(world.obj, "UpToDate") is not None
        return (
            ()
            if known
            else (Tell(IMPORT_CRON, world.obj, "ErrDataSourceAlreadyManaged", message, warning=True),)
        )
    if world.data_source is None:
        return (Create(DATA_SOURCE, cronimage.source(world)),)
    return (
        *(_recorded(world) if world.ready else ()),
        *_pointed(world),
        *(_outdated(world) if world.ready else ()),
    )


def _recorded(world: World) -> tuple[Action, ...]:
    """Which image was imported last, once."""
    target = world.target
    if world.cron.imported == target.name:
        return ()
    where = {"namespace": target.namespace, "name": target.name}
    status = {"lastImportedPVC": where, "lastImportTimestamp": world.now}
    used = {"metadata": {"annotations": {cdi.LAST_USE_TIME: world.instant}}}
    return (Merge(SOURCES[world.entry], target, used), Merge(IMPORT_CRON, world.cron.key, {"status": status}))


def _pointed(world: World) -> tuple[Action, ...]:
    """The DataSource moves, unless somebody holds it, or has taken it over. Each move is told with both versions."""
    obj, at = world.data_source or {}, world.points_at
    before = meta.annotations(obj).get(cdi.DIGEST, "")
    ours = meta.labels(obj).get(cdi.CRON_LABEL) == world.cron.key.name
    if not ours:
        return ()
    if world.held or not world.ready or world.current is None:
        now = world.digest_of(at.key.name) if at and at.entry != "dataSource" else ""
        if not now or now == before:
            return ()
        told = _event(world, before, now, at.key.name if at else "")
        return (
            told,
            Merge(DATA_SOURCE, world.cron.data_source, {"metadata": {"annotations": {cdi.DIGEST: now}}}),
        )
    digest, target = world.current.digest, world.target
    there = at is not None and (at.entry, at.key) == (world.entry, target)
    if there and before == digest:
        return ()
    patch = {"metadata": {"annotations": {cdi.DIGEST: digest}}, "spec": standing_for(target, world.entry)}
    return (_event(world, before, digest, target.name), Merge(DATA_SOURCE, world.cron.data_source, patch))


def _event(world: World, before: str, now: str, name: str) -> Tell:
    came = f"from {before} " if before else ""
    return Tell(DATA_SOURCE, world.data_source or {}, "Switched", f"{came}to {now} ({name})".strip())


def _outdated(world: World) -> tuple[Action, ...]:
    """Images beyond those that are kept, the least recently used first; never what is in use."""
    if not world.cron.collects:
        return ()
    at = world.points_at
    used = {world.target.name, at.key.name if at and at.entry != "dataSource" else ""}
    newest = sorted(world.images, key=lambda each: (last_used(each), meta.name(each)), reverse=True)
    names = list(dict.fromkeys(meta.name(each) for each in newest))
    room = max(0, world.cron.keep - sum(each in used for each in names))
    gone = [each for each in names if each not in used][room:]
    return tuple(
        action
        for each in newest
        if meta.name(each) in gone and not meta.deleting(each)
        for action in _deleted(each)
    )


def _deleted(image: Obj) -> tuple[Action, ...]:
    """The DataVolume first, or it would make its claim anew."""
    if image.get("kind") == SNAPSHOT.kind:
        return (Delete(SNAPSHOT, meta.key(image), Deletion(uid=meta.uid(image))),)
    owner = meta.controller_of(image)
    first: tuple[Action, ...] = ()
    if owner and owner.get("kind") == DATA_VOLUME.kind:
        key = Key(str(owner["name"]), meta.namespace(image))
        first = (Delete(DATA_VOLUME, key, Deletion(uid=str(owner["uid"]))),)
    return (*first, Delete(CLAIM, meta.key(image), Deletion(uid=meta.uid(image))))
