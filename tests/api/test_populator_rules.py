"""What a VolumeImportSource and a VolumeUploadSource may say; the words are those that CDI's clients know."""

from typing import Any

import pytest

from diskyard.api.meta import IMPORT_SOURCE, UPLOAD_SOURCE, Obj
from diskyard.api.rules.populator import import_causes, upload_causes
from tests.builders import some

HTTP = {"http": {"url": "http://images.example/a.img"}}
VDDK = {"url": "http://v", "secretRef": "s", "uuid": "u", "backingFile": "b", "thumbprint": "t"}


def imports(source: Any = None, **spec: Any) -> Obj:
    return some(IMPORT_SOURCE, "image", spec={"source": HTTP if source is None else source, **spec})


def uploads(**spec: Any) -> Obj:
    return some(UPLOAD_SOURCE, "image", spec=spec)


REFUSED = {
    "no source": (imports({}), "Missing VolumeImport source"),
    "two sources": (imports({**HTTP, "blank": {}}), "Multiple VolumeImport sources: http, blank; keep one of them"),
    "an invalid URL": (imports({"http": {"url": "file path"}}), "spec.source Invalid source URL: file path"),
    "an empty URL": (imports({"http": {"url": ""}}), "spec.source source URL is empty"),
    "an invalid URL of S3": (imports({"s3": {"url": "file path"}}), "spec.source Invalid source URL: file path"),
    "an empty URL of S3": (imports({"s3": {"url": ""}}), "spec.source source URL is empty"),
    "no disk of imageio": (
        imports({"imageio": {"url": "http://o", "secretRef": "s"}}), "spec.source.Imageio source Imageio is not valid",
    ),
    "no UUID of vddk": (imports({"vddk": {**VDDK, "uuid": ""}}), "spec.source.VDDK source VDDK is not valid"),
    "no backing file": (imports({"vddk": {**VDDK, "backingFile": ""}}), "spec.source.VDDK source VDDK is not valid"),
    "no thumbprint": (imports({"vddk": {**VDDK, "thumbprint": ""}}), "spec.source.VDDK source VDDK is not valid"),
    "a strange content": (imports(contentType="tape"), "ContentType not one of: kubevirt, archive"),
    "stages for anyone": (
        imports({"vddk": VDDK}, checkpoints=[{"current": "1", "previous": ""}]),
        "Unable to do multi-stage import without specifying a target claim",
    ),
    "a claim": (
        imports({"pvc": {"name": "c", "namespace": "n"}}),
        "VolumeImportSource imports nothing from pvc: name a source that is imported",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("obj", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_refuses(obj: Obj, message: str) -> None:
    assert [each.message for each in import_causes(obj, None)] == [message]


@pytest.mark.parametrize("obj", [imports(), imports(contentType="archive"), imports({"blank": {}})])
def test_admits(obj: Obj) -> None:
    assert import_causes(obj, None) == ()


def test_the_spec_stays_as_it_was() -> None:
    found = import_causes(imports({"blank": {}}), imports())
    assert [each.message for each in found] == ["Cannot update VolumeImportSource Spec"]
    found = upload_causes(uploads(contentType="archive"), uploads())
    assert [each.message for each in found] == ["Cannot update VolumeUploadSource Spec"]


def test_stages_may_be_added() -> None:
    old = imports({"vddk": VDDK}, targetClaim="disk", checkpoints=[{"current": "1", "previous": ""}])
    stages = [{"current": "1", "previous": ""}, {"current": "2", "previous": "1"}]
    assert import_causes(imports({"vddk": VDDK}, targetClaim="disk", checkpoints=stages), old) == ()


@pytest.mark.parametrize("content", ["", "kubevirt", "archive"])
def test_an_upload_may_be_a_disk_or_an_archive(content: str) -> None:
    assert upload_causes(uploads(contentType=content), None) == ()


def test_an_upload_is_nothing_else() -> None:
    found = upload_causes(uploads(contentType="tape"), None)
    assert [each.message for each in found] == ["ContentType not one of: kubevirt, archive"]
