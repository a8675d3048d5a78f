"""How a claim is to be filled: by annotations, by a populator, from a volume made by hand, by somebody else."""

from typing import Any

import pytest

from datavolume_controller import population
from datavolume_controller.asked import asked, corrected, digest
from datavolume_controller.claim import Refusal, Storage
from diskyard.api import meta
from diskyard.api.config import Config
from diskyard.api.datavolume import datavolume
from diskyard.api.meta import Key, Obj
from diskyard.api.names import cdi
from diskyard.api.origin import Http
from diskyard.api.quantity import GIB
from diskyard.api.storage import Volume, claim
from tests import builders
from tests.datavolume_controller.worlds import LOCAL, STORAGE

DRIVEN = Storage((LOCAL,), drivers=frozenset({"diskyard.io/local"}))
KEPT = Volume(
    "by-hand", "Available", "local", GIB, ("ReadWriteOnce",), block=False, claim=Key("disk", "default")
)


def made(storage: Storage = STORAGE, said: dict[str, str] | None = None, **spec: Any) -> Obj:
    obj = builders.stored(builders.data_volume("disk", **spec), uid="dv-uid", annotations=said or {})
    found = population.claim(obj, datavolume(obj), storage, Config())
    assert not isinstance(found, Refusal), found
    return found


def test_without_a_csi_driver_the_claim_itself_says_what_fills_it() -> None:
    found = made()
    assert meta.annotations(found)[cdi.IMPORT_ENDPOINT] == "http://images.example/disk.qcow2"
    assert meta.annotations(found)[cdi.USE_POPULATOR] == "false"
    assert "dataSourceRef" not in meta.spec(found)


def test_with_a_csi_driver_a_populator_fills_it() -> None:
    found = made(DRIVEN)
    assert meta.spec(found)["dataSourceRef"] == {
        "apiGroup": "cdi.kubevirt.io", "kind": "VolumeImportSource", "name": "volume-import-source-dv-uid",
    }  # fmt: skip
    assert cdi.IMPORT_ENDPOINT not in meta.annotations(found)
    assert meta.annotations(found)[cdi.USE_POPULATOR] == "true"


@pytest.mark.parametrize(("word", "populated"), [("true", True), ("false", False)])
def test_the_users_word_on_populators_comes_first(word: str, populated: bool) -> None:
    for storage in (STORAGE, DRIVEN):
        found = made(storage, {cdi.USE_POPULATOR: word})
        assert ("dataSourceRef" in meta.spec(found)) is populated


def test_an_upload_is_asked_for_by_its_annotation_or_by_its_populator() -> None:
    assert meta.annotations(made(source={"upload": {}}))[cdi.UPLOAD_TARGET] == ""
    populated = made(DRIVEN, source={"upload": {}})
    assert meta.spec(populated)["dataSourceRef"]["kind"] == "VolumeUploadSource"
    assert cdi.UPLOAD_TARGET not in meta.annotations(populated)


def test_the_populators_source_is_the_datavolumes() -> None:
    obj = builders.stored(builders.data_volume("disk", contentType="archive"), uid="dv-uid")
    kind, found = population.source(obj, datavolume(obj))
    assert (kind.kind, meta.name(found)) == ("VolumeImportSource", "volume-import-source-dv-uid")
    assert found["spec"] == {
        "contentType": "archive",
        "source": {"http": {"url": "http://images.example/disk.qcow2"}},
    }
    assert meta.owned_by(found, obj)


@pytest.mark.parametrize(
    ("field", "reference"),
    [
        ("dataSourceRef", {"apiGroup": "example.org", "kind": "Painter", "name": "p"}),
        ("dataSource", {"kind": "PersistentVolumeClaim", "name": "golden"}),
        ("dataSource", {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "golden"}),
    ],
    ids=["by somebody's populator", "from a claim by its driver", "from a snapshot by its driver"],
)
def test_what_somebody_else_fills_is_left_to_it(field: str, reference: Obj) -> None:
    wanted = {"resources": {"requests": {"storage": "1Gi"}}, field: reference}
    obj = builders.stored(builders.data_volume("disk", source=None, storage=wanted), uid="dv-uid")
    found = population.claim(obj, datavolume(obj), DRIVEN, Config())
    assert not isinstance(found, Refusal)
    assert meta.spec(found)[field] == reference
    assert meta.annotations(found)[cdi.EXTERNAL_POPULATION] == "true"


def test_volumes_made_by_hand_are_looked_for_only_when_asked() -> None:
    storage = Storage((LOCAL,), (KEPT,))
    assert cdi.VOLUME_LIST not in meta.annotations(made(storage))
    found = made(storage, {cdi.CHECK_STATIC: ""})
    assert meta.annotations(found)[cdi.VOLUME_LIST] == '["by-hand"]'
    assert cdi.IMPORT_SOURCE not in meta.annotations(found)


def test_without_one_the_claim_is_filled_as_ever() -> None:
    assert cdi.IMPORT_SOURCE in meta.annotations(made(STORAGE, {cdi.CHECK_STATIC: ""}))


def test_the_label_that_completes_claims_is_not_passed_on() -> None:
    obj = builders.stored(
        builders.data_volume("disk"), uid="dv-uid", labels={cdi.APPLY_PROFILE_LABEL: "true", "a": "b"}
    )
    found = population.claim(obj, datavolume(obj), STORAGE, Config())
    assert not isinstance(found, Refusal)
    assert meta.labels(found)["a"] == "b"
    assert cdi.APPLY_PROFILE_LABEL not in meta.labels(found)


def test_another_source_is_told_to_the_claim_and_the_old_one_forgotten() -> None:
    held = asked(Http("http://old", checksum="sha256:00", extra_headers=("A: b",)))
    assert corrected(held, asked(Http("http://new"))) == {
        cdi.IMPORT_ENDPOINT: "http://new",
        cdi.IMPORT_CHECKSUM: None,
        f"{cdi.EXTRA_HEADER}0": None,
    }


def test_a_retry_is_told_to_the_claim() -> None:
    obj = builders.stored(builders.data_volume("disk"), uid="dv-uid", annotations={cdi.RETRY: "now"})
    held = made()
    assert population.repeated(datavolume(obj), claim(held)) == {cdi.RETRY: "now"}


def test_what_is_asked_for_has_a_digest_that_a_retry_changes() -> None:
    said = asked(Http("http://a"))
    assert digest(said) == digest({**said, "other": "annotation"})
    assert len({digest(said), digest({**said, cdi.RETRY: "1"}), digest(asked(Http("http://b")))}) == 3
