"""A StorageProfile for each storage class: how claims of that class are best made."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from datavolume_controller.capability import UNKNOWN, UNSUPPORTED, Capability, capability
from diskyard.api import meta, quantity
from diskyard.api.condition import timed
from diskyard.api.meta import (
    SNAPSHOT_CLASS,
    STORAGE_CLASS,
    STORAGE_PROFILE,
    VOLUME,
    Condition,
    Key,
    Kind,
    Obj,
)
from diskyard.api.names import cdi, kubernetes
from diskyard.api.storage import (
    BLOCK,
    FILESYSTEM,
    PropertySet,
    StorageClass,
    Volume,
    property_sets,
    storage_class,
    volume,
)
from diskyard.errors import NotFound
from diskyard.kube.client import Client
from diskyard.kube.reconcile import NOTHING, Action, Create, Merge, Plan, Tell, find, same_name

HALF_A_SET = "each ClaimPropertySet must provide both volume mode and access modes"


@dataclass(frozen=True)
class World:
    """One storage class and its profile."""

    obj: Obj
    storage_class: StorageClass
    profile: Obj | None
    now: str
    volumes: tuple[Volume, ...] = ()
    """Of a class whose volumes are all made by hand."""
    snapshots: tuple[Obj, ...] = ()
    """The snapshot classes of its provisioner."""

    @property
    def spec(self) -> Obj:
        """What the profile's owner says."""
        return meta.spec(self.profile or {})

    @property
    def known(self) -> Capability:
        """What we know of the provisioner; of volumes made by hand: what they are."""
        found = capability(self.storage_class)
        if self.storage_class.provisioner != kubernetes.NO_PROVISIONER:
            return found
        each = {(mode, held.block) for held in self.volumes for mode in held.access_modes}
        sets = tuple(PropertySet((mode,), BLOCK if block else FILESYSTEM) for mode, block in sorted(each))
        return Capability(found.key, sets)


def _made_by_hand(obj: Obj) -> Iterable[Key]:
    """The class of a volume that nobody provisioned: it says what its class gives."""
    name = str(meta.spec(obj).get("storageClassName") or "")
    if name and cdi.PROVISIONED_BY not in meta.annotations(obj):
        yield Key(name)


class Profiles:
    """Keeps a StorageProfile beside each storage class; the server takes it away with the class."""

    kind: Kind = STORAGE_CLASS
    wakes: Mapping[Kind, Callable[[Obj], Iterable[Key]]] = {
        STORAGE_PROFILE: same_name,
        VOLUME: _made_by_hand,
    }

    def gather(self, client: Client, key: Key) -> World | None:
        """The class and its profile."""
        obj = find(client, STORAGE_CLASS, key)
        if obj is None:
            return None
        chosen = storage_class(obj)
        by_hand = chosen.provisioner == kubernetes.NO_PROVISIONER
        volumes = (volume(each) for each in client.list(VOLUME).items) if by_hand else ()
        return World(
            obj=obj,
            storage_class=chosen,
            profile=find(client, STORAGE_PROFILE, key),
            now=meta.timestamp(datetime.now(UTC)),
            volumes=tuple(each for each in volumes if each.storage_class == chosen.name),
            snapshots=tuple(
                each for each in _snapshot_classes(client) if each.get("driver") == chosen.provisioner
            ),
        )

    def decide(self, world: World) -> Plan:
        """Make it, or bring it up to date."""
        if world.profile is None:
            return Plan((Create(STORAGE_PROFILE, _made(world)),))
        if halves(world.spec):
            told = Tell(STORAGE_PROFILE, world.profile, "ErrIncompleteSet", HALF_A_SET, warning=True)
            return Plan((told,))
        actions: list[Action] = []
        key, said = meta.key(world.profile), status(world)
        noted = {
            name: text
            for name, text in _annotations(world).items()
            if meta.annotations(world.profile).get(name) != text
        }
        if noted:
            actions.append(Merge(STORAGE_PROFILE, key, {"metadata": {"annotations": noted}}))
        if said != meta.status(world.profile):
            gone = {name: None for name in meta.status(world.profile) if name not in said}
            actions.append(Merge(STORAGE_PROFILE, key, {"status": {**gone, **said}}, "status"))
        return Plan(tuple(actions)) if actions else NOTHING


def status(world: World) -> Obj:
    """What the profile says of its class: its owner's word, else what we know of the provisioner."""
    chosen, spec, known = world.storage_class, world.spec, world.known
    snapshot = snapshot_class(world)
    sets = property_sets(spec.get("claimPropertySets") or ()) or known.sets
    wanted = spec.get("dataImportCronSourceFormat")
    by_snapshot = known.cron_snapshots and bool(snapshot)
    return {
        "storageClass": chosen.name,
        "provisioner": chosen.provisioner,
        "cloneStrategy": _clone_strategy(world, snapshot),
        "dataImportCronSourceFormat": str(wanted or ("snapshot" if by_snapshot else "pvc")),
        **({"snapshotClass": snapshot} if snapshot else {}),
        "claimPropertySets": [_wire(each) for each in sets],
        "conditions": timed(world.profile or {}, [_recognised(known)], world.now, heartbeats=True),
    }


def snapshot_class(world: World) -> str:
    """The class of its snapshots: its owner's word where that exists, else the default, else the first by name."""
    names = sorted(meta.name(each) for each in world.snapshots)
    wanted = str(world.spec.get("snapshotClass") or "")
    if wanted in names:
        return wanted
    default = [
        each for each in world.snapshots if meta.annotations(each).get(cdi.DEFAULT_SNAPSHOT_CLASS) == "true"
    ]
    return meta.name(default[0]) if default else next(iter(names), "")


def halves(spec: Obj) -> bool:
    """Whether one of the owner's sets lacks a half."""
    said = spec.get("claimPropertySets") or ()
    return len(property_sets(said)) < len(said)


def _clone_strategy(world: World, snapshot: str) -> str:
    otherwise = "snapshot" if snapshot else "copy"
    found = (
        str(world.spec.get("cloneStrategy") or "")
        or world.storage_class.clone_strategy
        or world.known.clone_strategy
        or otherwise
    )
    return otherwise if found == "snapshot" else found


def _recognised(known: Capability) -> Condition:
    if known.recognised or known.key in UNSUPPORTED:
        return Condition("Recognized", "True", "RecognizedProvisioner", "Provisioner is recognized")
    if known.key == UNKNOWN:
        message = "Storage class parameters are not recognized"
        return Condition("Recognized", "False", "UnrecognizedStorageClassParameters", message)
    return Condition("Recognized", "False", "UnrecognizedProvisioner", "Provisioner is not recognized")


def _annotations(world: World) -> dict[str, str | None]:
    """What claims of the class have to heed; what is said by hand of a class that we do not know stays."""
    known = world.known
    images = next(
        (
            meta.name(each)
            for each in sorted(world.snapshots, key=meta.name)
            if (each.get("parameters") or {}).get("snapshot-type") == "images"
        ),
        "",
    )
    said = {
        cdi.MINIMUM_SIZE: quantity.canonical(known.minimum) if known.minimum else "",
        cdi.RWO_FOR_CRON: "true" if known.cron_rwo else "",
        cdi.SNAPSHOT_CLASS_FOR_CRON: images if known.cron_rwo else "",
    }
    return {name: text for name, text in said.items() if text}


def _snapshot_classes(client: Client) -> tuple[Obj, ...]:
    """Every snapshot class; none where the server knows no snapshots."""
    try:
        return client.list(SNAPSHOT_CLASS).items
    except NotFound:
        return ()


def _wire(one: PropertySet) -> Obj:
    return {"accessModes": list(one.access_modes), "volumeMode": one.volume_mode}


def _made(world: World) -> Obj:
    return {
        "apiVersion": STORAGE_PROFILE.api_version,
        "kind": STORAGE_PROFILE.kind,
        "metadata": {
            "name": meta.name(world.obj),
            "labels": {cdi.APP_LABEL: cdi.APP, cdi.MANAGED_BY_LABEL: cdi.MANAGED_BY},
            "annotations": _annotations(world),
            "ownerReferences": [meta.owner_reference(STORAGE_CLASS, world.obj)],
        },
        "spec": {},
    }
