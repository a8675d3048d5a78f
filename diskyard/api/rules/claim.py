"""Admission of claims, as far as a Kubernetes server decides it: defaults, and what can never work. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from diskyard.api import meta, quantity
from diskyard.api.meta import Obj
from diskyard.api.names import kubernetes
from diskyard.api.storage import ACCESS_MODES, BLOCK, FILESYSTEM, StorageClass, default_class
from diskyard.errors import Cause, InvalidRequest

_IMMUTABLE: Final = (
    "Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound "
    "claims"
)


@dataclass(frozen=True)
class Facts:
    """What had to be looked up."""

    classes: tuple[StorageClass, ...] = ()


def defaults(obj: Obj, facts: Facts) -> Obj:
    """The claim as it is stored: the default class where none is named, a file system where no mode is."""
    spec = {"volumeMode": FILESYSTEM, **meta.spec(obj)}
    if spec.get("storageClassName") is None and kubernetes.CLASS_ANNOTATION not in meta.annotations(obj):
        chosen = default_class(facts.classes, virt=False)
        spec |= {"storageClassName": chosen.name} if chosen else {}
    return {**obj, "spec": spec}


def causes(obj: Obj, old: Obj | None) -> Sequence[Cause]:
    """What is wrong with a claim; nothing: it is admitted."""
    kept = (*_frozen(meta.spec(obj), meta.spec(old)), *_sized(obj, old)) if old else ()
    return (*_shape(meta.spec(obj)), *kept)


def stays(obj: Obj, old: Obj, facts: Facts) -> str:
    """Why a bound claim does not get more than it has; empty: it may. Kubernetes' PersistentVolumeClaimResize."""
    if _requested(obj) <= _requested(old):
        return ""
    name, before = _class_name(obj), _class_name(old)
    if name and name == before and any(one.expands for one in facts.classes if one.name == name):
        return ""
    return (
        "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support "
        "resize"
    )


def _class_name(obj: Obj) -> str:
    """The class that a claim asks for, in either of the two places for it; empty: none."""
    old = meta.annotations(obj).get(kubernetes.CLASS_ANNOTATION)
    return str(meta.spec(obj).get("storageClassName") or old or "")


def _requested(obj: Obj) -> int:
    wanted = ((meta.spec(obj).get("resources") or {}).get("requests") or {}).get("storage", 0)
    return quantity.parse(wanted)


def _shape(spec: Obj) -> Iterable[Cause]:
    modes = spec.get("accessModes") or ()
    if not modes:
        yield Cause(
            "Required value: at least 1 access mode is required", "spec.accessModes", "FieldValueRequired"
        )
    for mode in modes:
        if mode not in ACCESS_MODES:
            known = ", ".join(f'"{each}"' for each in ACCESS_MODES)
            text = f'Unsupported value: "{mode}": supported values: {known}'
            yield Cause(text, "spec.accessModes", "FieldValueNotSupported")
    if spec.get("volumeMode") not in (None, FILESYSTEM, BLOCK):
        text = f'Unsupported value: "{spec["volumeMode"]}": supported values: "{BLOCK}", "{FILESYSTEM}"'
        yield Cause(text, "spec.volumeMode", "FieldValueNotSupported")
    yield from _size(spec)


def _size(spec: Obj) -> Iterable[Cause]:
    field = "spec.resources.requests.storage"
    requests = (spec.get("resources") or {}).get("requests") or {}
    if "storage" not in requests:
        yield Cause("Required value", field, "FieldValueRequired")
        return
    try:
        if quantity.value(requests["storage"]) <= 0:
            yield Cause(f'Invalid value: "{requests["storage"]}": must be greater than zero', field)
    except InvalidRequest as wrong:
        yield Cause(str(wrong), field)


def _sized(obj: Obj, old: Obj) -> Iterable[Cause]:
    """A claim asks for more only once it is bound, and never for less than it has."""
    wanted, before = ((meta.spec(one).get("resources") or {}).get("requests") or {} for one in (obj, old))
    if wanted == before or "storage" not in wanted:
        return
    if meta.phase(old) != "Bound":
        yield Cause(_IMMUTABLE, "spec", "FieldValueForbidden")
        return
    has = (meta.status(old).get("capacity") or {}).get("storage", "0")
    try:
        less = quantity.value(wanted["storage"]) < quantity.value(has)
    except InvalidRequest:
        return
    if less:
        told = "Forbidden: field can not be less than status.capacity"
        yield Cause(told, "spec.resources.requests.storage", "FieldValueForbidden")


def _frozen(spec: Obj, old: Obj) -> Iterable[Cause]:
    """A bound claim may only grow; its binding is set once."""
    for name in ("accessModes", "volumeMode", "selector"):
        if spec.get(name) != old.get(name):
            yield Cause(_IMMUTABLE, f"spec.{name}", "FieldValueForbidden")
    for name in ("volumeName", "storageClassName"):
        if old.get(name) and spec.get(name) != old.get(name):
            yield Cause("Invalid value: field is immutable once set", f"spec.{name}")
