"""DataVolume -> the claim that it is to have, or why it cannot have one. Pure (cdi-wire: claim rendering)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from datavolume_controller.capability import CAPABILITIES
from diskyard.api import meta, quantity
from diskyard.api.config import Config
from diskyard.api.datavolume import DataVolume
from diskyard.api.meta import CLAIM, DATA_VOLUME, Obj
from diskyard.api.names import cdi, kubernetes
from diskyard.api.origin import S3, Blank, Gcs, Http, Imageio, Registry, Vddk
from diskyard.api.quantity import MIB
from diskyard.api.storage import BLOCK, FILESYSTEM, PropertySet, StorageClass, choices, default_class

NOT_VALID: Final = "ErrClaimNotValid"
_NOT_COPIED: Final = frozenset(
    {kubernetes.LAST_APPLIED, cdi.POPULATED_FOR, cdi.ATTEMPTS, cdi.IMPORT_PROGRESS, cdi.USE_POPULATOR}
)


@dataclass(frozen=True)
class Refusal:
    """Why there is no claim, as an event and a condition say it."""

    reason: str
    message: str


@dataclass(frozen=True)
class Storage:
    """What there is to make claims of."""

    classes: tuple[StorageClass, ...] = ()
    volume_classes: frozenset[str] = frozenset()
    """Class names of the volumes that exist already: a claim may name one that is no StorageClass."""
    profiles: Mapping[str, tuple[PropertySet, ...]] = field(default_factory=dict)
    """Storage class -> what its StorageProfile says."""

    def named(self, name: str) -> StorageClass | None:
        """The class of that name."""
        return next((each for each in self.classes if each.name == name), None)

    def knows(self, name: str) -> bool:
        """Whether a claim of that class can ever be bound."""
        return self.named(name) is not None or name in self.volume_classes

    def sets(self, chosen: StorageClass) -> tuple[PropertySet, ...]:
        """What a class gives: its profile's word, else what we know of its provisioner."""
        return self.profiles.get(chosen.name) or CAPABILITIES.get(chosen.provisioner, ())


def claim(owner: Obj, dv: DataVolume, storage: Storage, config: Config) -> Obj | Refusal:
    """The PersistentVolumeClaim of a DataVolume."""
    spec = dv.pvc if dv.pvc is not None else _rendered(dv, storage, config)
    if isinstance(spec, Refusal):
        return spec
    filesystem = spec.get("volumeMode") != BLOCK
    return {
        "apiVersion": CLAIM.api_version,
        "kind": CLAIM.kind,
        "metadata": {
            "name": dv.claim.name,
            "namespace": dv.claim.namespace,
            "labels": {**dv.labels, **_labels(filesystem)},
            "annotations": _annotations(dv, config),
            "ownerReferences": [meta.owner_reference(DATA_VOLUME, owner)],
        },
        "spec": spec,
    }


def unknown_class(name: str, field_name: str, storage: Storage) -> str:
    """The message for a class that does not exist."""
    return f'{field_name}: there is no StorageClass "{name}"; there are: {choices(storage.classes)}'


def _rendered(dv: DataVolume, storage: Storage, config: Config) -> Obj | Refusal:
    wanted = dict(dv.storage or {})
    chosen = (
        storage.named(dv.storage_class)
        if dv.storage_class
        else default_class(storage.classes, virt=dv.content_type == "kubevirt")
    )
    if dv.storage_class and not storage.knows(dv.storage_class):
        message = unknown_class(dv.storage_class, "spec.storage.storageClassName", storage)
        return Refusal(NOT_VALID, message)
    modes = _modes(wanted, dv.content_type == "archive", chosen, storage)
    if isinstance(modes, Refusal):
        return modes
    size = _size(wanted)
    if isinstance(size, Refusal):
        return size
    if modes.volume_mode != BLOCK:
        name = chosen.name if chosen else dv.storage_class
        size = quantity.required(size, float(config.overhead_of(name, block=False)))
    spec = {key: text for key, text in wanted.items() if key in _KEPT}
    return {
        **spec,
        "accessModes": list(modes.access_modes),
        "volumeMode": modes.volume_mode or FILESYSTEM,
        "resources": {"requests": {"storage": str(size)}},
        **({"storageClassName": chosen.name} if chosen else {}),
    }


_KEPT: Final = frozenset({"selector", "volumeName", "storageClassName", "dataSource", "dataSourceRef"})


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
        if access:
            return PropertySet(access, mode)
        there = f"; there are: {choices(storage.classes)}" if storage.classes else ""
        return Refusal(
            NOT_VALID, f"PVC spec is missing accessMode and no storageClass to choose profile{there}"
        )
    sets = storage.sets(chosen)
    if access:
        fitting = next((each for each in sets if set(access) & set(each.access_modes)), None)
        return PropertySet(access, fitting.volume_mode if fitting else "")
    if mode:
        fitting = next((each for each in sets if each.volume_mode == mode), None)
        missing = f"no matching accessMode specified in StorageProfile {chosen.name}"
    else:
        fitting = next(iter(sets), None)
        missing = f"no accessMode specified in StorageProfile {chosen.name}"
    return fitting or Refusal(NOT_VALID, missing)


def _size(wanted: Mapping[str, Any]) -> int | Refusal:
    requests = (wanted.get("resources") or {}).get("requests") or {}
    if "storage" not in requests:
        return Refusal(NOT_VALID, "PVC Spec is not valid - missing storage size")
    size = quantity.parse(requests["storage"])
    if size < MIB:
        return Refusal(NOT_VALID, "PVC Spec is not valid - storage size should be at least 1MiB")
    return size


def _labels(filesystem: bool) -> dict[str, str]:
    quiet = {cdi.FILLING_UP_LABEL: "disabled"} if filesystem else {}
    return {
        cdi.APP_LABEL: cdi.APP,
        cdi.MANAGED_BY_LABEL: cdi.MANAGED_BY,
        cdi.COMPONENT_OF_LABEL: cdi.STORAGE,
        **quiet,
    }


def _annotations(dv: DataVolume, config: Config) -> dict[str, str]:
    copied = {key: text for key, text in dv.annotations.items() if key not in _NOT_COPIED}
    preallocation = config.preallocation if dv.preallocation is None else dv.preallocation
    said = {
        cdi.CREATED_FOR: dv.uid,
        cdi.CONTENT_TYPE: dv.content_type,
        cdi.USE_POPULATOR: "false",
        cdi.POD_RESTARTS: "0",
        cdi.PREALLOCATION_REQUESTED: "true" if preallocation else "false",
        cdi.POD_PRIORITY: dv.priority_class,
        cdi.POD_SERVICE_ACCOUNT: dv.service_account,
        **_source(dv),
    }
    return copied | {key: text for key, text in said.items() if text}


def _source(dv: DataVolume) -> dict[str, str]:
    """What the importer's controller is told of the source; what is empty is left out by the caller."""
    match dv.origin:
        case None | Blank():
            return {cdi.IMPORT_SOURCE: "none"}
        case Http() as http:
            return {
                **_place(dv, http.url, http.secret),
                cdi.IMPORT_CERTIFICATES: http.certificates,
                cdi.IMPORT_CHECKSUM: http.checksum,
                cdi.IMPORT_INSECURE: _flag(http.insecure),
                **{f"{cdi.EXTRA_HEADER}{n}": line for n, line in enumerate(http.extra_headers)},
                **{f"{cdi.SECRET_EXTRA_HEADER}{n}": name for n, name in enumerate(http.secret_extra_headers)},
            }
        case S3() as s3:
            return {**_place(dv, s3.url, s3.secret), cdi.IMPORT_CERTIFICATES: s3.certificates}
        case Gcs() as gcs:
            return _place(dv, gcs.url, gcs.secret)
        case Registry() as registry:
            return {
                **_place(dv, registry.url, registry.secret),
                cdi.IMPORT_CERTIFICATES: registry.certificates,
                cdi.REGISTRY_METHOD: registry.method,
                cdi.REGISTRY_ARCHITECTURE: registry.architecture,
            }
        case Imageio() as imageio:
            return {
                **_place(dv, imageio.url, imageio.secret),
                cdi.IMPORT_CERTIFICATES: imageio.certificates,
                cdi.IMPORT_DISK_ID: imageio.disk_id,
                cdi.IMPORT_INSECURE: _flag(imageio.insecure),
            }
        case Vddk() as vddk:
            return {
                **_place(dv, vddk.url, vddk.secret),
                cdi.IMPORT_CERTIFICATES: vddk.certificates,
                cdi.IMPORT_UUID: vddk.uuid,
                cdi.IMPORT_BACKING_FILE: vddk.backing_file,
                cdi.IMPORT_THUMBPRINT: vddk.thumbprint,
                cdi.VDDK_IMAGE: vddk.image,
                cdi.VDDK_EXTRA_ARGS: vddk.extra_args,
            }


def _place(dv: DataVolume, url: str, secret: str) -> dict[str, str]:
    return {cdi.IMPORT_SOURCE: dv.source, cdi.IMPORT_ENDPOINT: url, cdi.IMPORT_SECRET: secret}


def _flag(truth: bool) -> str:
    return "true" if truth else ""
