"""The claim that a DataVolume gets, or why it gets none."""

from typing import Any

import pytest

from datavolume_controller.claim import Refusal, Storage
from datavolume_controller.population import claim
from diskyard.api import meta
from diskyard.api.config import Config
from diskyard.api.datavolume import datavolume
from diskyard.api.meta import Obj
from diskyard.api.names import cdi, kubernetes
from diskyard.api.quantity import GIB
from diskyard.api.storage import Profile, PropertySet, StorageClass, Volume
from tests import builders
from tests.datavolume_controller.worlds import LOCAL, STORAGE, WAITING

BLOCKS = StorageClass("blocks", "blocks.example", virt_default=True)
WITH_BLOCKS = Storage(
    (LOCAL, BLOCKS), profiles={"blocks": Profile((PropertySet(("ReadWriteMany",), "Block"),))}
)


def made(
    storage: Storage = STORAGE, config: Config | None = None, annotations: Any = None, **spec: Any
) -> Obj | Refusal:
    obj = builders.stored(builders.data_volume("disk", **spec), uid="dv-uid", annotations=annotations or {})
    return claim(obj, datavolume(obj), storage, config or Config())


def rendered(storage: Storage = STORAGE, **spec: Any) -> Obj:
    found = made(storage, **spec)
    assert not isinstance(found, Refusal), found
    return meta.spec(found)


def asked(size: str = "1Gi", **more: Any) -> Obj:
    return {"resources": {"requests": {"storage": size}}, **more}


def given(wanted: Obj, storage: Storage = STORAGE, **spec: Any) -> Obj | Refusal:
    """The claim of a DataVolume that asks for that storage."""
    obj = builders.data_volume("disk", **spec)
    obj["spec"]["storage"] = wanted
    return claim(obj, datavolume(obj), storage, Config())


def test_asks_for_the_default_class_and_what_it_gives() -> None:
    spec = rendered()
    assert spec["storageClassName"] == "local"
    assert (spec["accessModes"], spec["volumeMode"]) == (["ReadWriteOnce"], "Filesystem")


def test_the_default_for_guests_comes_before_the_default() -> None:
    spec = rendered(WITH_BLOCKS)
    assert spec["storageClassName"] == "blocks"
    assert (spec["accessModes"], spec["volumeMode"]) == (["ReadWriteMany"], "Block")


@pytest.mark.parametrize(
    ("size", "request_"),
    [("10Gi", "11381663335"), ("1Gi", "1138166334"), ("1048577", "2222982"), ("1Mi", "1111491")],
)
def test_a_file_system_needs_more_room_than_the_disk(size: str, request_: str) -> None:
    found = given(asked(size), STORAGE)
    assert not isinstance(found, Refusal)
    assert meta.spec(found)["resources"]["requests"]["storage"] == request_


def test_a_block_device_needs_no_more_room_than_the_disk() -> None:
    found = given(asked("10Gi"), WITH_BLOCKS)
    assert not isinstance(found, Refusal)
    assert meta.spec(found)["resources"]["requests"]["storage"] == "10737418240"


def test_a_class_has_an_overhead_of_its_own() -> None:
    found = made(config=Config(overheads={"local": "0.5"}))
    assert not isinstance(found, Refusal)
    assert meta.spec(found)["resources"]["requests"]["storage"] == str(3 << 29)


def test_what_is_asked_for_as_a_claim_is_taken_as_it_is() -> None:
    wanted = {"accessModes": ["ReadWriteMany"], **asked("5G")}
    obj = builders.data_volume("disk")
    del obj["spec"]["storage"]
    obj["spec"]["pvc"] = wanted
    found = claim(obj, datavolume(obj), Storage(), Config())
    assert not isinstance(found, Refusal)
    assert meta.spec(found) == wanted


MODES = {
    "both asked for": ({"accessModes": ["ReadOnlyMany"], "volumeMode": "Block"}, ["ReadOnlyMany"], "Block"),
    "only access modes": ({"accessModes": ["ReadWriteOnce"]}, ["ReadWriteOnce"], "Filesystem"),
    "only a volume mode": ({"volumeMode": "Filesystem"}, ["ReadWriteOnce"], "Filesystem"),
    "the profile's word": ({"volumeMode": "FromStorageProfile"}, ["ReadWriteOnce"], "Filesystem"),
}


@pytest.mark.parametrize(("wanted", "access", "mode"), MODES.values(), ids=MODES.keys())
def test_modes_when(wanted: Obj, access: list[str], mode: str) -> None:
    found = given(asked(**wanted))
    assert not isinstance(found, Refusal)
    spec = meta.spec(found)
    assert (spec["accessModes"], spec["volumeMode"]) == (access, mode)


REFUSALS = {
    "an unknown class": (
        STORAGE, asked(storageClassName="fast"),
        'spec.storage.storageClassName: there is no StorageClass "fast"; there are: local (default), local-wait',
    ),
    "no class at all": (
        Storage(), asked(), "PVC spec is missing accessMode and no storageClass to choose profile",
    ),
    "no default class": (
        Storage((WAITING,)), asked(),
        "PVC spec is missing accessMode and no storageClass to choose profile; there are: local-wait",
    ),
    "a class that we know nothing of": (
        Storage((StorageClass("odd", "odd.example", default=True),)), asked(),
        "Spec is missing accessMode and volumeMode, cannot get access mode from StorageProfile odd: say them in "
        "spec.storage, or claimPropertySets in that StorageProfile",
    ),
    "a mode that the class does not give": (
        Storage((StorageClass("local", "rancher.io/local-path", default=True),)), asked(volumeMode="Block"),
        "no matching accessMode specified in StorageProfile local",
    ),
    "no size": (STORAGE, {}, "PVC Spec is not valid - missing storage size"),
    "too small a size": (STORAGE, asked("1Ki"), "PVC Spec is not valid - storage size should be at least 1MiB"),
}  # fmt: skip


@pytest.mark.parametrize(("storage", "wanted", "message"), REFUSALS.values(), ids=REFUSALS.keys())
def test_no_claim_for(storage: Storage, wanted: Obj, message: str) -> None:
    found = given(wanted, storage)
    assert found == Refusal("ErrClaimNotValid", message)


def test_an_archive_wants_a_file_system() -> None:
    found = given(asked(volumeMode="Block"), STORAGE, contentType="archive")
    assert isinstance(found, Refusal)
    assert found.message == "ContentType Archive cannot have block volumeMode"


def test_a_class_without_an_object_is_one_when_a_volume_has_it() -> None:
    found = given(
        asked(storageClassName="manual", accessModes=["ReadWriteOnce"]),
        Storage(volumes=(Volume("v", "Available", "manual", GIB, ("ReadWriteOnce",), block=False),)),
    )
    assert not isinstance(found, Refusal)
    assert meta.spec(found)["storageClassName"] == "manual"


def test_the_claim_says_what_is_to_fill_it() -> None:
    http = {
        "url": "https://images.example/a.img",
        "secretRef": "keys",
        "certConfigMap": "roots",
        "extraHeaders": ["X-One: 1", "X-Two: 2"],
        "secretExtraHeaders": ["more"],
        "checksum": "sha256:" + "0" * 64,
        "insecureSkipVerify": True,
    }
    found = made(source={"http": http}, priorityClassName="high", preallocation=True)
    assert not isinstance(found, Refusal)
    said = meta.annotations(found)
    assert said[cdi.IMPORT_ENDPOINT] == http["url"]
    assert (said[cdi.IMPORT_SECRET], said[cdi.IMPORT_CERTIFICATES]) == ("keys", "roots")
    assert [said[f"{cdi.EXTRA_HEADER}{n}"] for n in (0, 1)] == ["X-One: 1", "X-Two: 2"]
    assert said[f"{cdi.SECRET_EXTRA_HEADER}0"] == "more"
    assert (said[cdi.IMPORT_CHECKSUM], said[cdi.IMPORT_INSECURE]) == (http["checksum"], "true")
    assert (said[cdi.POD_PRIORITY], said[cdi.PREALLOCATION_REQUESTED]) == ("high", "true")
    assert said[cdi.CREATED_FOR] == "dv-uid"


SAID: dict[str, tuple[Obj, dict[str, str]]] = {
    "S3": (
        {"s3": {"url": "https://s3.example/b/k", "secretRef": "keys", "certConfigMap": "roots"}},
        {"source": "s3", "endpoint": "https://s3.example/b/k", "secretName": "keys", "certConfigMap": "roots"},
    ),
    "Google's storage": (
        {"gcs": {"url": "gs://b/o", "secretRef": "account"}},
        {"source": "gcs", "endpoint": "gs://b/o", "secretName": "account"},
    ),
    "a registry": (
        {"registry": {"url": "docker://r/i", "pullMethod": "node", "platform": {"architecture": "arm64"}}},
        {
            "source": "registry", "endpoint": "docker://r/i", "registryImportMethod": "node",
            "registryImageArchitecture": "arm64",
        },
    ),
    "oVirt": (
        {"imageio": {"url": "https://e/api", "diskId": "1", "secretRef": "keys", "certConfigMap": "roots"}},
        {
            "source": "imageio", "endpoint": "https://e/api", "diskId": "1", "secretName": "keys",
            "certConfigMap": "roots",
        },
    ),
    "vSphere": (
        {"vddk": {
            "url": "https://v", "uuid": "u", "backingFile": "f", "thumbprint": "AA", "secretRef": "keys",
        }},
        {
            "source": "vddk", "endpoint": "https://v", "uuid": "u", "backingFile": "f", "vddk.thumbprint": "AA",
            "secretName": "keys",
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize(("source", "expected"), SAID.values(), ids=SAID.keys())
def test_the_claim_has_the_annotations_of_cdi_for(source: Obj, expected: dict[str, str]) -> None:
    found = made(source=source)
    assert not isinstance(found, Refusal)
    prefix = "cdi.kubevirt.io/storage.import."
    said = meta.annotations(found)
    assert {k.removeprefix(prefix): v for k, v in said.items() if k.startswith(prefix)} == expected


def test_the_claim_names_what_brings_vmwares_library() -> None:
    found = made(source={"vddk": {"url": "https://v", "initImageURL": "r/vddk:8", "extraArgs": "more"}})
    assert not isinstance(found, Refusal)
    said = meta.annotations(found)
    assert said["cdi.kubevirt.io/storage.pod.vddk.initimageurl"] == "r/vddk:8"
    assert said["cdi.kubevirt.io/storage.pod.vddk.extraargs"] == "more"


def test_a_blank_disk_has_no_endpoint() -> None:
    found = made(source={"blank": {}})
    assert not isinstance(found, Refusal)
    assert meta.annotations(found)[cdi.IMPORT_SOURCE] == "none"
    assert cdi.IMPORT_ENDPOINT not in meta.annotations(found)


def test_labels_and_annotations_go_along_but_for_what_is_the_datavolumes_own() -> None:
    own = {
        kubernetes.LAST_APPLIED: "{}", cdi.POPULATED_FOR: "disk", cdi.ATTEMPTS: "[]",
        cdi.IMPORT_PROGRESS: "{}", "team": "blue",
    }  # fmt: skip
    found = made(annotations=own)
    assert not isinstance(found, Refusal)
    assert meta.annotations(found)["team"] == "blue"
    assert not {kubernetes.LAST_APPLIED, cdi.POPULATED_FOR, cdi.ATTEMPTS, cdi.IMPORT_PROGRESS} & set(
        meta.annotations(found)
    )
    assert meta.labels(found)[cdi.APP_LABEL] == cdi.APP
