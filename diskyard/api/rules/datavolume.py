"""Admission of DataVolumes: the first group of rules that finds something speaks. Texts are CDI's. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from diskyard.api import meta, quantity
from diskyard.api.meta import Obj
from diskyard.api.names import cdi
from diskyard.api.origin import present
from diskyard.api.quantity import MIB
from diskyard.api.rules.source import source_causes
from diskyard.api.storage import ACCESS_MODES
from diskyard.errors import Cause, InvalidRequest

NAME_LIMIT: Final = 253
CONTENT_TYPES: Final = ("", "kubevirt", "archive")
SHAPES: Final = {"pvc": "PVC", "storage": "Storage"}
CLONES: Final = ("pvc", "snapshot")
FAILURES: Final = ("Error", "ImagePullFailed", "ChecksumError")
"""Reasons of the condition Running that say that an import fails."""
_TOO_LONG: Final = "Name cannot be longer than 253 characters"


@dataclass(frozen=True)
class Facts:
    """What had to be looked up."""

    claim: Obj | None = None
    """The claim of the DataVolume's name."""
    adoption: bool = False
    """Whether the feature gate for adopting claims is on."""


def causes(obj: Obj, old: Obj | None, facts: Facts) -> Sequence[Cause]:
    """What is wrong with a DataVolume; nothing: it is admitted."""
    asked = _Asked(obj, old, facts, meta.spec(obj))
    return next((found for rule in _RULES if (found := rule(asked))), ())


@dataclass(frozen=True)
class _Asked:
    obj: Obj
    old: Obj | None
    facts: Facts
    spec: Mapping[str, Any]

    @property
    def shape(self) -> str:
        """`pvc` or `storage`."""
        return "pvc" if self.spec.get("pvc") is not None else "storage"

    @property
    def target(self) -> Mapping[str, Any]:
        """The one that is there."""
        return self.spec.get(self.shape) or {}

    @property
    def external(self) -> bool:
        """Whether somebody else's populator is to fill the claim."""
        return bool(self.target.get("dataSource") or self.target.get("dataSourceRef"))

    @property
    def sources(self) -> tuple[str, ...]:
        return present(self.spec.get("source") or {})


def _unchanged(asked: _Asked) -> Sequence[Cause]:
    if asked.old is None:
        return ()
    stages = ("checkpoints", "finalCheckpoint") if {"vddk", "imageio"} & set(asked.sources) else ()
    corrected = _fails(asked.old) and _imported(asked.spec)
    may_change = {*stages, *(("source",) if corrected else ())}
    before, after = (
        {k: v for k, v in meta.spec(o).items() if k not in may_change} for o in (asked.old, asked.obj)
    )
    if before == after:
        return ()
    return (Cause("Cannot update DataVolume Spec", "DataVolume", "FieldValueDuplicate"),)


def _fails(old: Obj) -> bool:
    """Whether its import has failed, or fails and is tried again: then another source may be named, unlike in CDI."""
    running = meta.condition(old, "Running") or {}
    tried = running.get("status") == "False" and running.get("reason") in FAILURES
    fails = meta.phase(old) == "Failed" or (tried and meta.phase(old) != "Succeeded")
    return fails and _imported(meta.spec(old))


def _imported(spec: Mapping[str, Any]) -> bool:
    """Whether an importer fills it."""
    found = present(spec.get("source") or {})
    return bool(found) and not set(found) & {*CLONES, "upload"}


def _name(asked: _Asked) -> Sequence[Cause]:
    return (Cause(_TOO_LONG, "metadata.name"),) if len(meta.name(asked.obj)) > NAME_LIMIT else ()


def _claim_in_the_way(asked: _Asked) -> Sequence[Cause]:
    claim = asked.facts.claim
    if asked.old is not None or claim is None:
        return ()
    owner = meta.controller_of(claim) or {}
    said = meta.annotations(asked.obj).get(cdi.ALLOW_ADOPTION)
    adopted = asked.facts.adoption if said is None else said.lower() == "true"
    filled = meta.annotations(claim).get(cdi.POPULATED_FOR) == meta.name(asked.obj)
    if adopted or filled or owner.get("kind") == "DataVolume":
        return ()
    where = meta.key(claim)
    return (Cause(f"Destination PVC {where} already exists", "metadata.name", "FieldValueDuplicate"),)


def _one_shape(asked: _Asked) -> Sequence[Cause]:
    shapes = [shape for shape in SHAPES if asked.spec.get(shape) is not None]
    if len(shapes) == 1:
        return ()
    if not shapes:
        return (Cause("Missing Data volume PVC", "spec.storage"),)
    message = "Duplicate storage definition, both target storage and target pvc defined"
    return (Cause(message, "spec.pvc", "FieldValueDuplicate"),)


def _size(asked: _Asked) -> Sequence[Cause]:
    word, field = SHAPES[asked.shape], f"spec.{asked.shape}.resources.requests.storage"
    requests = (asked.target.get("resources") or {}).get("requests") or {}
    if "storage" not in requests:
        inferred = asked.shape == "storage" and (
            asked.spec.get("sourceRef") is not None or any(each in CLONES for each in asked.sources)
        )
        return () if inferred else (Cause(f"{word} size is missing", field),)
    try:
        size = quantity.value(requests["storage"])
    except InvalidRequest as wrong:
        return (Cause(f"{word} size is not valid: {wrong}", field),)
    if size <= 0:
        return (Cause(f"{word} size can't be equal or less than zero", field),)
    return (Cause(f"{word} size should be at least 1MiB", field),) if size < MIB else ()


def _class_name(asked: _Asked) -> Sequence[Cause]:
    long = len(str(asked.target.get("storageClassName") or "")) > NAME_LIMIT
    return (Cause(_TOO_LONG, f"spec.{asked.shape}.storageClassName"),) if long else ()


def _access_modes(asked: _Asked) -> Sequence[Cause]:
    modes, field = list(asked.target.get("accessModes") or ()), f"spec.{asked.shape}.accessModes"
    if asked.shape == "pvc" and not modes:
        return (Cause("Required value: at least 1 access mode is required", field),)
    if asked.shape == "pvc" and len(modes) > 1:
        return (Cause("PVC multiple accessModes", field),)
    if any(mode not in ACCESS_MODES for mode in modes):
        known = ", ".join(f'"{mode}"' for mode in ACCESS_MODES)
        return (Cause(f'Unsupported value: "{modes[0]}": supported values: {known}', field),)
    return ()


def _external(asked: _Asked) -> Sequence[Cause]:
    if not asked.external:
        return ()
    field = f"spec.{asked.shape}"
    if asked.spec.get("source") is not None or asked.spec.get("sourceRef") is not None:
        return (Cause("External population is incompatible with Source and SourceRef", field),)
    one, other = asked.target.get("dataSource"), asked.target.get("dataSourceRef")
    if one and other and one != other:
        return (Cause("DataSourceRef and DataSource must match", field),)
    return _populator("DataSource", one, field) or _populator("DataSourceRef", other, field)


def _populator(word: str, said: Mapping[str, Any] | None, field: str) -> Sequence[Cause]:
    if not said:
        return ()
    field = f"{field}.{word[0].lower()}{word[1:]}"
    for entry in ("name", "kind"):
        if not said.get(entry):
            return (Cause(f"Required value: {word} {entry}", f"{field}.{entry}"),)
    if not said.get("apiGroup") and said["kind"] != "PersistentVolumeClaim":
        message = f"Required value: {word} apiGroup when kind is not 'PersistentVolumeClaim'"
        return (Cause(message, f"{field}.apiGroup"),)
    if said.get("namespace"):
        return (Cause("Invalid value: DataSourceRef namespace not supported", f"{field}.namespace"),)
    return ()


def _either_source(asked: _Asked) -> Sequence[Cause]:
    if asked.external or (asked.spec.get("source") is None) != (asked.spec.get("sourceRef") is None):
        return ()
    message = "Data volume should have either Source or SourceRef, or be externally populated"
    return (Cause(message, "spec.source"),)


def _source_ref(asked: _Asked) -> Sequence[Cause]:
    said = asked.spec.get("sourceRef")
    if said is None:
        return ()
    kind = said.get("kind")
    if not kind:
        return (Cause("Missing sourceRef kind", "spec.sourceRef.kind"),)
    if kind != "DataSource":
        message = f"Unsupported sourceRef kind {kind}, currently only DataSource is supported"
        return (Cause(message, "spec.sourceRef.kind"),)
    return () if said.get("name") else (Cause("Missing sourceRef name", "spec.sourceRef.name"),)


def _content_type(asked: _Asked) -> Sequence[Cause]:
    known = str(asked.spec.get("contentType") or "") in CONTENT_TYPES
    return () if known else (Cause("ContentType not one of: kubevirt, archive", "spec.contentType"),)


def _source(asked: _Asked) -> Sequence[Cause]:
    if asked.spec.get("source") is None:
        return ()
    return source_causes(asked.spec["source"], str(asked.spec.get("contentType") or ""))


_RULES: Final[tuple[Callable[[_Asked], Sequence[Cause]], ...]] = (
    _unchanged, _name, _claim_in_the_way, _one_shape, _size, _class_name, _access_modes, _external,
    _either_source, _source_ref, _content_type, _source,
)  # fmt: skip
