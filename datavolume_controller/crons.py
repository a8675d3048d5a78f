"""DataImportCrons: what is new at a source is imported, and a DataSource pointed at it when it is complete."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from datavolume_controller import cloneright, cronboot, cronimage, cronsnapshot, poller
from datavolume_controller.cloneright import MayOf
from datavolume_controller.cronpolls import looked, unmade
from datavolume_controller.cronstatus import status
from datavolume_controller.cronswitch import switched
from datavolume_controller.cronworld import World
from datavolume_controller.settings import settings
from diskyard.api import meta
from diskyard.api.boottest import BootTest, boot_test
from diskyard.api.cron import Import, ImportCron, import_cron, made
from diskyard.api.meta import (
    CDI_CONFIG,
    CLAIM,
    DATA_SOURCE,
    DATA_VOLUME,
    IMPORT_CRON,
    INSTANCE,
    POD,
    SNAPSHOT,
    STORAGE_CLASS,
    STORAGE_PROFILE,
    Key,
    Kind,
    Obj,
)
from diskyard.api.names import cdi, derived
from diskyard.api.storage import default_class, storage_class
from diskyard.api.user import User, account
from diskyard.errors import InvalidRequest, NotFound
from diskyard.kube.access import Access, asked_of
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
    everything,
    find,
    nothing,
    owners,
)
from diskyard.kube.refusal import CreateOrExplain


def _cron_of(obj: Obj) -> Iterable[Key]:
    """For `wakes`: whose image it is."""
    name = meta.labels(obj).get(cdi.CRON_LABEL)
    if name:
        yield Key(name, meta.namespace(obj))


IMAGES: Final = (Index(CLAIM, _cron_of), Index(SNAPSHOT, _cron_of))


class Crons:
    """Keeps golden images current."""

    kind: Kind = IMPORT_CRON

    def __init__(self, may_of: MayOf = asked_of) -> None:
        self._may_of = may_of
        self._interest = Interest()
        self.wakes: Mapping[Kind, Callable[[Obj], Iterable[Key]]] = {
            DATA_VOLUME: _cron_of,
            CLAIM: _cron_of,
            SNAPSHOT: _cron_of,
            DATA_SOURCE: self._interest.roots(DATA_SOURCE),
            POD: owners(IMPORT_CRON),
            INSTANCE: owners(IMPORT_CRON),
            STORAGE_CLASS: everything,
            STORAGE_PROFILE: everything,
            CDI_CONFIG: nothing,
        }

    def gather(self, client: Client, key: Key) -> World | None:
        """The cron, what looks at its source, what it imports and has imported."""
        obj = find(client, IMPORT_CRON, key)
        cron = import_cron(obj or {})
        self._interest.note(key, ((DATA_SOURCE, cron.data_source),) if obj else ())
        if obj is None:
            return None
        current = Key(cron.current.name, key.namespace) if cron.current else None
        data_source = find(client, DATA_SOURCE, cron.data_source)
        denied = self._denied(client, cron)
        origin = None if denied else cron.source.get("pvc")
        chosen, owner_only, snapshots = _place(client, cron)
        boot, illegal = _asked(cron)
        trial = find(client, INSTANCE, Key(derived.boot_test(key.name, cron.uid), key.namespace))
        now = datetime.now(UTC)
        world = World(
            obj=obj,
            cron=cron,
            config=settings(client),
            now=meta.timestamp(now),
            instant=now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            poller=find(client, POD, Key(poller.name(cron), key.namespace)),
            dv=find(client, DATA_VOLUME, current) if current else None,
            claim=find(client, CLAIM, current) if current else None,
            data_source=data_source,
            rival=_rival(client, cron, data_source),
            origin=find(client, CLAIM, Key(origin["name"], origin["namespace"])) if origin else None,
            denied=denied,
            snapshot=find(client, SNAPSHOT, current) if current else None,
            images=tuple(_images(client, cron)),
            storage_class=chosen,
            snapshot_class=snapshots,
            owner_only=owner_only,
            boot=boot,
            illegal=illegal,
            trial=trial if trial and meta.owned_by(trial, obj) else None,
        )
        described = boot is not None and boot.guest is not None
        asks = described and world.testing and world.trial is None
        return replace(world, untested=self._untested(client, cron)) if asks else world

    def _denied(self, client: Client, cron: ImportCron) -> str:
        """Why its service account may not clone the source; empty: it may, or nothing is cloned.

        The DataVolumes are made by us, and our own right is never used: whoever makes a cron would read every claim.
        """
        said = cron.source.get("pvc")
        if not said or said["namespace"] == cron.key.namespace:
            return ""
        source = Key(said["name"], said["namespace"])
        return cloneright.lacks(self._may_of(client), _account(cron), "pvc", source, cron.key.namespace)

    def _untested(self, client: Client, cron: ImportCron) -> str:
        """Why its service account may not make a guest that somebody has described; empty: it may.

        As with claims: whoever makes a cron would have any guest, with any Secret in it, by our right.
        """
        who, namespace = _account(cron), cron.key.namespace
        if self._may_of(client)(who, Access("create", INSTANCE.group, INSTANCE.plural, namespace)):
            return ""
        return (
            f"{who.name} may not create {INSTANCE.resource} in namespace {namespace}, which the guest of "
            f"{cdi.BOOT_GUEST} takes: bind it the ClusterRole kubevirt.io:edit there, or take that annotation away "
            "for a plain guest"
        )

    def decide(self, world: World) -> Plan:
        """What to do next."""
        if world.cron.deleting:
            return NOTHING
        kept = (*cronsnapshot.kept(world), *switched(world), *cronsnapshot.cleared(world))
        actions = (*_imported(world), *cronboot.tried(world), *kept, *looked(world))
        waits = (world.due if world.poller is None else None, cronboot.patience(world))
        return Plan((*actions, *_said(world)), min((each for each in waits if each), default=None))


def _account(cron: ImportCron) -> User:
    """The service account in whose name a cron works."""
    return account(cron.key.namespace, cron.service_account or "default")


def _asked(cron: ImportCron) -> tuple[BootTest | None, str]:
    """The boot test, or why what is said of it makes no sense."""
    try:
        return boot_test(cron.annotations), ""
    except InvalidRequest as error:
        return None, str(error)


def _imported(world: World) -> tuple[Action, ...]:
    """A version that is not there is imported, one at a time; one that failed does not hold up the next."""
    wanted, current = world.wanted, world.current
    if wanted is None or world.denied:
        return ()
    if world.moved and current is not None and not world.held:
        return (*_removed(world), _merged(world, None, {cdi.CRON_CLASS: world.storage_class}))
    over = current is None or (world.done and not world.busy) or world.failing or world.lost
    begins = world.outdated and over
    if not begins and not (world.lost and current == wanted):
        return ()
    gone = _removed(world) if world.outdated and world.failing else ()
    placed = {cdi.CRON_CLASS: world.storage_class} if world.storage_class else {}
    begun = _merged(world, wanted, placed)
    if world.kept:
        return (*gone, begun)
    made = Create(DATA_VOLUME, cronimage.volume(world, wanted))
    return (*gone, CreateOrExplain(made, IMPORT_CRON, world.obj, unmade), begun)


def _merged(world: World, current: Import | None, said: Mapping[str, str]) -> Merge:
    patch: Obj = {"status": {"currentImports": [current.wire] if current else None}}
    return Merge(IMPORT_CRON, world.cron.key, {**patch, "metadata": {"annotations": dict(said)}})


def _removed(world: World) -> tuple[Action, ...]:
    """The current image goes, whole or not."""
    found = ((DATA_VOLUME, world.dv), (CLAIM, world.claim), (SNAPSHOT, world.snapshot))
    return tuple(Delete(kind, meta.key(obj), Deletion(uid=meta.uid(obj))) for kind, obj in found if obj)


def _said(world: World) -> tuple[Action, ...]:
    """The status, where it says something else. What was begun just now is said the next time."""
    held, wanted = meta.status(world.obj), status(world)
    differs = {key: said for key, said in wanted.items() if held.get(key) != said}
    differs.pop("currentImports", None)
    news = [action for each in cronboot.booted(world) for action in cronboot.told(world, each)]
    return (*news, Merge(IMPORT_CRON, world.cron.key, {"status": differs})) if differs else ()


def _images(client: Client, cron: ImportCron) -> Iterator[Obj]:
    for index in IMAGES:
        with suppress(NotFound):  # not every server has snapshots
            found = found_by(client, index, cron.key)
            yield from (each for each in found if made(cron.data_source.name, each))


def _rival(client: Client, cron: ImportCron, data_source: Obj | None) -> str:
    """Another cron whose the DataSource is, if that is there."""
    name = meta.labels(data_source or {}).get(cdi.CRON_LABEL, "")
    if not name or name == cron.key.name:
        return ""
    return name if find(client, IMPORT_CRON, Key(name, cron.key.namespace)) else ""


def _place(client: Client, cron: ImportCron) -> tuple[str, bool, str]:
    """The class that images go to, whether they are to be ReadWriteOnce there, and their snapshots' class."""
    spec = meta.spec(cron.template)
    asked = str((spec.get("storage") or spec.get("pvc") or {}).get("storageClassName") or "")
    if not asked:
        classes = [storage_class(each) for each in client.list(STORAGE_CLASS).items]
        found = default_class(classes, virt=True)
        asked = found.name if found else ""
    profile = (find(client, STORAGE_PROFILE, Key(asked)) if asked else None) or {}
    said, status = meta.annotations(profile), meta.status(profile)
    by_snapshot = status.get("dataImportCronSourceFormat") == "snapshot"
    snapshots = str(said.get(cdi.SNAPSHOT_CLASS_FOR_CRON) or status.get("snapshotClass") or "")
    return asked, said.get(cdi.RWO_FOR_CRON) == "true", snapshots if by_snapshot else ""
