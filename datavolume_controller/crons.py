"""DataImportCrons: what is new at a source is imported, and a DataSource pointed at it when it is complete."""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Final

from datavolume_controller import authorization, cronimage, poller
from datavolume_controller.cloneright import MayOf
from datavolume_controller.cronpolls import looked, unmade
from datavolume_controller.cronstatus import status
from datavolume_controller.cronswitch import switched
from datavolume_controller.cronworld import World
from datavolume_controller.refusal import CreateOrExplain
from datavolume_controller.settings import settings
from diskyard.api import meta
from diskyard.api.cron import Import, ImportCron, import_cron
from diskyard.api.meta import (
    CDI_CONFIG,
    CLAIM,
    DATA_SOURCE,
    DATA_VOLUME,
    IMPORT_CRON,
    POD,
    STORAGE_CLASS,
    STORAGE_PROFILE,
    Key,
    Kind,
    Obj,
)
from diskyard.api.names import cdi
from diskyard.api.poll import image, named
from diskyard.api.storage import default_class, storage_class
from diskyard.api.user import account
from diskyard.kube.access import asked_of
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


def _cron_of(obj: Obj) -> Iterable[Key]:
    """For `wakes`: whose image it is."""
    name = meta.labels(obj).get(cdi.CRON_LABEL)
    if name:
        yield Key(name, meta.namespace(obj))


IMAGES: Final = Index(CLAIM, _cron_of)


class Crons:
    """Keeps golden images current."""

    kind: Kind = IMPORT_CRON

    def __init__(self, may_of: MayOf = asked_of) -> None:
        self._may_of = may_of
        self._interest = Interest()
        self.wakes: Mapping[Kind, Callable[[Obj], Iterable[Key]]] = {
            DATA_VOLUME: _cron_of,
            CLAIM: _cron_of,
            DATA_SOURCE: self._interest.roots(DATA_SOURCE),
            POD: owners(IMPORT_CRON),
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
        chosen, owner_only = _place(client, cron)
        now = datetime.now(UTC)
        return World(
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
            images=tuple(each for each in found_by(client, IMAGES, key) if _made(cron, each)),
            storage_class=chosen,
            owner_only=owner_only,
        )

    def _denied(self, client: Client, cron: ImportCron) -> str:
        """Why its service account may not clone the source; empty: it may, or nothing is cloned.

        The DataVolumes are made by us, and our own right is never used: whoever makes a cron would read every claim.
        """
        said = cron.source.get("pvc")
        if not said or said["namespace"] == cron.key.namespace:
            return ""
        source, who = (
            Key(said["name"], said["namespace"]),
            account(cron.key.namespace, cron.service_account or "default"),
        )
        if authorization.may_read(self._may_of(client), who, "pvc", source, cron.key.namespace):
            return ""
        return (
            f"{who.name} may not create datavolumes/source in namespace {source.namespace}: bind it the ClusterRole "
            "cdi.kubevirt.io:clone-sourcer there"
        )

    def decide(self, world: World) -> Plan:
        """What to do next."""
        if world.cron.deleting:
            return NOTHING
        actions = (*_imported(world), *switched(world), *looked(world))
        waits = world.poller is None and world.due
        return Plan((*actions, *_said(world)), waits or None)


def _imported(world: World) -> tuple[Action, ...]:
    """A version that is not there is imported, one at a time; one that failed does not hold up the next."""
    wanted, current = world.wanted, world.current
    if wanted is None or world.denied:
        return ()
    if world.moved and current is not None and not world.held:
        return (*_removed(world), _merged(world, None, {cdi.CRON_CLASS: world.storage_class}))
    begins = world.outdated and (current is None or world.done or world.failing or world.lost)
    if not begins and not (world.lost and current == wanted):
        return ()
    gone = _removed(world) if world.outdated and world.failing else ()
    made = Create(DATA_VOLUME, cronimage.volume(world, wanted))
    placed = {cdi.CRON_CLASS: world.storage_class} if world.storage_class else {}
    return (*gone, CreateOrExplain(made, IMPORT_CRON, world.obj, unmade), _merged(world, wanted, placed))


def _merged(world: World, current: Import | None, said: Mapping[str, str]) -> Merge:
    patch: Obj = {"status": {"currentImports": [current.wire] if current else None}}
    return Merge(IMPORT_CRON, world.cron.key, {**patch, "metadata": {"annotations": dict(said)}})


def _removed(world: World) -> tuple[Action, ...]:
    """The current image goes, whole or not."""
    found = ((DATA_VOLUME, world.dv), (CLAIM, world.claim))
    return tuple(Delete(kind, meta.key(obj), Deletion(uid=meta.uid(obj))) for kind, obj in found if obj)


def _said(world: World) -> tuple[Action, ...]:
    """The status, where it says something else. What was begun just now is said the next time."""
    held, wanted = meta.status(world.obj), status(world)
    differs = {key: said for key, said in wanted.items() if held.get(key) != said}
    differs.pop("currentImports", None)
    return (Merge(IMPORT_CRON, world.cron.key, {"status": differs}),) if differs else ()


def _made(cron: ImportCron, claim: Obj) -> bool:
    """Whether a claim is an image of the cron's: labels are anybody's, and disks of guests may have got them, too."""
    digest = meta.annotations(claim).get(cdi.DIGEST, "")
    return named(digest) and image(cron.data_source.name, digest) == meta.name(claim)


def _rival(client: Client, cron: ImportCron, data_source: Obj | None) -> str:
    """Another cron whose the DataSource is, if that is there."""
    name = meta.labels(data_source or {}).get(cdi.CRON_LABEL, "")
    if not name or name == cron.key.name:
        return ""
    return name if find(client, IMPORT_CRON, Key(name, cron.key.namespace)) else ""


def _place(client: Client, cron: ImportCron) -> tuple[str, bool]:
    """The class that images go to, and whether they are to be ReadWriteOnce there."""
    spec = meta.spec(cron.template)
    asked = str((spec.get("storage") or spec.get("pvc") or {}).get("storageClassName") or "")
    if not asked:
        classes = [storage_class(each) for each in client.list(STORAGE_CLASS).items]
        found = default_class(classes, virt=True)
        asked = found.name if found else ""
    profile = find(client, STORAGE_PROFILE, Key(asked)) if asked else None
    return asked, meta.annotations(profile or {}).get(cdi.RWO_FOR_CRON) == "true"
