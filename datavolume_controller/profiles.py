"""A StorageProfile for each storage class: how claims of that class are best made."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from datavolume_controller.capability import CAPABILITIES
from diskyard.api import meta
from diskyard.api.condition import timed
from diskyard.api.meta import STORAGE_CLASS, STORAGE_PROFILE, Condition, Key, Kind, Obj
from diskyard.api.names import cdi
from diskyard.api.storage import PropertySet, StorageClass, property_sets, storage_class
from diskyard.kube.client import Client
from diskyard.kube.reconcile import NOTHING, Create, Merge, Plan, find, same_name


@dataclass(frozen=True)
class World:
    """One storage class and its profile."""

    obj: Obj
    storage_class: StorageClass
    profile: Obj | None
    now: str


class Profiles:
    """Keeps a StorageProfile beside each storage class; the store takes it away with the class."""

    kind: Kind = STORAGE_CLASS
    wakes: Mapping[Kind, Callable[[Obj], Iterable[Key]]] = {STORAGE_PROFILE: same_name}

    def gather(self, client: Client, key: Key) -> World | None:
        """The class and its profile."""
        obj = find(client, STORAGE_CLASS, key)
        if obj is None:
            return None
        now = meta.timestamp(datetime.now(UTC))
        return World(obj, storage_class(obj), find(client, STORAGE_PROFILE, key), now)

    def decide(self, world: World) -> Plan:
        """Make it, or bring its status up to date."""
        if world.profile is None:
            return Plan((Create(STORAGE_PROFILE, _made(world.obj)),))
        said = status(world)
        if said == meta.status(world.profile):
            return NOTHING
        return Plan((Merge(STORAGE_PROFILE, meta.key(world.profile), {"status": said}, "status"),))


def status(world: World) -> Obj:
    """What the profile says of its class: its owner's word, else what we know of the provisioner."""
    chosen, spec = world.storage_class, meta.spec(world.profile or {})
    known = CAPABILITIES.get(chosen.provisioner, ())
    sets = property_sets({"spec": spec}) or known
    return {
        "storageClass": chosen.name,
        "provisioner": chosen.provisioner,
        "cloneStrategy": str(spec.get("cloneStrategy") or "copy"),
        "dataImportCronSourceFormat": str(spec.get("dataImportCronSourceFormat") or "pvc"),
        "claimPropertySets": [_wire(each) for each in sets],
        "conditions": timed(world.profile or {}, [_recognised(bool(known))], world.now, heartbeats=True),
    }


def _wire(one: PropertySet) -> Obj:
    return {"accessModes": list(one.access_modes), "volumeMode": one.volume_mode}


def _recognised(known: bool) -> Condition:
    if known:
        return Condition("Recognized", "True", "RecognizedProvisioner", "Provisioner is recognized")
    return Condition("Recognized", "False", "UnrecognizedProvisioner", "Provisioner is not recognized")


def _made(owner: Obj) -> Obj:
    return {
        "apiVersion": STORAGE_PROFILE.api_version,
        "kind": STORAGE_PROFILE.kind,
        "metadata": {
            "name": meta.name(owner),
            "labels": {cdi.APP_LABEL: cdi.APP, cdi.MANAGED_BY_LABEL: cdi.MANAGED_BY},
            "ownerReferences": [meta.owner_reference(STORAGE_CLASS, owner)],
        },
        "spec": {},
    }
