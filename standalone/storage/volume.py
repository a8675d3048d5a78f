"""The storage classes of a yard and the PersistentVolume that a claim gets. Pure."""

from pathlib import Path
from typing import Any

from diskyard.api import meta, quantity
from diskyard.api.meta import CLAIM, STORAGE_CLASS, VOLUME, Obj
from diskyard.api.names import cdi, derived, kubernetes

RELEASED_BY = {"Delete": "Delete", "Retain": "Retain"}


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


def is_ours(obj: Obj, node: str) -> bool:
    """Whether a volume was made by this storage, on that node."""
    made_here = meta.annotations(obj).get(cdi.PROVISIONED_BY) == kubernetes.PROVISIONER
    terms = ((meta.spec(obj).get("nodeAffinity") or {}).get("required") or {}).get("nodeSelectorTerms") or ()
    hosts = [host for term in terms for rule in term.get("matchExpressions") or () for host in rule["values"]]
    return made_here and node in hosts


def is_block(obj: Obj) -> bool:
    """Whether a claim or a volume is a block device."""
    return meta.spec(obj).get("volumeMode") == "Block"


def volume(claim: Obj, storage_class: Obj, path: Path, node: str) -> Obj:
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
        "allowVolumeExpansion": False,
    }
