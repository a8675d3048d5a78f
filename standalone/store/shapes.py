"""The shapes of Kubernetes' own kinds: as much of their schemas as the yard reads. Other fields pass unseen."""

from collections.abc import Mapping
from typing import Any, Final

from diskyard.api.meta import (
    CLAIM,
    CONFIG_MAP,
    CRD,
    EVENT,
    POD,
    RESOURCE_QUOTA,
    SECRET,
    SERVICE,
    STORAGE_CLASS,
    VOLUME,
    Kind,
    Obj,
)
from standalone.store import rbac
from standalone.store.schema import Schema

_ACCESS_MODES: Final = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")


def _object(required: tuple[str, ...] = (), /, **properties: Any) -> Obj:
    return {"type": "object", "required": list(required), "properties": properties}


def _list(of: Obj) -> Obj:
    return {"type": "array", "items": of, "nullable": True}


def _one_of(*values: str) -> Obj:
    return {"type": "string", "enum": list(values)}


_STRING: Final = {"type": "string"}
_MAP: Final = {"type": "object", "nullable": True}
_TEXTS: Final = {"type": "object", "additionalProperties": _STRING, "nullable": True}
_SIZES: Final = {
    "type": "object",
    "additionalProperties": {"x-kubernetes-int-or-string": True},
    "nullable": True,
}
_CONTAINER: Final = _object(
    ("name",),
    name={"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "maxLength": 63},
    image=_STRING,
    command=_list(_STRING),
    args=_list(_STRING),
    env=_list(_object(("name",), name=_STRING, value=_STRING, valueFrom=_MAP)),
    volumeMounts=_list(_object(("name", "mountPath"), name=_STRING, mountPath=_STRING)),
    volumeDevices=_list(_object(("name", "devicePath"), name=_STRING, devicePath=_STRING)),
    ports=_list(
        _object(("containerPort",), containerPort={"type": "integer", "minimum": 1, "maximum": 65535})
    ),
)
_VOLUME_FIELDS: Final[Obj] = {
    "accessModes": _list(_one_of(*_ACCESS_MODES)),
    "volumeMode": _one_of("Block", "Filesystem"),
}
SHAPES: Final[Mapping[Kind, Schema]] = {
    **{kind: Schema(shape) for kind, shape in rbac.SHAPES.items()},
    POD: Schema(
        _object(
            ("spec",),
            spec=_object(
                containers=_list(_CONTAINER),
                initContainers=_list(_CONTAINER),
                volumes=_list(_object(("name",), name=_STRING)),
                restartPolicy=_one_of("Always", "OnFailure", "Never"),
                terminationGracePeriodSeconds={"type": "integer", "minimum": 0},
                nodeName=_STRING,
            ),
        )
    ),
    CLAIM: Schema(
        _object(
            ("spec",),
            spec=_object(
                **_VOLUME_FIELDS,
                resources=_object(requests=_SIZES, limits=_SIZES),
                storageClassName={"type": "string", "nullable": True},
                volumeName=_STRING,
            ),
        )
    ),
    VOLUME: Schema(_object(("spec",), spec=_object(**_VOLUME_FIELDS, capacity=_SIZES, claimRef=_MAP))),
    STORAGE_CLASS: Schema(
        _object(
            provisioner=_STRING,
            parameters=_TEXTS,
            reclaimPolicy=_one_of("Delete", "Retain"),
            volumeBindingMode=_one_of("Immediate", "WaitForFirstConsumer"),
        )
    ),
    SECRET: Schema(_object(data=_TEXTS, type=_STRING)),
    CONFIG_MAP: Schema(_object(data=_TEXTS, binaryData=_TEXTS)),
    RESOURCE_QUOTA: Schema(_object(spec=_object(hard=_SIZES, scopes=_list(_STRING), scopeSelector=_MAP))),
    EVENT: Schema(_object(involvedObject={"type": "object"})),
    SERVICE: Schema(_object(spec=_object(ports=_list(_object(("port",), port={"type": "integer"}))))),
    CRD: Schema(
        _object(
            ("spec",),
            spec=_object(
                ("group", "names", "scope", "versions"),
                group=_STRING,
                names=_object(("kind", "plural"), kind=_STRING, plural=_STRING),
                scope=_one_of("Cluster", "Namespaced"),
                versions=_list(
                    _object(
                        ("name", "served", "storage"),
                        name=_STRING,
                        served={"type": "boolean"},
                        storage={"type": "boolean"},
                        schema=_object(("openAPIV3Schema",), openAPIV3Schema={"type": "object"}),
                    )
                ),
            ),
        )
    ),
}
