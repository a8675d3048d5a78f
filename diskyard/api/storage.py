"""What we read of storage classes, volumes, claims and storage profiles."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from diskyard.api import meta, quantity
from diskyard.api.meta import Key, Obj
from diskyard.api.names import cdi
from diskyard.errors import InvalidRequest

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
    parameters: Mapping[str, str] = field(default_factory=dict)
    clone_strategy: str = ""
    """The operator's hint."""
    expands: bool = False
    """Whether its volumes may grow."""


@dataclass(frozen=True)
class PropertySet:
    """Access modes that a provisioner gives, and the volume mode in which it does."""

    access_modes: tuple[str, ...]
    volume_mode: str


@dataclass(frozen=True)
class Profile:
    """What a StorageProfile says of its class."""

    sets: tuple[PropertySet, ...] = ()
    minimum: int = 0
    """Bytes below which the class gives no volume."""
    clone_strategy: str = ""
    """How its claims are cloned."""
    snapshot_class: str = ""
    """Of its snapshots."""


@dataclass(frozen=True)
class Volume:
    """A PersistentVolume."""

    name: str
    phase: str
    storage_class: str
    capacity: int
    access_modes: tuple[str, ...]
    block: bool
    claim: Key | None = None
    """For which claim it is kept, or whose it is."""
    claim_uid: str = ""


@dataclass(frozen=True)
class Reference:
    """What a claim's `dataSourceRef` or `dataSource` names."""

    group: str
    kind: str
    name: str


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
    volume: str = ""
    """The PersistentVolume that it has."""
    capacity: int = 0
    """Bytes of that volume, once it is bound."""
    populator: Reference | None = None
    """What is to fill it, where that is neither storage nor us by annotations."""

    @property
    def bound(self) -> bool:
        """Whether it has its volume."""
        return self.phase == "Bound"

    @property
    def pod_phase(self) -> str:
        """Where the pod that fills it stands."""
        return self.annotations.get(cdi.POD_PHASE, "")

    @property
    def staged(self) -> bool:
        """Whether a stage of an import stands on it: what fills it is not all there, whatever its pod says."""
        return cdi.CHECKPOINT_CURRENT in self.annotations

    @property
    def filled(self) -> bool:
        """Whether all that is to be in it has been put there by us."""
        return self.pod_phase == "Succeeded" and not self.staged

    @property
    def unfilled(self) -> bool:
        """Whether we are to put something into it that is not all there: who reads it now reads half a disk."""
        ours = self.pod_phase or any(each in self.annotations for each in cdi.FILLED_BY_US)
        return bool(ours) and not self.filled and cdi.POPULATED_FOR not in self.annotations

    @property
    def fatal(self) -> bool:
        """Whether it can never be filled as asked."""
        return self.annotations.get(cdi.IMPORT_FATAL) == "true"

    @property
    def immediate(self) -> bool:
        """Whether it is to be bound without waiting for a consumer."""
        return cdi.IMMEDIATE_BINDING in self.annotations

    @property
    def node(self) -> str:
        """The node that the scheduler chose for its first consumer; empty: none yet."""
        return self.annotations.get(cdi.SELECTED_NODE, "")

    @property
    def retained(self) -> bool:
        """Whether what worked on it is to stay when it has ended."""
        return self.annotations.get(cdi.RETAIN_POD) == "true"


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
        parameters={str(key): str(text) for key, text in (obj.get("parameters") or {}).items()},
        clone_strategy=annotations.get(cdi.CLONE_STRATEGY, ""),
        expands=obj.get("allowVolumeExpansion") is True,
    )


def volume(obj: Obj) -> Volume:
    """What an object of the kind PersistentVolume says."""
    spec = meta.spec(obj)
    held = spec.get("claimRef") or {}
    return Volume(
        name=meta.name(obj),
        phase=meta.phase(obj),
        storage_class=str(spec.get("storageClassName") or ""),
        capacity=_bytes((spec.get("capacity") or {}).get("storage")),
        access_modes=tuple(spec.get("accessModes") or ()),
        block=spec.get("volumeMode") == BLOCK,
        claim=Key(str(held.get("name", "")), str(held.get("namespace", ""))) if held else None,
        claim_uid=str(held.get("uid") or ""),
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
        volume=str(spec.get("volumeName") or ""),
        capacity=_bytes((meta.status(obj).get("capacity") or {}).get("storage")),
        populator=populator(spec),
    )


def populator(spec: Mapping[str, Obj]) -> Reference | None:
    """What the spec of a claim names to be filled by; None where it names nothing."""
    said = spec.get("dataSourceRef") or spec.get("dataSource")
    if not said:
        return None
    return Reference(
        str(said.get("apiGroup") or ""), str(said.get("kind") or ""), str(said.get("name") or "")
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


def profile(obj: Obj) -> Profile:
    """What an object of the kind StorageProfile says that its class gives: its owner's word, else what we know."""
    said = meta.spec(obj).get("claimPropertySets") or meta.status(obj).get("claimPropertySets") or ()
    status = meta.status(obj)
    return Profile(
        property_sets(said),
        _bytes(meta.annotations(obj).get(cdi.MINIMUM_SIZE)),
        clone_strategy=str(status.get("cloneStrategy") or ""),
        snapshot_class=str(status.get("snapshotClass") or ""),
    )


def property_sets(said: Iterable[Obj]) -> tuple[PropertySet, ...]:
    """`claimPropertySets` of a StorageProfile; a set that lacks a half is none."""
    return tuple(
        PropertySet(tuple(each["accessModes"]), str(each["volumeMode"]))
        for each in said
        if each.get("accessModes") and each.get("volumeMode")
    )


def _bytes(text: object) -> int:
    """What a quantity says; 0 where it says none."""
    try:
        return quantity.parse(str(text)) if text else 0
    except InvalidRequest:
        return 0
