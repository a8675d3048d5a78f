"""Kinds, keys and the metadata that every object has: read from and written to plain dicts. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

Obj = dict[str, Any]
"""An object exactly as on the wire."""


@dataclass(frozen=True)
class Kind:
    """A kind of object: how it is called, where it lives, in which versions it is served."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool = True
    short: tuple[str, ...] = ()
    older: tuple[str, ...] = ()
    """Versions that are served too, for old clients."""
    categories: tuple[str, ...] = ()

    @property
    def api_version(self) -> str:
        """`v1`, `cdi.kubevirt.io/v1beta1`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def singular(self) -> str:
        """The name in lower case, as kubectl prints it: `datavolume`."""
        return self.kind.lower()

    @property
    def resource(self) -> str:
        """`pods`, `datavolumes.cdi.kubevirt.io`: the name in error messages."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def __str__(self) -> str:
        return self.kind


@dataclass(frozen=True, order=True)
class Key:
    """Where an object is: its name, and its namespace (empty for what has none)."""

    name: str
    namespace: str = ""

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


@dataclass(frozen=True)
class Condition:
    """One entry of `status.conditions`, without its times."""

    type: str
    status: str
    reason: str = ""
    message: str = ""


NAMESPACE: Final = Kind("", "v1", "Namespace", "namespaces", namespaced=False, short=("ns",))
NODE: Final = Kind("", "v1", "Node", "nodes", namespaced=False, short=("no",))
POD: Final = Kind("", "v1", "Pod", "pods", short=("po",), categories=("all",))
CLAIM: Final = Kind("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", short=("pvc",))
VOLUME: Final = Kind("", "v1", "PersistentVolume", "persistentvolumes", namespaced=False, short=("pv",))
EVENT: Final = Kind("", "v1", "Event", "events", short=("ev",))
CONFIG_MAP: Final = Kind("", "v1", "ConfigMap", "configmaps", short=("cm",))
SECRET: Final = Kind("", "v1", "Secret", "secrets")
SERVICE: Final = Kind("", "v1", "Service", "services", short=("svc",), categories=("all",))
SERVICE_ACCOUNT: Final = Kind("", "v1", "ServiceAccount", "serviceaccounts", short=("sa",))
RESOURCE_QUOTA: Final = Kind("", "v1", "ResourceQuota", "resourcequotas", short=("quota",))
ENDPOINTS: Final = Kind("", "v1", "Endpoints", "endpoints", short=("ep",))
ENDPOINT_SLICE: Final = Kind("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices")
STORAGE_CLASS: Final = Kind(
    "storage.k8s.io", "v1", "StorageClass", "storageclasses", namespaced=False, short=("sc",)
)
CSI_DRIVER: Final = Kind("storage.k8s.io", "v1", "CSIDriver", "csidrivers", namespaced=False)
LEASE: Final = Kind("coordination.k8s.io", "v1", "Lease", "leases")
ROLE: Final = Kind("rbac.authorization.k8s.io", "v1", "Role", "roles")
ROLE_BINDING: Final = Kind("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings")
CLUSTER_ROLE: Final = Kind("rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles", namespaced=False)
CLUSTER_ROLE_BINDING: Final = Kind(
    "rbac.authorization.k8s.io", "v1", "ClusterRoleBinding", "clusterrolebindings", namespaced=False
)
VALIDATING_WEBHOOKS: Final = Kind(
    "admissionregistration.k8s.io", "v1", "ValidatingWebhookConfiguration", "validatingwebhookconfigurations",
    namespaced=False,
)  # fmt: skip
MUTATING_WEBHOOKS: Final = Kind(
    "admissionregistration.k8s.io", "v1", "MutatingWebhookConfiguration", "mutatingwebhookconfigurations",
    namespaced=False,
)  # fmt: skip
API_SERVICE: Final = Kind("apiregistration.k8s.io", "v1", "APIService", "apiservices", namespaced=False)
CRD: Final = Kind(
    "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions",
    namespaced=False, short=("crd", "crds"), categories=("api-extensions",),
)  # fmt: skip

CDI: Final = Kind(
    "cdi.kubevirt.io", "v1beta1", "CDI", "cdis", namespaced=False, short=("cdi",), older=("v1alpha1",)
)
CDI_CONFIG: Final = Kind(
    "cdi.kubevirt.io", "v1beta1", "CDIConfig", "cdiconfigs", namespaced=False, older=("v1alpha1",)
)
DATA_VOLUME: Final = Kind(
    "cdi.kubevirt.io", "v1beta1", "DataVolume", "datavolumes", short=("dv", "dvs"), older=("v1alpha1",),
    categories=("all",),
)  # fmt: skip
STORAGE_PROFILE: Final = Kind(
    "cdi.kubevirt.io", "v1beta1", "StorageProfile", "storageprofiles", namespaced=False
)
DATA_SOURCE: Final = Kind(
    "cdi.kubevirt.io", "v1beta1", "DataSource", "datasources", short=("das",), categories=("all",)
)
OBJECT_TRANSFER: Final = Kind(
    "cdi.kubevirt.io", "v1beta1", "ObjectTransfer", "objecttransfers", namespaced=False, short=("ot", "ots")
)
IMPORT_CRON: Final = Kind(
    "cdi.kubevirt.io",
    "v1beta1",
    "DataImportCron",
    "dataimportcrons",
    short=("dic", "dics"),
    categories=("all",),
)
IMPORT_SOURCE: Final = Kind("cdi.kubevirt.io", "v1beta1", "VolumeImportSource", "volumeimportsources")
UPLOAD_SOURCE: Final = Kind("cdi.kubevirt.io", "v1beta1", "VolumeUploadSource", "volumeuploadsources")
CLONE_SOURCE: Final = Kind("cdi.kubevirt.io", "v1beta1", "VolumeCloneSource", "volumeclonesources")
UPLOAD_TOKEN: Final = Kind(
    "upload.cdi.kubevirt.io", "v1beta1", "UploadTokenRequest", "uploadtokenrequests", short=("utr", "utrs"),
    older=("v1alpha1",),
)  # fmt: skip
"""Answered, never kept."""
KUBEVIRT: Final = Kind(
    "kubevirt.io", "v1", "KubeVirt", "kubevirts", short=("kv", "kvs"), older=("v1alpha3",),
    categories=("all",),
)  # fmt: skip
MACHINE: Final = Kind(
    "kubevirt.io", "v1", "VirtualMachine", "virtualmachines", short=("vm", "vms"), older=("v1alpha3",),
    categories=("all",),
)  # fmt: skip
INSTANCE: Final = Kind(
    "kubevirt.io", "v1", "VirtualMachineInstance", "virtualmachineinstances", short=("vmi", "vmis"),
    older=("v1alpha3",), categories=("all",),
)  # fmt: skip
REPLICA_SET: Final = Kind(
    "kubevirt.io", "v1", "VirtualMachineInstanceReplicaSet", "virtualmachineinstancereplicasets",
    short=("vmirs", "vmirss"), older=("v1alpha3",), categories=("all",),
)  # fmt: skip
MIGRATION: Final = Kind(
    "kubevirt.io", "v1", "VirtualMachineInstanceMigration", "virtualmachineinstancemigrations",
    short=("vmim", "vmims"), older=("v1alpha3",), categories=("all",),
)  # fmt: skip

SNAPSHOT_CLASS: Final = Kind(
    "snapshot.storage.k8s.io", "v1", "VolumeSnapshotClass", "volumesnapshotclasses", namespaced=False,
    short=("vsclass", "vsclasses"),
)  # fmt: skip
SNAPSHOT_CONTENT: Final = Kind(
    "snapshot.storage.k8s.io", "v1", "VolumeSnapshotContent", "volumesnapshotcontents", namespaced=False,
    short=("vsc", "vscs"),
)  # fmt: skip
SNAPSHOT: Final = Kind("snapshot.storage.k8s.io", "v1", "VolumeSnapshot", "volumesnapshots", short=("vs",))
INGRESS: Final = Kind("networking.k8s.io", "v1", "Ingress", "ingresses")
"""Of a cluster; a yard has none."""

CORE_KINDS: Final[tuple[Kind, ...]] = (
    NAMESPACE, NODE, POD, CLAIM, VOLUME, EVENT, CONFIG_MAP, SECRET, SERVICE, ENDPOINTS, SERVICE_ACCOUNT,
    RESOURCE_QUOTA, ENDPOINT_SLICE, STORAGE_CLASS, CSI_DRIVER, LEASE,
    ROLE, ROLE_BINDING, CLUSTER_ROLE, CLUSTER_ROLE_BINDING, CRD,
)  # fmt: skip
"""What a Kubernetes server has of itself, as far as we need it."""

OUR_KINDS: Final[tuple[Kind, ...]] = (
    CDI, CDI_CONFIG, DATA_VOLUME, STORAGE_PROFILE, DATA_SOURCE, IMPORT_CRON, IMPORT_SOURCE, UPLOAD_SOURCE, CLONE_SOURCE,
    KUBEVIRT, MACHINE, INSTANCE, REPLICA_SET, MIGRATION, OBJECT_TRANSFER,
)  # fmt: skip
"""What comes from the CRDs in charts/diskyard/crds."""

SNAPSHOT_KINDS: Final[tuple[Kind, ...]] = (SNAPSHOT_CLASS, SNAPSHOT_CONTENT, SNAPSHOT)
"""What comes from diskyard/crds/snapshots on a yard; on a cluster with its storage, or not at all."""

KINDS: Final[tuple[Kind, ...]] = CORE_KINDS + OUR_KINDS + SNAPSHOT_KINDS


def meta(obj: Obj) -> dict[str, Any]:
    """The object's metadata, as it stands; empty where there is none."""
    found = obj.get("metadata")
    return found if isinstance(found, dict) else {}


def key(obj: Obj) -> Key:
    """Where the object is."""
    return Key(str(meta(obj).get("name", "")), str(meta(obj).get("namespace", "") or ""))


def name(obj: Obj) -> str:
    """The object's name."""
    return str(meta(obj).get("name", ""))


def namespace(obj: Obj) -> str:
    """The object's namespace; empty for what has none."""
    return str(meta(obj).get("namespace", "") or "")


def uid(obj: Obj) -> str:
    """The object's uid."""
    return str(meta(obj).get("uid", ""))


def labels(obj: Obj) -> dict[str, str]:
    """The object's labels, as they stand."""
    return meta(obj).get("labels") or {}


def annotations(obj: Obj) -> dict[str, str]:
    """The object's annotations, as they stand."""
    return meta(obj).get("annotations") or {}


def deleting(obj: Obj) -> bool:
    """Whether someone asked for the object's deletion."""
    return bool(meta(obj).get("deletionTimestamp"))


def spec(obj: Obj) -> dict[str, Any]:
    """The object's spec, as it stands; empty where there is none."""
    found = obj.get("spec")
    return found if isinstance(found, dict) else {}


def status(obj: Obj) -> dict[str, Any]:
    """The object's status, as it stands; empty where there is none."""
    found = obj.get("status")
    return found if isinstance(found, dict) else {}


def phase(obj: Obj) -> str:
    """The object's `status.phase`; empty where there is none."""
    return str(status(obj).get("phase") or "")


def controller_of(obj: Obj) -> Mapping[str, Any] | None:
    """The one owner reference that says `controller: true`."""
    return next((ref for ref in meta(obj).get("ownerReferences") or () if ref.get("controller")), None)


def owned_by(obj: Obj, owner: Obj) -> bool:
    """Whether `owner` controls `obj`."""
    ref = controller_of(obj)
    return ref is not None and ref.get("uid") == uid(owner)


def owner_reference(kind: Kind, owner: Obj) -> dict[str, Any]:
    """The reference by which `owner` controls what it makes."""
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "name": name(owner),
        "uid": uid(owner),
        "controller": True,
        "blockOwnerDeletion": True,
    }


def finalizers(obj: Obj) -> list[str]:
    """What is still to be done before the object may go, as it stands."""
    return list(meta(obj).get("finalizers") or ())


def condition(obj: Obj, type_: str) -> dict[str, Any] | None:
    """The condition of that type, as it stands."""
    return next((c for c in status(obj).get("conditions") or () if c.get("type") == type_), None)


def holds(obj: Obj, type_: str) -> bool:
    """Whether the condition of that type stands there and is True."""
    return (condition(obj, type_) or {}).get("status") == "True"


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC with whole seconds, as Kubernetes writes times."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(text: str) -> datetime:
    """The time that an RFC 3339 text says, also with a fraction of a second."""
    return datetime.fromisoformat(text)
