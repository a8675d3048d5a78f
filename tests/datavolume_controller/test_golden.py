"""Whole claims and pods against golden files: what a cluster is asked to make, to the letter.

`DISKYARD_GOLDEN=write pytest tests/datavolume_controller/test_golden.py` writes them anew; the difference is then read.
"""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from datavolume_controller import importer, population, prime, uploader
from datavolume_controller.claim import Refusal, Storage
from diskyard.api.config import Config
from diskyard.api.datavolume import datavolume
from diskyard.api.meta import IMPORT_SOURCE, Obj
from diskyard.api.names import cdi
from diskyard.api.storage import PropertySet, StorageClass, claim
from tests import builders
from tests.builders import some
from tests.datavolume_controller.worlds import LOCAL, NOW, STORAGE

FOLDER = Path(__file__).parent.parent / "golden"
BLOCKS = Storage(
    (StorageClass("ceph", "rbd.csi.ceph.com", default=True),), drivers=frozenset({"rbd.csi.ceph.com"})
)
CLOUD: Obj = {"url": "https://s3.example/images/disk.qcow2", "secretRef": "keys", "certConfigMap": "ca"}
OVIRT: Obj = {
    "url": "https://engine/ovirt-engine/api",
    "diskId": "d",
    "secretRef": "keys",
    "certConfigMap": "ca",
}
VSPHERE: Obj = {
    "url": "https://vcenter", "uuid": "u", "backingFile": "[store] disk.vmdk", "thumbprint": "AA:BB",
    "secretRef": "keys", "initImageURL": "registry/vddk:8",
}  # fmt: skip
HTTP: Obj = {
    "url": "https://images.example/disk.qcow2", "secretRef": "login", "certConfigMap": "ca",
    "checksum": "sha256:" + "0" * 64, "extraHeaders": ["X-A: b"], "secretExtraHeaders": ["token"],
}  # fmt: skip

SHAPES: dict[str, tuple[Obj, Storage]] = {
    "http-filesystem": ({"source": {"http": HTTP}}, STORAGE),
    "http-archive": ({"source": {"http": {"url": HTTP["url"]}}, "contentType": "archive"}, STORAGE),
    "s3-block-populator": ({"source": {"s3": CLOUD}}, BLOCKS),
    "gcs-pvc": (
        {
            "source": {"gcs": {"url": "gs://images/disk.qcow2", "secretRef": "google"}},
            "storage": None,
            "pvc": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "5G"}}},
        },
        STORAGE,
    ),
    "registry": (
        {"source": {"registry": {"url": "docker://r/i:1", "secretRef": "pull"}}, "preallocation": True}, STORAGE,
    ),
    "imageio": ({"source": {"imageio": OVIRT}, "priorityClassName": "high", "serviceAccountName": "mover"}, STORAGE),
    "vddk": ({"source": {"vddk": VSPHERE}}, STORAGE),
    "blank-block": (
        {"source": {"blank": {}}, "storage": {"volumeMode": "Block", "accessModes": ["ReadWriteOnce"],
                                              "resources": {"requests": {"storage": "1Gi"}}}},
        STORAGE,
    ),
    "upload": ({"source": {"upload": {}}}, STORAGE),
}  # fmt: skip


def made(spec: Obj, storage: Storage) -> Obj:
    kept = {key: said for key, said in spec.items() if said is not None}
    obj = builders.stored(builders.data_volume("disk", **kept), uid="dv-uid", labels={"team": "blue"},
                          annotations={"sidecar.istio.io/inject": "true"})  # fmt: skip
    if "pvc" in kept:
        del obj["spec"]["storage"]
    found = population.claim(obj, datavolume(obj), storage, Config())
    assert not isinstance(found, Refusal), found
    return found


def same(name: str, found: Any) -> None:
    path, text = FOLDER / f"{name}.json", json.dumps(found, indent=1, sort_keys=True) + "\n"
    if os.environ.get("DISKYARD_GOLDEN") == "write":
        path.write_text(text)
    assert path.read_text() == text


def a_pod(obj: Obj) -> Obj:
    """The claim's importer; the version of our image is no concern of a golden file."""
    found = importer.pod(obj, claim(obj), Config())
    for each in found["spec"]["containers"]:
        each["image"] = "diskyard"
    return found


@pytest.mark.parametrize("name", SHAPES)
def test_the_claim_of(name: str) -> None:
    same(f"claim-{name}", made(*SHAPES[name]))


@pytest.mark.parametrize("name", [name for name in SHAPES if name not in ("upload", "s3-block-populator")])
def test_the_importer_of(name: str) -> None:
    obj = builders.stored(made(*SHAPES[name]), uid="claim-uid")
    same(f"importer-{name}", a_pod(obj))


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        (
            "filesystem",
            {"source": {"upload": {}}, "priorityClassName": "high", "serviceAccountName": "mover"},
        ),
        ("block", {**SHAPES["blank-block"][0], "source": {"upload": {}}, "preallocation": True}),
        ("archive", {"source": {"upload": {}}, "contentType": "archive"}),
    ],
)
def test_the_upload_server_of(name: str, spec: Obj) -> None:
    obj = builders.stored(made(spec, STORAGE), uid="claim-uid")
    pod = uploader.pod(obj, claim(obj), Config(), datetime.fromisoformat(NOW).astimezone(UTC))
    for each in pod["spec"]["containers"]:
        each["image"] = "diskyard"
    same(f"upload-{name}", pod)
    same(f"upload-service-{name}", uploader.service(obj, claim(obj)))


def test_the_stand_in_of_a_populators_claim() -> None:
    spec = {"storageClassName": "ceph", "volumeMode": "Block"}
    target = builders.stored(builders.claim("disk", **spec), uid="claim-uid",
                             annotations={cdi.SELECTED_NODE: "node-1", cdi.RETAIN_POD: "true"})  # fmt: skip
    source = some(IMPORT_SOURCE, "image", spec={"source": {"s3": CLOUD}, "preallocation": True})
    world = prime.World(
        obj=target, claim=claim(target), kind=IMPORT_SOURCE, source=source, prime_obj=None, prime=None, volume=None,
        storage_class=LOCAL, figures=None, now=NOW,
    )  # fmt: skip
    stand_in = builders.stored(prime.prime(world, source), uid="prime-uid")
    same("claim-prime", stand_in)
    same("importer-prime", a_pod(stand_in))


def test_a_class_says_what_it_gives() -> None:
    assert BLOCKS.sets(BLOCKS.classes[0])[0] == PropertySet(("ReadWriteMany",), "Block")
