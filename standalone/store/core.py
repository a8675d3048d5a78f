"""Kubernetes' own kinds, as far as the yard needs them: what the server fills in and what it refuses. Pure.

Messages are Kubernetes' own (`pkg/apis/core/validation`).
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from diskyard.api import meta, quantity
from diskyard.api.meta import (
    CLAIM,
    CONFIG_MAP,
    CRD,
    EVENT,
    NAMESPACE,
    POD,
    RESOURCE_QUOTA,
    SECRET,
    SERVICE,
    STORAGE_CLASS,
    VOLUME,
    Kind,
    Obj,
)
from diskyard.api.names import kubernetes
from diskyard.api.names.cdi import CLAIM_PROTECTION
from diskyard.api.pod import quality
from diskyard.errors import Cause, InvalidRequest
from standalone.store import admitted, quota, rbac, rules, served, validations
from standalone.store.shapes import SHAPES

_DATA: Final = ("data", "binaryData")
TEXTS: Final[Mapping[Kind, Sequence[str]]] = {
    SECRET: (*_DATA, "stringData"), CONFIG_MAP: _DATA, STORAGE_CLASS: ("parameters",),
}  # fmt: skip
"""Which fields are maps of texts."""
_ENTRY: Final = re.compile(r"[-._a-zA-Z0-9]+")
_LARGEST: Final = 1 << 20
_POD_MAY_CHANGE: Final = (
    "nodeName", "activeDeadlineSeconds", "terminationGracePeriodSeconds", "tolerations", "schedulingGates",
)  # fmt: skip
_CLAIM_MAY_CHANGE: Final = ("resources", "volumeAttributesClassName")
_ALONE: Final = "ReadWriteOncePod"
_CLAIM_MAY_SET: Final = ("volumeName", "storageClassName", "volumeMode")


def begun(kind: Kind, obj: Obj) -> Obj:
    """What the server itself writes into a new object."""
    if kind == NAMESPACE:
        obj["spec"] = {**meta.spec(obj), "finalizers": [kubernetes.NAMESPACE_FINALIZER]}
        obj["status"] = {"phase": "Active"}
    if kind in (POD, CLAIM, VOLUME):
        obj["status"] = {"phase": "Pending"}
    if kind == POD:
        obj["spec"] = admitted.pod(meta.spec(obj))
        obj["status"] |= {"qosClass": quality(meta.spec(obj))}
    if kind == SERVICE:
        obj["spec"] = admitted.service(meta.spec(obj))
        obj["status"] = {"loadBalancer": {}}
    if kind == CLAIM:
        finalizers = meta.finalizers(obj)
        obj["metadata"]["finalizers"] = [*(f for f in finalizers if f != CLAIM_PROTECTION), CLAIM_PROTECTION]
    if kind == CRD:
        obj["metadata"]["finalizers"] = [kubernetes.CRD_FINALIZER]
        obj["status"] = served.established(obj)
    return obj


def defaulted(kind: Kind, obj: Obj) -> Obj:
    """The object with Kubernetes' defaults where fields are missing."""
    if kind == SECRET:
        obj = _secret(obj)
    if kind in (SECRET, CONFIG_MAP):
        return {field: value for field, value in obj.items() if value not in (None, {}) or field not in _DATA}
    if kind in rbac.KINDS:
        return rbac.defaulted(kind, obj)
    if kind == NAMESPACE:
        labels = {**meta.labels(obj), kubernetes.NAMESPACE_NAME_LABEL: meta.name(obj)}
        return {**obj, "metadata": {**meta.meta(obj), "labels": labels}}
    defaults = _DEFAULTS.get(kind, {})
    top = {field: value for field, value in defaults.items() if field != "spec"}
    spec = defaults.get("spec")
    result = {**obj, **{field: value for field, value in top.items() if obj.get(field) is None}}
    if spec and isinstance(result.get("spec"), dict):
        result["spec"] = {**spec, **{f: v for f, v in result["spec"].items() if v is not None}}
        if kind == POD:
            result["spec"] = _pod_spec(result["spec"])
        if kind == SERVICE:
            result["spec"] = _service_spec(result["spec"])
    return result


def causes(kind: Kind, obj: Obj, old: Obj | None) -> list[Cause]:
    """What is wrong with an object of one of Kubernetes' own kinds."""
    if kind in rbac.KINDS:
        return shape(kind, obj) or list(rbac.causes(kind, obj, old))
    rules = _RULES.get(kind)
    return shape(kind, obj) or (list(rules(obj, old)) if rules else [])


def shape(kind: Kind, obj: Obj) -> list[Cause]:
    """What has the wrong type in an object of one of Kubernetes' own kinds."""
    return SHAPES[kind].causes(obj) if kind in SHAPES else []


def _pod_spec(spec: Obj) -> Obj:
    for field in ("containers", "initContainers"):
        if isinstance(spec.get(field), list):
            spec[field] = [_container(one) if isinstance(one, dict) else one for one in spec[field]]
    return spec


def _service_spec(spec: Obj) -> Obj:
    """Ports complete; of the addresses, `admitted` decides."""
    ports = [
        _port(port) | {"targetPort": port.get("targetPort") or port["port"]}
        for port in spec.get("ports") or ()
    ]
    if spec.get("type") != "ExternalName":
        spec.setdefault("internalTrafficPolicy", "Cluster")
    return {**spec, "ports": ports} if ports else spec


def _container(container: Obj) -> Obj:
    image = str(container.get("image") or "")
    moving = "@" not in image and image.rpartition("/")[2].partition(":")[2] in ("", "latest")
    return {
        "imagePullPolicy": "Always" if moving else "IfNotPresent",
        "resources": {},
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        **container,
        **({"ports": [_port(port) for port in ports]} if (ports := container.get("ports")) else {}),
    }


def _port(port: Obj) -> Obj:
    return {**port, "protocol": port.get("protocol") or "TCP"}


def _secret(obj: Obj) -> Obj:
    """A Secret with `stringData` taken into `data`."""
    told = obj.get("stringData")
    result = {field: value for field, value in obj.items() if field != "stringData"}
    result["type"] = obj.get("type") or "Opaque"
    if isinstance(told, dict) and told:
        encoded = {name: base64.b64encode(str(text).encode()).decode() for name, text in told.items()}
        result["data"] = {**(obj.get("data") or {}), **encoded}
    return result


def _pod(pod: Obj, old: Obj | None) -> Iterator[Cause]:
    spec = meta.spec(pod)
    volumes = [volume["name"] for volume in spec.get("volumes") or ()]
    yield from _unique(volumes, "spec.volumes[{}].name")
    if not spec.get("containers"):
        yield _required("spec.containers")
    names = []
    for field in ("initContainers", "containers"):
        for i, container in enumerate(spec.get(field) or ()):
            place = f"spec.{field}[{i}]"
            names.append(container["name"])
            if names.count(container["name"]) > 1:
                yield Cause(f'Duplicate value: "{names[-1]}"', f"{place}.name", "FieldValueDuplicate")
            if not container.get("image"):
                yield _required(f"{place}.image")
            for j, mount in enumerate(container.get("volumeMounts") or ()):
                if mount["name"] not in volumes:
                    field_name = f"{place}.volumeMounts[{j}].name"
                    yield Cause(f'Not found: "{mount["name"]}"', field_name, "FieldValueNotFound")
    if old is not None and _fixed_pod_spec(pod) != _fixed_pod_spec(old):
        yield Cause(
            "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
            "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to "
            "existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was "
            "previously negative)",
            "spec",
            "FieldValueForbidden",
        )


def _fixed_pod_spec(pod: Obj) -> Obj:
    spec = {field: value for field, value in meta.spec(pod).items() if field not in _POD_MAY_CHANGE}
    for field in ("containers", "initContainers"):
        spec[field] = [{**one, "image": "", "imagePullPolicy": ""} for one in spec.get(field) or ()]
    return spec


def _claim(claim: Obj, old: Obj | None) -> Iterator[Cause]:
    spec = meta.spec(claim)
    modes = spec.get("accessModes") or []
    if not modes:
        yield _required("spec.accessModes", ": at least 1 access mode is required")
    if _ALONE in modes and len(modes) > 1:
        told = f"Forbidden: may not use {_ALONE} with other access modes"
        yield Cause(told, "spec.accessModes", "FieldValueForbidden")
    if spec.get("storageClassName"):
        yield from rules.subdomain(spec["storageClassName"], "spec.storageClassName")
    asked = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    if asked is None:
        yield _required("spec.resources[storage]")
    else:
        yield from _size(asked, "spec.resources[storage]")
    if old is None:
        return
    was = meta.spec(old)
    bound = meta.phase(old) == "Bound"
    if _fixed_claim_spec(spec, was, bound=bound) != _fixed_claim_spec(was, was, bound=bound):
        yield Cause(
            "Forbidden: spec is immutable after creation except resources.requests and "
            "volumeAttributesClassName for bound claims",
            "spec",
            "FieldValueForbidden",
        )
    elif asked is not None and quantity.value(asked) < quantity.value(
        was["resources"]["requests"]["storage"]
    ):
        yield Cause(
            "Forbidden: field can not be less than status.capacity",
            "spec.resources.requests.storage",
            "FieldValueForbidden",
        )


def _fixed_claim_spec(spec: Obj, was: Obj, *, bound: bool) -> Obj:
    loose = {
        *(_CLAIM_MAY_CHANGE if bound else ()),
        *(field for field in _CLAIM_MAY_SET if not was.get(field)),
    }
    return {field: value for field, value in spec.items() if field not in loose}


def _volume(volume: Obj, old: Obj | None) -> Iterator[Cause]:
    spec = meta.spec(volume)
    if not spec.get("accessModes"):
        yield _required("spec.accessModes")
    size = (spec.get("capacity") or {}).get("storage")
    if size is None:
        yield _required("spec.capacity")
    else:
        yield from _size(size, "spec.capacity[storage]")
    if not any(
        isinstance(spec.get(kind), dict) for kind in ("local", "hostPath", "csi", "nfs", "iscsi", "rbd", "fc")
    ):
        yield _required("spec", ": must specify a volume type")
    if old is not None and meta.spec(old).get("volumeMode") != spec.get("volumeMode"):
        yield Cause("Invalid value: field is immutable", "spec.volumeMode")


def _storage_class(obj: Obj, old: Obj | None) -> Iterator[Cause]:
    if not obj.get("provisioner"):
        yield _required("provisioner")
    for field in ("provisioner", "parameters", "reclaimPolicy", "volumeBindingMode"):
        if old is not None and old.get(field) != obj.get(field):
            yield Cause(f"Forbidden: updates to {field} are forbidden.", field, "FieldValueForbidden")


def _entries(obj: Obj, old: Obj | None) -> Iterator[Cause]:
    """ConfigMaps and Secrets."""
    size = 0
    for field in ("data", "binaryData"):
        for name, text in (obj.get(field) or {}).items():
            size += len(text)
            if not _ENTRY.fullmatch(name):
                yield Cause(
                    f'Invalid value: "{name[:300]}": a valid config key must consist of alphanumeric characters, '
                    "'-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation "
                    "is '[-._a-zA-Z0-9]+')",
                    f"{field}[{name[:300]}]",
                )
            if (obj["kind"] == "Secret" or field == "binaryData") and not _is_base64(text):
                yield Cause("Invalid value: illegal base64 data", f"{field}[{name}]")
    if size > _LARGEST * 4 // 3:
        yield Cause(f"Too long: may not be more than {_LARGEST} bytes", "data", "FieldValueTooLong")
    for name in (obj.get("data") or {}).keys() & (obj.get("binaryData") or {}).keys():
        yield Cause(f'Invalid value: "{name}": duplicate of key present in binaryData', f"data[{name}]")
    if old is None:
        return
    if old.get("immutable"):
        for field in ("immutable", "data", "binaryData"):
            if old.get(field) != obj.get(field):
                told = "Forbidden: field is immutable when `immutable` is set"
                yield Cause(told, field, "FieldValueForbidden")
    if old.get("type") != obj.get("type"):
        yield Cause(f'Invalid value: "{obj.get("type")}": field is immutable', "type")


def _definition(crd: Obj, old: Obj | None) -> Iterator[Cause]:
    spec = meta.spec(crd)
    if meta.name(crd) != f"{spec['names']['plural']}.{spec['group']}":
        told = f'Invalid value: "{meta.name(crd)}": must be spec.names.plural+"."+spec.group'
        yield Cause(told, "metadata.name")
    for index, version in enumerate(spec.get("versions") or ()):
        if not (version.get("schema") or {}).get("openAPIV3Schema"):
            yield _required(f"spec.versions[{index}].schema.openAPIV3Schema")
    yield from _unreadable(spec, meta.spec(old or {}))


def _unreadable(spec: Obj, old: Obj) -> Iterator[Cause]:
    """New rules that cannot be read; a schema that all versions share is named as such, as a real server does."""
    known = [version.get("schema") for version in old.get("versions") or ()]
    schemas = [version.get("schema") or {} for version in spec.get("versions") or ()]
    shared = all(schema == schemas[0] for schema in schemas)
    for index, schema in enumerate(schemas[:1] if shared else schemas):
        place = "spec.validation" if shared else f"spec.versions[{index}].schema"
        if schema not in known:
            yield from validations.unreadable(schema.get("openAPIV3Schema") or {}, f"{place}.openAPIV3Schema")


def _event(event: Obj, old: Obj | None) -> Iterator[Cause]:
    about = (event.get("involvedObject") or {}).get("namespace") or "default"
    if old is None and about != meta.namespace(event):
        yield Cause(f'Invalid value: "{about}": does not match event.namespace', "involvedObject.namespace")


def _unique(names: list[str], field: str) -> Iterator[Cause]:
    for i, name in enumerate(names):
        if name in names[:i]:
            yield Cause(f'Duplicate value: "{name}"', field.format(i), "FieldValueDuplicate")


def _size(text: Any, field: str) -> Iterator[Cause]:
    try:
        size = quantity.value(text)
    except InvalidRequest as error:
        yield Cause(f'Invalid value: "{text}": {error}', field)
        return
    if size <= 0:
        yield Cause(f'Invalid value: "{text}": must be greater than zero', field)


def _required(field: str, more: str = "") -> Cause:
    return Cause(f"Required value{more}", field, "FieldValueRequired")


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    return True


_RULES: Final[Mapping[Kind, Callable[[Obj, Obj | None], Iterator[Cause]]]] = {
    POD: _pod, CLAIM: _claim, VOLUME: _volume, STORAGE_CLASS: _storage_class, CONFIG_MAP: _entries,
    SECRET: _entries, EVENT: _event, RESOURCE_QUOTA: quota.causes, CRD: _definition,
}  # fmt: skip

_DEFAULTS: Final[Mapping[Kind, Obj]] = {
    POD: {"spec": {
        "restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst",
        "securityContext": {}, "schedulerName": "default-scheduler", "enableServiceLinks": True,
    }},
    CLAIM: {"spec": {"volumeMode": "Filesystem"}},
    VOLUME: {"spec": {"volumeMode": "Filesystem", "persistentVolumeReclaimPolicy": "Retain"}},
    SERVICE: {"spec": {"type": "ClusterIP", "sessionAffinity": "None"}},
    STORAGE_CLASS: {"reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"},
}  # fmt: skip
