"""What a claim that is asked for looks like, completed by its class, or why there can be none. Pure (cdi-wire: claim
rendering)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from datavolume_controller.capability import capability
from diskyard.api import meta, quantity
from diskyard.api.config import Config
from diskyard.api.meta import Obj
from diskyard.api.names import cdi
from diskyard.api.quantity import MIB
from diskyard.api.storage import (
    BLOCK,
    FILESYSTEM,
    Profile,
    PropertySet,
    StorageClass,
    Volume,
    choices,
    default_class,
)

NOT_VALID: Final = "ErrClaimNotValid"
ARCHIVE: Final = "archive"
_KEPT: Final = frozenset({"selector", "volumeName", "storageClassName", "dataSource", "dataSourceRef"})


@dataclass(frozen=True)
class Refusal:
    """Why there is no claim, as an event and a condition say it."""

    reason: str
    message: str


@dataclass(frozen=True)
class Storage:
    """What there is to make claims of."""

    classes: tuple[StorageClass, ...] = ()
    volumes: tuple[Volume, ...] = ()
    """Looked up only where a class is not enough."""
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    """Storage class -> what its StorageProfile says."""
    drivers: frozenset[str] = frozenset()
    """The CSI drivers."""

    def named(self, name: str) -> StorageClass | None:
        """The class of that name."""
        return next((each for each in self.classes if each.name == name), None)

    def knows(self, name: str) -> bool:
        """Whether a claim of that class can ever be bound: volumes may have a class that is no StorageClass."""
        return self.named(name) is not None or any(each.storage_class == name for each in self.volumes)

    def sets(self, chosen: StorageClass) -> tuple[PropertySet, ...]:
        """What a class gives: its profile's word, else what we know of its provisioner."""
        said = self.profiles.get(chosen.name)
        return said.sets if said and said.sets else capability(chosen).sets

    def minimum(self, chosen: StorageClass | None) -> int:
        """Bytes below which the class gives no volume."""
        if chosen is None:
            return 0
        said = self.profiles.get(chosen.name)
        return said.minimum if said else capability(chosen).minimum

    def provisioner(self, class_name: str) -> str:
        """What makes that class's volumes; empty where nothing is known of it."""
        chosen = self.named(class_name)
        return chosen.provisioner if chosen else ""

    def driven(self, class_name: str) -> bool:
        """Whether a CSI driver makes that class's volumes."""
        chosen = self.named(class_name)
        return chosen is not None and chosen.provisioner in self.drivers


def rendered(wanted: Obj, content_type: str, storage: Storage, config: Config) -> Obj | Refusal:
    """The spec of the claim for `spec.storage` of a DataVolume, or for a claim that wants to be completed."""
    name = str(wanted.get("storageClassName") or "")
    chosen = storage.named(name) if name else default_class(storage.classes, virt=content_type != ARCHIVE)
    if name and not storage.knows(name):
        return Refusal(NOT_VALID, unknown_class(name, "spec.storage.storageClassName", storage))
    size = _size(wanted)
    if isinstance(size, Refusal):
        return size
    modes = _modes(wanted, content_type == ARCHIVE, chosen, storage)
    if isinstance(modes, Refusal):
        return modes
    if modes.volume_mode != BLOCK:
        overhead = config.overhead_of(chosen.name if chosen else name, block=False)
        size = quantity.required(size, float(overhead))
    return {
        **{key: said for key, said in wanted.items() if key in _KEPT},
        "accessModes": list(modes.access_modes),
        "volumeMode": modes.volume_mode or FILESYSTEM,
        "resources": {
            **(wanted.get("resources") or {}),
            "requests": {"storage": str(max(size, storage.minimum(chosen)))},
        },
        **({"storageClassName": chosen.name} if chosen else {}),
    }


def completed(obj: Obj, storage: Storage, config: Config) -> Obj | Refusal:
    """A claim that is labelled for it, with what its spec lacks filled in as a DataVolume's claim has it."""
    wanted, content_type = meta.spec(obj), meta.annotations(obj).get(cdi.CONTENT_TYPE) or "kubevirt"
    snapshot = (wanted.get("dataSourceRef") or wanted.get("dataSource") or {}).get("kind") == "VolumeSnapshot"
    spec = rendered(wanted, content_type, storage, config)
    if isinstance(spec, Refusal):
        return Refusal(spec.reason, spec.message.replace("spec.storage.", "spec."))
    resources = {"resources": wanted["resources"]} if snapshot else {}
    return {**obj, "spec": {**wanted, **spec, **resources}}


def unknown_class(name: str, field_name: str, storage: Storage) -> str:
    """The message for a class that does not exist."""
    return f'{field_name}: there is no StorageClass "{name}"; there are: {choices(storage.classes)}'


def _modes(
    wanted: Mapping[str, Any], archive: bool, chosen: StorageClass | None, storage: Storage
) -> PropertySet | Refusal:
    """Access modes and volume mode: what is asked for, completed by what the class gives."""
    access = tuple(wanted.get("accessModes") or ())
    mode = str(wanted.get("volumeMode") or "").replace("FromStorageProfile", "")
    if archive:
        if mode == BLOCK:
            return Refusal(NOT_VALID, "ContentType Archive cannot have block volumeMode")
        mode = FILESYSTEM
    if access and mode:
        return PropertySet(access, mode)
    if chosen is None:
        return _modes_of_a_volume(wanted, access, mode, storage)
    sets = storage.sets(chosen)
    if access:
        fitting = next((each for each in sets if set(access) & set(each.access_modes)), None)
        return PropertySet(access, fitting.volume_mode if fitting else "")
    if mode:
        fitting = next((each for each in sets if each.volume_mode == mode), None)
        missing = f"no matching accessMode specified in StorageProfile {chosen.name}"
    else:
        fitting = next(iter(sets), None)
        missing = (
            "Spec is missing accessMode and volumeMode, cannot get access mode from StorageProfile "
            f"{chosen.name}: say them in spec.storage, or claimPropertySets in that StorageProfile"
        )
    return fitting or Refusal(NOT_VALID, missing)


def _modes_of_a_volume(
    wanted: Mapping[str, Any], access: tuple[str, ...], mode: str, storage: Storage
) -> PropertySet | Refusal:
    """Without a class: those of the smallest volume that was made by hand and would do."""
    if access:
        return PropertySet(access, mode)
    name = str(wanted.get("storageClassName") or "")
    found = fitting_volumes(wanted, name, storage.volumes)
    if found:
        return PropertySet(found[0].access_modes, BLOCK if found[0].block else FILESYSTEM)
    there = f"; there are: {choices(storage.classes)}" if storage.classes else ""
    return Refusal(NOT_VALID, f"PVC spec is missing accessMode and no storageClass to choose profile{there}")


def fitting_volumes(
    wanted: Mapping[str, Any], class_name: str, volumes: tuple[Volume, ...]
) -> tuple[Volume, ...]:
    """The volumes that are free and fit a spec, the smallest first."""
    size = _size(wanted)
    least = 0 if isinstance(size, Refusal) else size
    access, mode = set(wanted.get("accessModes") or ()), wanted.get("volumeMode") or ""
    return tuple(
        sorted(
            (
                each
                for each in volumes
                if each.phase == "Available"
                and each.storage_class == class_name
                and each.capacity >= least
                and access <= set(each.access_modes)
                and mode in ("", BLOCK if each.block else FILESYSTEM)
            ),
            key=lambda each: (each.capacity, each.name),
        )
    )


def _size(wanted: Mapping[str, Any]) -> int | Refusal:
    requests = (wanted.get("resources") or {}).get("requests") or {}
    if "storage" not in requests:
        return Refusal(NOT_VALID, "PVC Spec is not valid - missing storage size")
    size = quantity.parse(requests["storage"])
    if size < MIB:
        return Refusal(NOT_VALID, "PVC Spec is not valid - storage size should be at least 1MiB")
    return size
