"""What we read of storage classes, claims and storage profiles."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from diskyard.api import meta
from diskyard.api.meta import Key, Obj
from diskyard.api.names import cdi

FILESYSTEM: Final = "Filesystem"
BLOCK: Final = "Block"
WAIT: Final = "WaitForFirstConsumer"
ACCESS_MODES: Final = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")


@dataclass(frozen=True)
class StorageClass:
    """A way to get volumes."""

    name: str
    provisioner: str = ""
    waits: bool = False
    """A volume is made only when a pod needs it, where the pod runs."""
    default: bool = False
    virt_default: bool = False
    created: str = ""


@dataclass(frozen=True)
class PropertySet:
    """Access modes that a provisioner gives, and the volume mode in which it does."""

    access_modes: tuple[str, ...]
    volume_mode: str


@dataclass(frozen=True)
class Claim:
    """A PersistentVolumeClaim."""

    key: Key
    uid: str
    deleting: bool
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    owner_uid: str
    """The one owner's uid; empty where there is none, or several."""
    controller_uid: str
    phase: str
    storage_class: str
    block: bool
    request: str
    """The size that is asked for, a quantity."""

    @property
    def bound(self) -> bool:
        """Whether it has its volume."""
        return self.phase == "Bound"

    @property
    def pod_phase(self) -> str:
        """Where the pod that fills it stands; `Succeeded`: it is filled."""
        return self.annotations.get(cdi.POD_PHASE, "")

    @property
    def fatal(self) -> bool:
        """Whether it can never be filled as asked."""
        return self.annotations.get(cdi.IMPORT_FATAL) == "true"

    @property
    def immediate(self) -> bool:
        """Whether it is to be bound without waiting for a consumer."""
        return cdi.IMMEDIATE_BINDING in self.annotations


def storage_class(obj: Obj) -> StorageClass:
    """What an object of the kind StorageClass says."""
    annotations = meta.annotations(obj)
    return StorageClass(
        name=meta.name(obj),
        provisioner=str(obj.get("provisioner", "")),
        waits=obj.get("volumeBindingMode") == WAIT,
        default=annotations.get(cdi.DEFAULT_CLASS) == "true",
        virt_default=annotations.get(cdi.DEFAULT_VIRT_CLASS) == "true",
        created=str(meta.meta(obj).get("creationTimestamp") or ""),
    )


def claim(obj: Obj) -> Claim:
    """What an object of the kind PersistentVolumeClaim says."""
    spec = meta.spec(obj)
    owners: list[Obj] = meta.meta(obj).get("ownerReferences") or []
    controller = meta.controller_of(obj) or {}
    requests = (spec.get("resources") or {}).get("requests") or {}
    return Claim(
        key=meta.key(obj),
        uid=meta.uid(obj),
        deleting=meta.deleting(obj),
        labels=meta.labels(obj),
        annotations=meta.annotations(obj),
        owner_uid=str(owners[0].get("uid", "")) if len(owners) == 1 else "",
        controller_uid=str(controller.get("uid", "")),
        phase=meta.phase(obj),
        storage_class=str(spec.get("storageClassName") or ""),
        block=spec.get("volumeMode") == BLOCK,
        request=str(requests.get("storage", "")),
    )


def default_class(classes: Iterable[StorageClass], virt: bool) -> StorageClass | None:
    """The class of a claim that names none; for guests' disks (`virt`) theirs comes first. Of several defaults
    the newest, then the first by name, as Kubernetes chooses."""
    by_name = sorted(classes, key=lambda each: each.name)
    newest_first = sorted(by_name, key=lambda each: each.created, reverse=True)
    for_guests = [each for each in newest_first if virt and each.virt_default]
    defaults = for_guests or [each for each in newest_first if each.default]
    return defaults[0] if defaults else None


def choices(classes: Iterable[StorageClass]) -> str:
    """The classes there are, for a message: `local (default), local-wait`."""
    names = [f"{each.name} (default)" if each.default else each.name for each in classes]
    return ", ".join(sorted(names)) or "none"


def property_sets(profile: Obj) -> tuple[PropertySet, ...]:
    """What a StorageProfile says that its class gives: its owner's word, else what we know."""
    said = meta.spec(profile).get("claimPropertySets") or meta.status(profile).get("claimPropertySets") or ()
    return tuple(
        PropertySet(tuple(each.get("accessModes") or ()), str(each.get("volumeMode") or FILESYSTEM))
        for each in said
    )
