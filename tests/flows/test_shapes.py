"""The shapes of CDI's example manifests, applied in one go as guides have it: by kubectl, where there is one."""

import io
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import yaml
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from tests.cluster import programs
from tests.flows.cluster import Clustered
from tests.flows.place import CDI, Place
from tests.imageserver import ImageServer

ROOT = os.geteuid() == 0
SMALL = "{resources: {requests: {storage: 16Mi}}}"
WAITING = "{storageClassName: local-wait, resources: {requests: {storage: 16Mi}}}"
HEAD = "apiVersion: cdi.kubevirt.io/v1beta1\nkind: DataVolume\nmetadata: {name: shape-"
TYPED = {
    "disk": """%s}
spec:
  source: {http: {url: "QCOW2"}}
  pvc: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 80Mi}}}
""",
    "old": """%s}
spec: {source: {blank: {}}, pvc: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 16Mi}}}}
""",
    "archive": f"""%s}}
spec: {{contentType: archive, source: {{http: {{url: "ARCHIVE"}}}}, storage: {SMALL}}}
""",
    "upload": f"""%s}}
spec: {{source: {{upload: {{}}}}, storage: {SMALL}}}
""",
    "waits": f"""%s}}
spec: {{source: {{blank: {{}}}}, storage: {WAITING}}}
""",
    "at-once": f"""%s, annotations: {{cdi.kubevirt.io/storage.bind.immediate.requested: ""}}}}
spec: {{source: {{blank: {{}}}}, storage: {WAITING}}}
""",
    "block": """%s}
spec:
  source: {http: {url: "QCOW2"}}
  storage: {volumeMode: Block, resources: {requests: {storage: 64Mi}}}
""",
    "clone": """%s}
spec:
  source: {pvc: {namespace: default, name: shape-disk}}
  storage: {resources: {requests: {storage: 80Mi}}}
""",
    "by-reference": """%s}
spec: {sourceRef: {kind: DataSource, name: shape-golden}, storage: {}}
""",
}
GOLDEN = """apiVersion: cdi.kubevirt.io/v1beta1
kind: DataSource
metadata: {name: shape-golden}
spec: {source: {pvc: {namespace: default, name: shape-disk}}}
"""
ENDS = dict.fromkeys(TYPED, "Succeeded") | {"upload": "UploadReady", "waits": "WaitForFirstConsumer"}
SOURCES: dict[str, Any] = {
    "s3": {"url": "http://s3.example/images/disk.qcow2", "secretRef": "keys"},
    "gcs": {"url": "gs://images/disk.qcow2"},
    "registry": {"url": "docker://registry.example/disk:1", "pullMethod": "node", "secretRef": "keys"},
    "imageio": {
        "url": "https://engine.example/ovirt-engine/api", "diskId": "1", "secretRef": "keys", "certConfigMap": "roots",
    },
    "vddk": {
        "url": "https://vcenter.example", "uuid": "u", "backingFile": "[s] v/v.vmdk", "thumbprint": "20:6C",
        "secretRef": "keys", "initImageURL": "registry.example/vddk:8",
    },
    "snapshot": {"namespace": "default", "name": "taken"},
    "http": {
        "url": "https://images.example/disk.xz", "secretRef": "keys", "certConfigMap": "roots",
        "extraHeaders": ["A: b"],
        "secretExtraHeaders": ["token"],
        "checksum": f"sha256:{'0' * 64}",
    },
}  # fmt: skip


def typed(place: Place, *words: str, sent: str) -> str:
    """What kubectl says, or where nobody has it our own command."""
    kubectl = str(programs.folder() / "kubectl") if isinstance(place, Clustered) else shutil.which("kubectl")
    command = [kubectl] if kubectl else [sys.executable, "-m", "cli"]
    done = subprocess.run(
        [*command, *words, "--kubeconfig", str(place.kubeconfig), "-f", "-"],
        input=sent, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def manifests(place: Place, images: ImageServer, qcow2: str) -> Iterator[dict[str, str]]:
    """Each shape's manifest by its name; their objects go in the end."""
    with tarfile.open(images.root / "shapes.tar", "w") as tar:
        member = tarfile.TarInfo("hello.txt")
        member.size = 6
        tar.addfile(member, io.BytesIO(b"hello\n"))
    named = {name: text % f"{HEAD}{name}" for name, text in TYPED.items() if ROOT or name != "block"}
    named["old"] = named["old"].replace("v1beta1", "v1alpha1")
    urls = {"QCOW2": qcow2, "ARCHIVE": images.url("shapes.tar")}
    for word, url in urls.items():
        named = {name: text.replace(word, url) for name, text in named.items()}
    yield named
    with suppress(ApiException):
        client.CustomObjectsApi(place.api()).delete_namespaced_custom_object(
            *CDI, "default", "datasources", "shape-golden"
        )
    for name in named:
        with suppress(ApiException):
            place.delete("datavolumes", f"shape-{name}")
    for name in named:
        place.gone("datavolumes", f"shape-{name}", 120)


def test_every_shape_ends_as_it_does_with_cdi(place: Place, manifests: dict[str, str]) -> None:
    whole = "---\n".join((GOLDEN, *manifests.values()))
    said = typed(place, "apply", sent=whole)

    assert said.count(" created\n") == len(manifests) + 1, said
    found = {name: place.wait("datavolumes", f"shape-{name}", ENDS[name], 180) for name in manifests}
    assert all(dv["status"]["claimName"] == f"shape-{name}" for name, dv in found.items())
    again = typed(place, "apply", sent=whole)
    assert len(again.splitlines()) == len(manifests) + 1, again
    assert " created" not in again


def test_every_source_is_taken_as_it_is_typed(place: Place) -> None:
    if not isinstance(place, Clustered) and not shutil.which("kubectl"):
        pytest.skip("only kubectl rehearses, and there is none here")
    dvs = [
        {
            "apiVersion": "cdi.kubevirt.io/v1beta1",
            "kind": "DataVolume",
            "metadata": {"name": f"typed-{kind}"},
            "spec": {"source": {kind: source}, "storage": {"resources": {"requests": {"storage": "1Gi"}}}},
        }
        for kind, source in SOURCES.items()
    ]

    said = typed(place, "create", "--dry-run=server", "--validate=strict", sent=yaml.safe_dump_all(dvs))

    assert said.count(" created (server dry run)\n") == len(SOURCES), said
