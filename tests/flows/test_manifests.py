"""The shapes of CDI's example manifests: each source, on a file system and as a block device, waiting and at once.

By the API on a yard in every run; with `make test-cluster` by the real kubectl too, on a yard and on a real cluster.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import yaml
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from diskyard import IMAGE
from tests.builders import eventually
from tests.cluster import programs
from tests.disk.tars import entry, tar
from tests.flows.place import CDI, Place
from tests.flows.test_sources import allow_plain_http
from tests.imageserver import ImageServer
from tests.importer import oci
from tests.importer.registries import Registry, registry

DISK = oci.noise(2 << 20)
SIZE = 64 << 20
GIVEN = "cdi.kubevirt.io/storage.pod.phase"
rooted = pytest.mark.skipif(os.geteuid() != 0, reason="loop devices need root")


@dataclass
class Hand:
    """Who applies manifests to a place, and looks at what comes of them."""

    name: str
    place: Place
    kubectl: bool

    def apply(self, manifest: str, **words: str) -> str:
        """Apply a manifest; the name of its object, which no other hand uses."""
        obj = yaml.safe_load(manifest.format(**words))
        obj["metadata"]["name"] = f"{self.name}-{obj['metadata']['name']}"
        if self.kubectl:
            self.run("apply", "-f", "-", sent=json.dumps(obj))
        elif obj["kind"] == "PersistentVolumeClaim":
            self.place.core().create_namespaced_persistent_volume_claim("default", obj)
        elif obj["kind"] == "Pod":
            self.place.core().create_namespaced_pod("default", obj)
        else:
            self.place.create(obj)
        return str(obj["metadata"]["name"])

    def run(self, *words: str, sent: str = "") -> str:
        """What kubectl says."""
        command = [programs.folder() / "kubectl", "--kubeconfig", self.place.kubeconfig, *words]
        done = subprocess.run(command, input=sent, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def wait(self, name: str, phase: str) -> dict[str, Any]:
        """The DataVolume in that phase, as its user waits for it."""
        if self.kubectl:
            self.run("wait", f"dv/{name}", f"--for=jsonpath={{.status.phase}}={phase}", "--timeout=90s")
            assert phase in self.run("get", "dv", name)
        return self.place.wait("datavolumes", name, phase, 90)

    def filled(self, claim: str) -> None:
        """Wait until a claim without a DataVolume says that it is filled."""

        def seen() -> bool:
            found = self.place.core().read_namespaced_persistent_volume_claim(claim, "default")
            assert (found.metadata.annotations or {}).get(GIVEN) == "Succeeded", self.place.events(claim)
            return True

        eventually(seen, 90)

    def disk(self, claim: str) -> bytes:
        """The beginning of a claim's disk; of a block device, its backing file's."""
        with (self.place.volume(claim) / "disk.img").open("rb") as file:
            return file.read(len(DISK))


BY_API = "api"
BY_KUBECTL = [pytest.param(each, marks=pytest.mark.cluster) for each in ("yard", "cluster")]


@pytest.fixture(scope="module", params=[BY_API, *BY_KUBECTL])
def hand(request: pytest.FixtureRequest) -> Hand:
    """By the API, or by kubectl: on a yard and on a cluster."""
    place = request.getfixturevalue("cluster" if request.param == "cluster" else "yard")
    return Hand(request.param, place, request.param != BY_API)


@pytest.fixture(scope="module")
def image(images: ImageServer) -> str:
    """URL of a raw disk."""
    (images.root / "example.img").write_bytes(DISK)
    return images.url("example.img")


@pytest.fixture(scope="module")
def stored(hand: Hand, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a container disk in a registry without TLS, which the operator allows."""
    folder = tmp_path_factory.mktemp("registry")
    with registry(folder, folder / "store") as found:
        allow_plain_http(hand.place, found.host)
        yield pushed(found, folder)


def pushed(found: Registry, folder: Any) -> str:
    layout = oci.Layout(folder / "layout")
    made = layout.image([tar([entry("disk/disk.img", DISK)])])
    url = f"docker://{found.host}/fedora:latest"
    oci.copy(f"oci:{layout.write(made)}", url)
    return url


HEAD = """
apiVersion: cdi.kubevirt.io/v1beta1
kind: DataVolume
metadata: {{name: {name}, annotations: {{{annotations}}}}}
spec:
"""
STORAGE = "  storage: {{resources: {{requests: {{storage: 64Mi}}}}}}\n"
BLOCK = "  storage: {{volumeMode: Block, resources: {{requests: {{storage: 64Mi}}}}}}\n"
CLAIM = "  pvc: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 80Mi}}}}}}\n"
HTTP = '  source: {{http: {{url: "{url}"}}}}\n'
WAITING = "  storage: {{storageClassName: local-wait, resources: {{requests: {{storage: 64Mi}}}}}}\n"
AT_ONCE = 'cdi.kubevirt.io/storage.bind.immediate.requested: ""'
SHAPES = {
    "storage": HTTP + STORAGE,
    "pvc": HTTP + CLAIM,
    "pvc-with-content-type": HTTP + "  contentType: kubevirt\n" + CLAIM,
    "from-storage-profile": HTTP
    + STORAGE.replace("{{resources", "{{volumeMode: FromStorageProfile, resources"),
    "preallocated": HTTP + "  preallocation: true\n" + STORAGE,
    "skip-tls": '  source: {{http: {{url: "{url}", insecureSkipVerify: true}}}}\n' + STORAGE,
    "block": HTTP + BLOCK,
    "block-pvc": HTTP + CLAIM.replace("accessModes", "volumeMode: Block, accessModes"),
}


@pytest.mark.parametrize("shape", [*SHAPES])
def test_an_image_becomes_the_disk_of_every_shape(hand: Hand, image: str, shape: str) -> None:
    if "block" in shape and os.geteuid() != 0:
        pytest.skip("loop devices need root")

    name = hand.apply(HEAD + SHAPES[shape], name=f"http-{shape}", annotations="", url=image)

    assert hand.wait(name, "Succeeded")["status"]["progress"] == "100.0%"
    assert hand.disk(name) == DISK


@pytest.mark.parametrize("way", ["true", "false"], ids=["populator", "annotations"])
@rooted
def test_a_block_device_is_filled_either_way(hand: Hand, image: str, way: str) -> None:
    asked = f'cdi.kubevirt.io/storage.usePopulator: "{way}"'
    name = hand.apply(HEAD + HTTP + BLOCK, name=f"device-{way}", annotations=asked, url=image)

    hand.wait(name, "Succeeded")
    assert hand.disk(name) == DISK


@pytest.mark.parametrize("room", [STORAGE, pytest.param(BLOCK, marks=rooted)], ids=["storage", "block"])
def test_a_container_disk_becomes_a_disk(hand: Hand, stored: str, room: str) -> None:
    kind = "block" if room == BLOCK else "storage"
    source = '  source: {{registry: {{url: "{url}"}}}}\n'
    name = hand.apply(HEAD + source + room, name=f"registry-{kind}", annotations="", url=stored)

    hand.wait(name, "Succeeded")
    assert hand.disk(name) == DISK


@pytest.mark.parametrize("room", [STORAGE, pytest.param(BLOCK, marks=rooted)], ids=["storage", "block"])
def test_a_blank_disk_is_nothing_but_zeros(hand: Hand, room: str) -> None:
    kind = "block" if room == BLOCK else "storage"
    name = hand.apply(HEAD + "  source: {{blank: {{}}}}\n" + room, name=f"blank-{kind}", annotations="")

    hand.wait(name, "Succeeded")
    assert not hand.disk(name).strip(b"\0")


@pytest.mark.parametrize("room", [STORAGE, pytest.param(BLOCK, marks=rooted)], ids=["storage", "block"])
def test_an_upload_is_waited_for(hand: Hand, room: str) -> None:
    kind = "block" if room == BLOCK else "storage"
    name = hand.apply(HEAD + "  source: {{upload: {{}}}}\n" + room, name=f"upload-{kind}", annotations="")

    assert hand.wait(name, "UploadReady")["status"]["progress"] == "N/A"
    hand.place.delete("datavolumes", name)


def test_an_archive_becomes_files(hand: Hand, images: ImageServer) -> None:
    (images.root / "example.tar").write_bytes(tar([entry("etc/motd", b"hello")]))
    shape = HEAD + HTTP + "  contentType: archive\n" + CLAIM
    name = hand.apply(shape, name="archive", annotations="", url=images.url("example.tar"))

    hand.wait(name, "Succeeded")
    assert (hand.place.volume(name) / "etc/motd").read_bytes() == b"hello"


def test_an_archive_as_a_block_device_is_refused_with_cdis_words(hand: Hand) -> None:
    obj = yaml.safe_load(
        (HEAD + HTTP + "  contentType: archive\n" + BLOCK).format(name="n", annotations="", url="http://x/y")
    )
    name = f"{hand.name}-archive-block"
    hand.place.create({**obj, "metadata": {"name": name}})

    assert hand.place.told(name, "ContentType Archive cannot have block volumeMode")
    hand.place.delete("datavolumes", name)


ANNOTATED = """
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  name: {name}
  labels: {{app: containerized-data-importer}}
  annotations: {{{annotations}}}
spec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 80Mi}}}}}}
"""
IMPORT = "cdi.kubevirt.io/storage.import"


def test_a_claim_that_is_annotated_is_filled_without_a_datavolume(hand: Hand, image: str) -> None:
    name = hand.apply(ANNOTATED, name="golden", annotations=f'{IMPORT}.endpoint: "{image}"')

    hand.filled(name)
    assert hand.disk(name) == DISK


def test_a_claim_that_names_a_registry_is_filled_without_a_datavolume(hand: Hand, stored: str) -> None:
    asked = f'{IMPORT}.endpoint: "{stored}", {IMPORT}.source: registry, cdi.kubevirt.io/storage.contentType: kubevirt'
    name = hand.apply(ANNOTATED, name="golden-registry", annotations=asked)

    hand.filled(name)
    assert hand.disk(name) == DISK


def test_a_claim_that_waits_for_an_upload_gets_its_server(hand: Hand) -> None:
    name = hand.apply(ANNOTATED, name="target", annotations='cdi.kubevirt.io/storage.upload.target: ""')

    def ready() -> bool:
        found = hand.place.core().read_namespaced_persistent_volume_claim(name, "default")
        return (found.metadata.annotations or {}).get("cdi.kubevirt.io/storage.pod.ready") == "true"

    eventually(ready, 90)
    hand.place.core().delete_namespaced_persistent_volume_claim(name, "default")


CONSUMER = """
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  restartPolicy: Never
  containers: [{{name: main, image: "{image}", command: ["true"], volumeMounts: [{{name: disk, mountPath: /disk}}]}}]
  volumes: [{{name: disk, persistentVolumeClaim: {{claimName: {claim}}}}}]
"""


@pytest.mark.parametrize(
    ("way", "phase"),
    [("false", "WaitForFirstConsumer"), ("true", "PendingPopulation")], ids=["annotations", "populator"],
)  # fmt: skip
def test_a_claim_waits_for_its_first_consumer_and_is_filled_then(
    hand: Hand, image: str, way: str, phase: str
) -> None:
    asked = f'cdi.kubevirt.io/storage.usePopulator: "{way}"'
    name = hand.apply(HEAD + HTTP + WAITING, name=f"waiting-{way}", annotations=asked, url=image)
    hand.wait(name, phase)

    hand.apply(CONSUMER, name=f"consumer-{way}", claim=name, image=IMAGE)

    hand.wait(name, "Succeeded")
    assert hand.disk(name) == DISK


@pytest.mark.parametrize("way", ["false", "true"], ids=["annotations", "populator"])
def test_a_claim_that_is_to_be_bound_at_once_waits_for_nobody(hand: Hand, image: str, way: str) -> None:
    asked = f'{AT_ONCE}, cdi.kubevirt.io/storage.usePopulator: "{way}"'
    name = hand.apply(HEAD + HTTP + WAITING, name=f"immediate-{way}", annotations=asked, url=image)

    hand.wait(name, "Succeeded")
    assert hand.disk(name) == DISK


OLD = (CDI[0], "v1alpha1", "default")


def test_an_old_client_sees_and_changes_what_a_new_one_does(hand: Hand, image: str) -> None:
    """v1alpha1, whose DataVolumes have a `spec.pvc`."""
    manifest = (HEAD + HTTP + CLAIM).replace("v1beta1", "v1alpha1")
    obj = yaml.safe_load(manifest.format(name="x", annotations="", url=image))
    obj["metadata"]["name"] = name = f"{hand.name}-old"
    api = client.CustomObjectsApi(hand.place.api())
    if hand.kubectl:
        hand.run("apply", "-f", "-", sent=json.dumps(obj))
    else:
        api.create_namespaced_custom_object(*OLD, "datavolumes", obj)

    done = hand.wait(name, "Succeeded")
    seen = api.get_namespaced_custom_object(*OLD, "datavolumes", name)
    api.patch_namespaced_custom_object(*OLD, "datavolumes", name, {"metadata": {"labels": {"a": "b"}}})

    assert hand.disk(name) == DISK
    assert (done["apiVersion"], seen["apiVersion"]) == ("cdi.kubevirt.io/v1beta1", "cdi.kubevirt.io/v1alpha1")
    assert (seen["spec"], seen["status"]) == (done["spec"], done["status"])
    assert hand.place.get("datavolumes", name)["metadata"]["labels"] == {"a": "b"}
    claim = hand.place.core().read_namespaced_persistent_volume_claim(name, "default")
    assert claim.metadata.owner_references[0].api_version == "cdi.kubevirt.io/v1beta1"


def test_an_old_clients_mistakes_are_refused_as_a_new_ones(hand: Hand) -> None:
    manifest = (HEAD + "  source: {{blank: {{}}, upload: {{}}}}\n" + CLAIM).replace("v1beta1", "v1alpha1")
    obj = yaml.safe_load(manifest.format(name=f"{hand.name}-wrong", annotations=""))

    with pytest.raises(ApiException, match="Multiple Data volume sources") as refused:
        client.CustomObjectsApi(hand.place.api()).create_namespaced_custom_object(*OLD, "datavolumes", obj)

    assert refused.value.status == 422
