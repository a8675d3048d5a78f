"""How a DataVolume's claim gets its contents: by annotations, by a populator, from a volume made by hand. Pure."""

from collections.abc import Iterable, Mapping
from typing import Final

from datavolume_controller import cloning
from datavolume_controller.asked import PASSED, asked, corrected
from datavolume_controller.claim import ARCHIVE, Refusal, Storage, rendered
from datavolume_controller.cloning import NO_SOURCE, Cloning, sized
from datavolume_controller.datasources import Named
from datavolume_controller.stages import advanced, begun
from diskyard.api import meta
from diskyard.api.config import Config
from diskyard.api.datavolume import DataVolume
from diskyard.api.meta import (
    CLAIM,
    CLONE_SOURCE,
    DATA_VOLUME,
    IMPORT_SOURCE,
    UPLOAD_SOURCE,
    Key,
    Kind,
    Obj,
)
from diskyard.api.names import cdi, clone, derived, kubernetes
from diskyard.api.storage import BLOCK, Claim, Reference, Volume, default_class

POPULATORS: Final[Mapping[str, Kind]] = {
    each.kind: each for each in (IMPORT_SOURCE, UPLOAD_SOURCE, CLONE_SOURCE)
}
"""Kind, as a claim's dataSourceRef names it -> ours."""
_NOT_COPIED: Final = frozenset(
    {
        kubernetes.LAST_APPLIED,
        clone.NAMESPACE, clone.PHASE, clone.ERROR, cdi.PRIME,
        cdi.POPULATED_FOR, cdi.PRE_POPULATED, cdi.ATTEMPTS, cdi.IMPORT_PROGRESS,
        cdi.USE_POPULATOR,
    }
)  # fmt: skip

STAGED: Final = ("checkpoints", "finalCheckpoint")
"""What of a source may be changed: more stages follow."""


def claimed(
    owner: Obj, dv: DataVolume, storage: Storage, config: Config, cloned: Cloning | None
) -> Obj | Refusal:
    """The PersistentVolumeClaim of a DataVolume, also of one that is cloned; why there is none yet."""
    if cloned is None or cloned.leaf is None:
        waits = Refusal(NO_SOURCE, "The source of its DataSource doesn't exist")
        return waits if dv.clones else claim(owner, dv, storage, config)
    default = default_class(storage.classes, virt=dv.content_type != ARCHIVE)
    wanted = sized(dv, cloned, config, default.name if default else "")
    made = wanted if isinstance(wanted, Refusal) else claim(owner, wanted, storage, config)
    if isinstance(made, Refusal):
        return made
    where = cloned.leaf.key.namespace
    if where != dv.key.namespace:
        made["metadata"]["annotations"][clone.NAMESPACE] = where
    return made


def claim(owner: Obj, dv: DataVolume, storage: Storage, config: Config) -> Obj | Refusal:
    """The PersistentVolumeClaim of a DataVolume."""
    spec = dv.pvc if dv.pvc is not None else rendered(dv.storage or {}, dv.content_type, storage, config)
    if isinstance(spec, Refusal):
        return spec
    by_hand = static_volumes(dv, storage.volumes)
    populated = not by_hand and populates(dv, spec, storage)
    if dv.clones and not populated:
        return Refusal("NoPopulator", _unclonable(spec, storage))
    return {
        "apiVersion": CLAIM.api_version,
        "kind": CLAIM.kind,
        "metadata": {
            "name": dv.claim.name,
            "namespace": dv.claim.namespace,
            "labels": _labels(dv, filesystem=spec.get("volumeMode") != BLOCK),
            "annotations": {**_annotations(dv, config, populated), **_filling(dv, by_hand, populated)},
            "ownerReferences": [meta.owner_reference(DATA_VOLUME, owner)],
        },
        "spec": {**spec, "dataSourceRef": _reference(dv)} if populated else spec,
    }


def _unclonable(spec: Obj, storage: Storage) -> str:
    name = str(spec.get("storageClassName") or "")
    return (
        f"In tree storage class does not support snapshot/clone: claims of {name or 'no class'} "
        f"({storage.provisioner(name) or 'unknown'}) are filled by no populator; name a class of a CSI driver"
    )


def populates(dv: DataVolume, spec: Obj, storage: Storage) -> bool:
    """Whether our populators are to fill the claim: as the user says, else wherever a CSI driver makes its volume."""
    if dv.external or not dv.served:
        return False
    said = dv.annotations.get(cdi.USE_POPULATOR)
    if said is not None:
        return said == "true"
    chosen = str(spec.get("storageClassName") or "")
    if not chosen:
        found = default_class(storage.classes, virt=False)
        chosen = found.name if found else ""
    ours = dv.clones and storage.provisioner(chosen) == kubernetes.PROVISIONER
    return ours or storage.driven(chosen)


def ours(reference: Reference | None) -> Kind | None:
    """Which of our populators a claim names; None where it names none of them."""
    if reference is None or reference.group != cdi.GROUP:
        return None
    return POPULATORS.get(reference.kind)


def source_key(dv: DataVolume) -> tuple[Kind, Key]:
    """Which object says to our populators what fills the DataVolume's claim."""
    if dv.clones:
        return CLONE_SOURCE, Key(derived.clone_source(dv.uid), dv.key.namespace)
    if dv.uploads:
        return UPLOAD_SOURCE, Key(derived.upload_source(dv.uid), dv.key.namespace)
    return IMPORT_SOURCE, Key(derived.import_source(dv.uid), dv.key.namespace)


def source(owner: Obj, dv: DataVolume, leaf: Named | None = None) -> tuple[Kind, Obj]:
    """That object; `leaf`: what it is cloned from, where it is."""
    kind, key = source_key(dv)
    if leaf is not None:
        return kind, cloning.source(owner, dv, leaf)
    staged = bool(dv.stages.checkpoints)
    spec = {
        "contentType": dv.content_type,
        "preallocation": dv.preallocation,
        "source": None if dv.uploads else meta.spec(owner).get("source"),
        "targetClaim": dv.claim.name if staged else None,
        "checkpoints": meta.spec(owner).get("checkpoints") if staged else None,
        "finalCheckpoint": meta.spec(owner).get("finalCheckpoint") if staged else None,
    }
    return kind, {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {
            "name": key.name,
            "namespace": key.namespace,
            "ownerReferences": [meta.owner_reference(DATA_VOLUME, owner)],
        },
        "spec": {name: said for name, said in spec.items() if said is not None},
    }


def static_volumes(dv: DataVolume, volumes: Iterable[Volume]) -> tuple[str, ...]:
    """The volumes, made by hand, that are kept for the DataVolume's claim, where it says to look for them."""
    if cdi.CHECK_STATIC not in dv.annotations:
        return ()
    return tuple(
        sorted(each.name for each in volumes if each.claim == dv.claim and each.phase == "Available")
    )


def repeated(dv: DataVolume, held: Claim) -> dict[str, str | None]:
    """What a claim that is not filled yet has to be told anew: another source, to try again, to wait for nobody."""
    if cdi.VOLUME_LIST in held.annotations:
        return {}
    keys = (*(PASSED if dv.origin else ()), cdi.IMMEDIATE_BINDING)
    passed: dict[str, str | None] = {
        key: dv.annotations[key]
        for key in keys
        if key in dv.annotations and dv.annotations[key] != held.annotations.get(key)
    }
    if dv.origin is None or ours(held.populator):
        return passed
    return passed | corrected(held.annotations, asked(dv.origin)) | advanced(dv.stages, held.annotations)


def transfer(claim_: Claim) -> Key:
    """The claim that pods work on: the one that is filled in its place, else itself."""
    prime = claim_.annotations.get(cdi.PRIME)
    where = claim_.annotations.get(clone.NAMESPACE) or claim_.key.namespace
    return Key(prime, where) if prime else claim_.key


def _reference(dv: DataVolume) -> Obj:
    kind, key = source_key(dv)
    return {"apiGroup": kind.group, "kind": kind.kind, "name": key.name}


def _filling(dv: DataVolume, by_hand: tuple[str, ...], populated: bool) -> dict[str, str]:
    """What says how the claim is filled."""
    if by_hand:
        names = ", ".join(f'"{name}"' for name in by_hand)
        return {cdi.VOLUME_LIST: f"[{names}]"}
    if dv.external:
        return {cdi.EXTERNAL_POPULATION: "true"}
    return {**asked(dv.origin), **begun(dv.stages)} if dv.origin and not populated else {}


def _labels(dv: DataVolume, filesystem: bool) -> dict[str, str]:
    """The DataVolume's, without the one that has claims completed: this one is complete."""
    copied = {key: text for key, text in dv.labels.items() if key != cdi.APPLY_PROFILE_LABEL}
    return {
        **copied,
        cdi.APP_LABEL: cdi.APP,
        cdi.MANAGED_BY_LABEL: cdi.MANAGED_BY,
        cdi.COMPONENT_OF_LABEL: cdi.STORAGE,
        **({cdi.FILLING_UP_LABEL: "disabled"} if filesystem else {}),
    }


def _annotations(dv: DataVolume, config: Config, populated: bool) -> dict[str, str]:
    copied = {key: text for key, text in dv.annotations.items() if key not in _NOT_COPIED}
    preallocation = config.preallocation if dv.preallocation is None else dv.preallocation
    said = {
        cdi.CREATED_FOR: dv.uid,
        cdi.CONTENT_TYPE: dv.content_type,
        cdi.USE_POPULATOR: "true" if populated else "false",
        cdi.POD_RESTARTS: "0",
        cdi.PREALLOCATION_REQUESTED: "true" if preallocation else "false",
        cdi.POD_PRIORITY: dv.priority_class,
        cdi.POD_SERVICE_ACCOUNT: dv.service_account,
    }
    return copied | {key: text for key, text in said.items() if text}
