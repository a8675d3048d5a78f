"""The columns of the core kinds, as users of kubectl know them. Pure."""

from typing import Any

from diskyard.api import meta
from diskyard.api.meta import Obj
from diskyard.api.names import cdi as names
from diskyard.api.names.kubernetes import ROLE_LABEL
from standalone.wire.catalogue import Resource
from standalone.wire.places import endpoints, slice_addresses, slice_ports
from standalone.wire.pods import ready, restarts, state
from standalone.wire.table import AGE, NAME, NONE, UNKNOWN, Cell, Column, age, of_definition

_MODES = {
    "ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP",
}  # fmt: skip
_UNSET = "<unset>"


def columns(resource: Resource) -> tuple[Column, ...]:
    """The columns of a resource's Table."""
    if resource.schema is not None:
        return of_definition(resource.columns)
    return _COLUMNS.get(resource.kind.kind, (NAME, AGE))


def _at(*path: str, missing: Any = NONE) -> Cell:
    def cell(obj: Obj) -> Any:
        value: Any = obj
        for field in path:
            value = value.get(field) if isinstance(value, dict) else None
        return missing if value in (None, "") else value

    return cell


def _modes(obj: Obj) -> str:
    of = meta.status(obj) if meta.status(obj).get("accessModes") else meta.spec(obj)
    return ",".join(_MODES.get(str(mode), str(mode)) for mode in of.get("accessModes") or ())


def _claim_modes(obj: Obj) -> str:
    return _modes(obj) if meta.spec(obj).get("volumeName") else ""


def _claim_capacity(obj: Obj) -> str:
    bound = meta.spec(obj).get("volumeName")
    return str((meta.status(obj).get("capacity") or {}).get("storage", "")) if bound else ""


def _phase(obj: Obj) -> str:
    return "Terminating" if meta.deleting(obj) else str(meta.status(obj).get("phase") or UNKNOWN)


def _quota(*, limits: bool) -> Cell:
    def cell(obj: Obj) -> str:
        hard, used = (meta.status(obj).get(side) or {} for side in ("hard", "used"))
        chosen = [name for name in sorted(hard) if name.startswith("limits.") is limits]
        return ", ".join(f"{name}: {used.get(name, 0)}/{hard[name]}" for name in chosen)

    return cell


def _claim(obj: Obj) -> str:
    ref = meta.spec(obj).get("claimRef") or {}
    return f"{ref.get('namespace', '')}/{ref.get('name', '')}" if ref else ""


def _class(obj: Obj) -> str:
    default = meta.annotations(obj).get(names.DEFAULT_CLASS) == "true"
    return f"{meta.name(obj)} (default)" if default else meta.name(obj)


def _last_seen(obj: Obj) -> str:
    series = obj.get("series") or {}
    times = (series.get("lastObservedTime"), obj.get("lastTimestamp"), obj.get("eventTime"))
    return age(next((time for time in times if time), None))


def _first_seen(obj: Obj) -> str:
    return age(obj.get("firstTimestamp") or obj.get("eventTime"))


def _about(obj: Obj) -> str:
    ref = obj.get("involvedObject") or {}
    return f"{str(ref.get('kind', '')).lower()}/{ref.get('name', '')}"


def _source(obj: Obj) -> str:
    source = obj.get("source") or {}
    parts = (source.get("component") or obj.get("reportingComponent"), source.get("host"))
    return ", ".join(str(part) for part in parts if part)


def _node_state(obj: Obj) -> str:
    ready_ = meta.condition(obj, "Ready")
    state_ = {"True": "Ready", "False": "NotReady"}.get(str((ready_ or {}).get("status")), "Unknown")
    return f"{state_},SchedulingDisabled" if meta.spec(obj).get("unschedulable") else state_


def _roles(obj: Obj) -> str:
    roles = (label.removeprefix(ROLE_LABEL) for label in meta.labels(obj) if label.startswith(ROLE_LABEL))
    return ",".join(sorted(roles)) or NONE


def _address(kind: str) -> Cell:
    def cell(obj: Obj) -> str:
        known = meta.status(obj).get("addresses") or ()
        return next((str(a.get("address")) for a in known if a.get("type") == kind), NONE)

    return cell


def _external(obj: Obj) -> str:
    return ",".join(map(str, meta.spec(obj).get("externalIPs") or ())) or NONE


def _ports(obj: Obj) -> str:
    ports = meta.spec(obj).get("ports") or ()
    return ",".join(f"{p.get('port')}/{p.get('protocol', 'TCP')}" for p in ports) or NONE


def _pairs(*path: str) -> Cell:
    def cell(obj: Obj) -> str:
        found = _at(*path, missing={})(obj)
        return ",".join(f"{name}={value}" for name, value in sorted(found.items())) or NONE

    return cell


def _entries(obj: Obj) -> int:
    return len(obj.get("data") or ()) + len(obj.get("binaryData") or ())


def _role(obj: Obj) -> str:
    ref = obj.get("roleRef") or {}
    return f"{ref.get('kind', '')}/{ref.get('name', '')}"


def _subjects(*kinds: str) -> Cell:
    def cell(obj: Obj) -> str:
        found = (one for one in obj.get("subjects") or () if one.get("kind") in kinds)
        return ", ".join(
            f"{one['namespace']}/{one['name']}" if one.get("namespace") else str(one["name"]) for one in found
        )

    return cell


def _served(obj: Obj) -> Any:
    return meta.meta(obj).get("creationTimestamp")


def _wide(name: str, cell: Cell) -> Column:
    return Column(name, cell, wide=True)


_BINDING = (
    NAME, Column("Role", _role), AGE, _wide("Users", _subjects("User")), _wide("Groups", _subjects("Group")),
    _wide("ServiceAccounts", _subjects("ServiceAccount")),
)  # fmt: skip
_ROLE = (NAME, Column("Created At", _served))
_COLUMNS: dict[str, tuple[Column, ...]] = {
    "Namespace": (NAME, Column("Status", _phase), AGE),
    "Node": (
        NAME, Column("Status", _node_state), Column("Roles", _roles), AGE,
        Column("Version", _at("status", "nodeInfo", "kubeletVersion")),
        _wide("Internal-IP", _address("InternalIP")), _wide("External-IP", _address("ExternalIP")),
        _wide("OS-Image", _at("status", "nodeInfo", "osImage", missing=UNKNOWN)),
        _wide("Kernel-Version", _at("status", "nodeInfo", "kernelVersion", missing=UNKNOWN)),
        _wide("Container-Runtime", _at("status", "nodeInfo", "containerRuntimeVersion", missing=UNKNOWN)),
    ),
    "Pod": (
        NAME, Column("Ready", ready), Column("Status", state), Column("Restarts", restarts), AGE,
        _wide("IP", _at("status", "podIP")), _wide("Node", _at("spec", "nodeName")),
        _wide("Nominated Node", _at("status", "nominatedNodeName")), _wide("Readiness Gates", lambda _: NONE),
    ),
    "PersistentVolumeClaim": (
        NAME, Column("Status", _phase), Column("Volume", _at("spec", "volumeName", missing="")),
        Column("Capacity", _claim_capacity), Column("Access Modes", _claim_modes),
        Column("StorageClass", _at("spec", "storageClassName", missing="")),
        Column("VolumeAttributesClass", _at("spec", "volumeAttributesClassName", missing=_UNSET)), AGE,
        _wide("VolumeMode", _at("spec", "volumeMode", missing=_UNSET)),
    ),
    "PersistentVolume": (
        NAME, Column("Capacity", _at("spec", "capacity", "storage", missing="")), Column("Access Modes", _modes),
        Column("Reclaim Policy", _at("spec", "persistentVolumeReclaimPolicy", missing="")),
        Column("Status", _phase), Column("Claim", _claim),
        Column("StorageClass", _at("spec", "storageClassName", missing="")),
        Column("VolumeAttributesClass", _at("spec", "volumeAttributesClassName", missing=_UNSET)),
        Column("Reason", _at("status", "reason", missing="")), AGE,
        _wide("VolumeMode", _at("spec", "volumeMode", missing=_UNSET)),
    ),
    "ResourceQuota": (NAME, Column("Request", _quota(limits=False)), Column("Limit", _quota(limits=True)), AGE),
    "Event": (
        Column("Last Seen", _last_seen), Column("Type", _at("type", missing="")),
        Column("Reason", _at("reason", missing="")), Column("Object", _about),
        _wide("Subobject", _at("involvedObject", "fieldPath", missing="")), _wide("Source", _source),
        Column("Message", lambda obj: str(obj.get("message", "")).strip()),
        _wide("First Seen", _first_seen), _wide("Count", lambda obj: obj.get("count") or 1),
        _wide("Name", meta.name),
    ),
    "ConfigMap": (NAME, Column("Data", _entries, "integer"), AGE),
    "Secret": (NAME, Column("Type", _at("type", missing="")), Column("Data", _entries, "integer"), AGE),
    "Service": (
        NAME, Column("Type", _at("spec", "type", missing="")), Column("Cluster-IP", _at("spec", "clusterIP")),
        Column("External-IP", _external), Column("Port(s)", _ports), AGE, _wide("Selector", _pairs("spec", "selector")),
    ),
    "Endpoints": (NAME, Column("Endpoints", endpoints), AGE),
    "EndpointSlice": (
        NAME, Column("AddressType", _at("addressType", missing="")), Column("Ports", slice_ports),
        Column("Endpoints", slice_addresses), AGE,
    ),
    "ServiceAccount": (NAME, Column("Secrets", lambda obj: len(obj.get("secrets") or ()), "integer"), AGE),
    "StorageClass": (
        Column("Name", _class), Column("Provisioner", _at("provisioner", missing="")),
        Column("ReclaimPolicy", _at("reclaimPolicy", missing="Delete")),
        Column("VolumeBindingMode", _at("volumeBindingMode", missing="Immediate")),
        Column("AllowVolumeExpansion", lambda obj: bool(obj.get("allowVolumeExpansion")), "boolean"), AGE,
    ),
    "CSIDriver": (
        NAME, Column("AttachRequired", _at("spec", "attachRequired", missing=True), "boolean"),
        Column("StorageCapacity", _at("spec", "storageCapacity", missing=False), "boolean"), AGE,
    ),
    "Role": _ROLE, "ClusterRole": _ROLE, "RoleBinding": _BINDING, "ClusterRoleBinding": _BINDING,
    "Lease": (NAME, Column("Holder", _at("spec", "holderIdentity", missing="")), AGE),
    "CustomResourceDefinition": (NAME, Column("Created At", _served, "date")),
}  # fmt: skip
