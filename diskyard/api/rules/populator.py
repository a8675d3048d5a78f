"""Admission of what populators read: VolumeImportSources and VolumeUploadSources. Texts are CDI's. Pure."""

from collections.abc import Sequence

from diskyard.api import meta
from diskyard.api.meta import IMPORT_SOURCE, UPLOAD_SOURCE, Obj
from diskyard.api.origin import present
from diskyard.api.rules.datavolume import CONTENT_TYPES
from diskyard.api.rules.source import source_causes
from diskyard.errors import Cause

_STAGES = ("checkpoints", "finalCheckpoint")


def import_causes(obj: Obj, old: Obj | None) -> Sequence[Cause]:
    """What is wrong with a VolumeImportSource; nothing: it is admitted."""
    spec = meta.spec(obj)
    found = present(spec.get("source"))
    staged = bool({"vddk", "imageio"} & set(found))
    if old is not None and _without(obj, staged) != _without(old, staged):
        return (Cause(f"Cannot update {IMPORT_SOURCE.kind} Spec", IMPORT_SOURCE.kind, "FieldValueDuplicate"),)
    if not found:
        return (Cause("Missing VolumeImport source", "spec.source"),)
    if len(found) > 1:
        return (Cause(f"Multiple VolumeImport sources: {', '.join(found)}; keep one of them", "spec.source"),)
    if found[0] in ("pvc", "snapshot", "upload"):
        message = f"{IMPORT_SOURCE.kind} imports nothing from {found[0]}: name a source that is imported"
        return (Cause(message, f"spec.source.{found[0]}"),)
    if spec.get("checkpoints") and not spec.get("targetClaim"):
        message = "Unable to do multi-stage import without specifying a target claim"
        return (Cause(message, "spec.targetClaim"),)
    return _content_type(spec) or source_causes(spec["source"], str(spec.get("contentType") or ""))


def upload_causes(obj: Obj, old: Obj | None) -> Sequence[Cause]:
    """What is wrong with a VolumeUploadSource; nothing: it is admitted."""
    if old is not None and meta.spec(obj) != meta.spec(old):
        return (Cause(f"Cannot update {UPLOAD_SOURCE.kind} Spec", UPLOAD_SOURCE.kind, "FieldValueDuplicate"),)
    return _content_type(meta.spec(obj))


def _content_type(spec: Obj) -> Sequence[Cause]:
    known = str(spec.get("contentType") or "") in CONTENT_TYPES
    return () if known else (Cause("ContentType not one of: kubevirt, archive", "spec.contentType"),)


def _without(obj: Obj, staged: bool) -> Obj:
    """The spec, without what may be added to an import in stages."""
    return {key: said for key, said in meta.spec(obj).items() if not (staged and key in _STAGES)}
