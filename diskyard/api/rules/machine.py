"""Admission of machines: what is filled in, and what is refused, in KubeVirt's words. Pure."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from diskyard.api import meta
from diskyard.api.instance import part, parts, volumes
from diskyard.api.machine import Strategy
from diskyard.api.meta import Obj
from diskyard.api.rules import datavolume, instance
from diskyard.api.rules.instance_defaults import ARCHITECTURE, MACHINE
from diskyard.api.settings import UNSET, Settings
from diskyard.errors import Cause

EXCLUSIVE: Final = (
    "Running and RunStrategy are mutually exclusive. Note that Running is deprecated, please use RunStrategy "
    "instead"
)
OLD_SWITCH: Final = "spec.running is deprecated, please use spec.runStrategy instead."
REPLACEMENT: Final = "Replacement"
TEMPLATES: Final = "spec.dataVolumeTemplate"


def defaults(obj: Obj, settings: Settings = UNSET) -> Obj:
    """The machine with its board fixed, so that it stays the same for all its instances."""
    template = part(meta.spec(obj), "template")
    if not template:
        return obj
    found = copy.deepcopy(obj)
    spec = found["spec"]["template"].setdefault("spec", {})
    domain = spec.setdefault("domain", {})
    spec["architecture"] = spec.get("architecture") or ARCHITECTURE
    domain["machine"] = {
        **part(domain, "machine"),
        "type": part(domain, "machine").get("type") or settings.machine or MACHINE,
    }
    return found


def causes(obj: Obj, old: Obj | None, settings: Settings = UNSET) -> Sequence[Cause]:
    """What is wrong with a machine; `old` as it is stored. What has not been changed is not judged again."""
    if old is not None and meta.spec(old) == meta.spec(obj):
        return ()
    return tuple(_causes(obj, settings))


def advice(obj: Obj) -> Sequence[str]:
    """What the author of a machine is told, though it is admitted."""
    return (OLD_SWITCH,) if meta.spec(obj).get("running") is not None else ()


def _causes(obj: Obj, settings: Settings) -> Iterator[Cause]:
    spec = meta.spec(obj)
    yield from _strategy(spec)
    if spec.get("instancetype") or spec.get("preference"):
        field = "spec.instancetype" if spec.get("instancetype") else "spec.preference"
        yield Cause(f"{field} is not supported yet", field, "FieldValueNotSupported")
    if spec.get("updateVolumesStrategy") not in (None, "", REPLACEMENT):
        text = (
            f"spec.updateVolumesStrategy {spec['updateVolumesStrategy']} is not supported yet, for it is a live "
            f"migration: {REPLACEMENT} is, by which other volumes come at the next start"
        )
        yield Cause(text, "spec.updateVolumesStrategy", "FieldValueNotSupported")
    template = part(spec, "template")
    if not template:
        yield Cause("missing virtual machine template.", "spec.template", "FieldValueRequired")
        return
    yield from instance.label_causes(meta.labels(template), {}, "spec.template.metadata")
    wanted = instance.spec_defaults(part(template, "spec"), settings)
    yield from instance.spec_causes(wanted, "spec.template.spec", settings)
    yield from _templates(obj, part(template, "spec"))


def _strategy(spec: Obj) -> Iterator[Cause]:
    running, strategy = spec.get("running"), spec.get("runStrategy")
    if running is not None and strategy is not None:
        yield Cause(EXCLUSIVE, "spec.running")
    elif running is None and strategy is None:
        yield Cause("RunStrategy must be specified", "spec.runStrategy", "FieldValueRequired")
    elif strategy == "WaitAsReceiver":
        text = "spec.runStrategy WaitAsReceiver is not supported yet: it receives a live migration"
        yield Cause(text, "spec.runStrategy", "FieldValueNotSupported")
    elif strategy is not None and strategy not in set(Strategy):
        yield Cause(f"Invalid RunStrategy ({strategy})", "spec.runStrategy")


def _templates(obj: Obj, template: Obj) -> Iterator[Cause]:
    used = {volume.claim for volume in volumes(template) if volume.claim}
    seen: set[str] = set()
    for number, each in enumerate(parts(meta.spec(obj), "dataVolumeTemplates")):
        place = f"{TEMPLATES}[{number}]"
        name = meta.name(each)
        if not name:
            text = f"'name' field must not be empty for DataVolumeTemplate entry {place}."
            yield Cause(text, f"{place}.name", "FieldValueRequired")
            continue
        if name in seen:
            yield Cause(f"DataVolumeTemplate entry {place} repeats the name {name}", f"{place}.name")
        seen.add(name)
        namespace = meta.namespace(each)
        if namespace and namespace != meta.namespace(obj):
            text = (
                f"Embedded DataVolume namespace {namespace} differs from VM namespace {meta.namespace(obj)}"
            )
            yield Cause(text, f"{place}")
        yield from _content(meta.spec(each), place) or _data_volume(each, place)
        if name not in used:
            text = f"DataVolumeTemplate entry {place} must be referenced in the VMI template's 'volumes' list"
            yield Cause(text, f"{place}")


def _data_volume(template: Obj, place: str) -> Sequence[Cause]:
    """What would refuse the DataVolume itself, later, where nobody looks."""
    found = datavolume.causes(template, None, datavolume.Facts())
    return [replace(cause, field=f"{place}.{cause.field}") for cause in found]


def _content(spec: Obj, place: str) -> Sequence[Cause]:
    return tuple(_contents(spec, place))


def _contents(spec: Obj, place: str) -> Iterator[Cause]:
    pvc, storage = spec.get("pvc"), spec.get("storage")
    source, reference = spec.get("source"), spec.get("sourceRef")
    if pvc is None and storage is None:
        yield Cause("Missing Data volume PVC or Storage", place)
        return
    if pvc is not None and storage is not None:
        yield Cause("Duplicate storage definition, both target storage and target pvc defined", place)
        return
    shape = part(spec, "pvc" if pvc is not None else "storage")
    external = bool(shape.get("dataSource") or shape.get("dataSourceRef"))
    if external and (source is not None or reference is not None):
        yield Cause("External population is incompatible with Source and SourceRef", place)
    elif not external and (source is None) == (reference is None):
        text = "Data volume should have either Source, SourceRef, or be externally populated"
        yield Cause(text, place)
    elif source is not None:
        kinds = [kind for kind, value in part(spec, "source").items() if value is not None]
        if not kinds:
            yield Cause("Missing dataVolume valid source", f"{place}.source")
        elif len(kinds) > 1:
            yield Cause("Multiple dataVolume sources", f"{place}.source")
