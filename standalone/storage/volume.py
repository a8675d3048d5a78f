"""The storage classes of a yard, and PersistentVolumes: the one a claim gets, and what any of them says. Pure."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from diskyard.api import meta, quantity
from diskyard.api.meta import CLAIM, STORAGE_CLASS, VOLUME, Key, Obj
from diskyard.api.names import cdi, derived, kubernetes

Volume = Obj


def storage_classes() -> list[Obj]:
    """`local` (the default, binds at once) and `local-wait` (binds when a pod comes)."""
    default = {cdi.DEFAULT_CLASS: "true"}
    return [
        _storage_class(kubernetes.LOCAL_CLASS, "Immediate", default),
        _storage_class(kubernetes.LOCAL_WAIT_CLASS, "WaitForFirstConsumer", {}),
    ]


def request(claim: Obj) -> int:
    """Bytes that a claim asks for."""
    wanted = (meta.spec(claim).get("resources") or {}).get("requests") or {}
    return quantity.parse(wanted.get("storage") or 0)


def capacity(volume: Volume) -> int:
    """Bytes that a volume has; of a claim, what its status says."""
    said = meta.spec(volume).get("capacity") or meta.status(volume).get("capacity") or {}
    return quantity.parse(said.get("storage") or 0)


def class_name(obj: Obj) -> str | None:
    """The class of a claim or a volume: empty for none; None: a claim that wants the default."""
    old = meta.annotations(obj).get(kubernetes.CLASS_ANNOTATION)
    said = meta.spec(obj).get("storageClassName", old)
    return None if said is None else str(said)


def is_block(obj: Obj) -> bool:
    """Whether a claim or a volume is a block device."""
    return meta.spec(obj).get("volumeMode") == "Block"


def is_made(volume: Volume) -> bool:
    """Whether a volume was made by this storage, on whatever node."""
    return meta.annotations(volume).get(cdi.PROVISIONED_BY) == kubernetes.PROVISIONER


def is_ours(volume: Volume, node: str) -> bool:
    """Whether a volume was made by this storage, on that node."""
    return is_made(volume) and is_on(volume, node)


def is_on(volume: Volume, node: str) -> bool:
    """Whether a volume is to be had on that node."""
    required = (meta.spec(volume).get("nodeAffinity") or {}).get("required") or {}
    terms = required.get("nodeSelectorTerms") or ()
    return not terms or any(
        all(
            rule.get("key") == kubernetes.HOSTNAME_LABEL
            and (node in (rule.get("values") or ())) == (rule.get("operator") == "In")
            for rule in term.get("matchExpressions") or ()
        )
        for term in terms
    )


def source(volume: Volume) -> tuple[str, Path | None]:
    """The kind of a volume (`hostPath`, `nfs` ...), and where it lies on its node; None: elsewhere."""
    spec = meta.spec(volume)
    for kind in ("local", "hostPath"):
        if isinstance(spec.get(kind), dict):
            return kind, Path(str(spec[kind].get("path") or ""))
    known = ("capacity", "nodeAffinity", "claimRef", "volumeAttributesClassName")
    return next(
        (name for name, said in spec.items() if isinstance(said, dict) and name not in known), "nothing"
    ), None


def owner(volume: Volume) -> tuple[Key, str] | None:
    """The claim that a volume is for, and its uid (empty: for whichever has the name); None: for any."""
    ref = meta.spec(volume).get("claimRef") or {}
    if not ref.get("name"):
        return None
    return Key(str(ref["name"]), str(ref.get("namespace") or "")), str(ref.get("uid") or "")


def promises(volumes: Iterable[Volume], node: str) -> dict[str, int]:
    """Bytes that were promised on a node, by the volumes' names."""
    return {meta.name(one): capacity(one) for one in volumes if is_ours(one, node)}


def volume(claim: Obj, storage_class: Obj, path: Path, node: str) -> Volume:
    """The volume for a claim: `path` on that node."""
    wanted = meta.spec(claim)
    on_node = {"key": kubernetes.HOSTNAME_LABEL, "operator": "In", "values": [node]}
    return {
        "apiVersion": VOLUME.api_version,
        "kind": VOLUME.kind,
        "metadata": {
            "name": derived.volume(meta.uid(claim)),
            "annotations": {cdi.PROVISIONED_BY: kubernetes.PROVISIONER},
            "finalizers": [kubernetes.VOLUME_PROTECTION],
        },
        "spec": {
            "capacity": {"storage": wanted["resources"]["requests"]["storage"]},
            "accessModes": wanted.get("accessModes") or ["ReadWriteOnce"],
            "volumeMode": wanted.get("volumeMode") or "Filesystem",
            "persistentVolumeReclaimPolicy": storage_class.get("reclaimPolicy") or "Delete",
            "storageClassName": meta.name(storage_class),
            "local": {"path": str(path)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [on_node]}]}},
            "claimRef": reference(claim),
        },
    }


def reference(claim: Obj) -> dict[str, Any]:
    """How a volume names its claim."""
    return {
        "apiVersion": CLAIM.api_version,
        "kind": CLAIM.kind,
        "namespace": meta.namespace(claim),
        "name": meta.name(claim),
        "uid": meta.uid(claim),
    }


def _storage_class(name: str, mode: str, annotations: dict[str, str]) -> Obj:
    return {
        "apiVersion": STORAGE_CLASS.api_version,
        "kind": STORAGE_CLASS.kind,
        "metadata": {"name": name, "annotations": annotations},
        "provisioner": kubernetes.PROVISIONER,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": mode,
        "allowVolumeExpansion": True,
    }
