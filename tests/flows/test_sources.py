"""Every source over real servers: from a manifest with its Secret to the right bytes, or to words that help."""

import base64
import hashlib
import json
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from kubernetes import client

from tests.builders import eventually
from tests.disk.images import qemu_img
from tests.disk.tars import entry, tar
from tests.flows.place import CDI, Place
from tests.flows.yard import data_volume
from tests.imageserver import ImageServer, fault_server
from tests.importer import engine, oci
from tests.importer.google import google
from tests.importer.ovirt_host import host
from tests.importer.registries import PASSWORD, Registry, passwords, registry
from tests.importer.registries import USER as ANN
from tests.importer.stores import SECRET, USER, S3Store, swift_store

DISK = oci.noise(2 << 20)
PREFERENCE = "instancetype.kubevirt.io/default-preference"
PULL_SECRET = "kubernetes.io/dockerconfigjson"


@pytest.fixture(scope="module")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Store]:
    """Object storage that refuses wrong keys; it has the disk."""
    with swift_store(tmp_path_factory.mktemp("swift")) as store:
        store.put(DISK, "disk.img")
        yield store


@pytest.fixture(scope="module")
def private(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry behind a password, over plain HTTP, which the operator allows."""
    folder = tmp_path_factory.mktemp("registry")
    with registry(folder, folder / "store", auth=passwords(folder)) as found:
        allow_plain_http(place, found.host)
        yield found


@pytest.fixture(scope="module")
def image(private: Registry, tmp_path_factory: pytest.TempPathFactory) -> str:
    """URL of an image with the disk, which says what guests want to run from it."""
    layout = oci.Layout(tmp_path_factory.mktemp("layout"))
    env = ["INSTANCETYPE_KUBEVIRT_IO_DEFAULT_PREFERENCE=debian"]
    made = layout.image([tar([entry("disk/disk.img", DISK)])], env=env)
    url = f"docker://{private.host}/golden/debian:12"
    oci.copy(f"oci:{layout.write(made)}", url, f"--dest-creds={ANN}:{PASSWORD}")
    return url


def allow_plain_http(place: Place, host: str) -> None:
    """As an operator does: on the CDI; the controllers carry it on to the CDIConfig."""
    api = client.CustomObjectsApi(place.api())
    asked = {"spec": {"config": {"insecureRegistries": [host]}}}
    api.patch_cluster_custom_object(*CDI, "cdis", "cdi", asked)

    def carried() -> bool:
        config = api.get_cluster_custom_object(*CDI, "cdiconfigs", "config")
        return host in config["spec"].get("insecureRegistries", [])

    eventually(carried)


def secret(place: Place, name: str, kind: str = "Opaque", **entries: str) -> None:
    body = {"metadata": {"name": name}, "type": kind, "stringData": entries}
    place.core().create_namespaced_secret("default", body)


def disk(place: Place, name: str) -> bytes:
    """The beginning of the disk that a DataVolume has become."""
    place.wait("datavolumes", name, "Succeeded")
    with (place.volume(name) / "disk.img").open("rb") as file:
        return file.read(len(DISK))


def running(dv: dict[str, Any]) -> dict[str, str]:
    return next((c for c in dv["status"].get("conditions", []) if c["type"] == "Running"), {})


def test_a_disk_comes_from_s3(place: Place, swift: S3Store) -> None:
    secret(place, "s3-keys", accessKeyId=USER, secretKey=SECRET)

    place.create(data_volume("s3", {"s3": {"url": swift.url("disk.img"), "secretRef": "s3-keys"}}))

    assert disk(place, "s3") == DISK


def test_a_wrong_key_fails_and_names_the_secret(place: Place, swift: S3Store) -> None:
    secret(place, "s3-wrong", accessKeyId=USER, secretKey="wrong")

    place.create(data_volume("s3-wrong", {"s3": {"url": swift.url("disk.img"), "secretRef": "s3-wrong"}}))

    failed = place.wait("datavolumes", "s3-wrong", "Failed")
    assert "secret key" in running(failed)["message"]
    assert "spec.source.s3.secretRef" in place.told("s3-wrong", "secretRef")
    assert not (place.volume("s3-wrong") / "disk.img").exists()


def test_a_secret_that_comes_later_is_waited_for_by_name(place: Place, swift: S3Store) -> None:
    place.create(data_volume("s3-later", {"s3": {"url": swift.url("disk.img"), "secretRef": "s3-later"}}))
    place.until("datavolumes", "s3-later", lambda dv: "s3-later" in running(dv).get("message", ""))

    secret(place, "s3-later", accessKeyId=USER, secretKey=SECRET)

    assert disk(place, "s3-later") == DISK


def test_a_disk_comes_from_google_with_a_service_accounts_key(place: Place) -> None:
    with google(DISK) as server:
        secret(place, "account", **{"credentials.json": server.key})

        url = f"{server.endpoint}/bucket/a%20disk"
        place.create(data_volume("gcs", {"gcs": {"url": url, "secretRef": "account"}}))

        assert disk(place, "gcs") == DISK
        assert any("authorization" in headers for _, headers in server.seen)


def test_a_disk_comes_from_ovirt_whose_authority_is_in_a_config_map(place: Place, tmp_path: Path) -> None:
    authority, image = trustme.CA(), tmp_path / "disk.raw"
    image.write_bytes(DISK)
    roots = {"metadata": {"name": "roots"}, "data": {"ca.pem": authority.cert_pem.bytes().decode()}}
    place.core().create_namespaced_config_map("default", roots)
    secret(place, "ovirt", accessKeyId=engine.USER, secretKey=engine.PASSWORD)
    asked = {"diskId": engine.DISK, "secretRef": "ovirt", "certConfigMap": "roots"}

    with host(image, tmp_path, authority) as serving, engine.engine(serving, authority) as ovirt:
        place.create(data_volume("ovirt", {"imageio": {"url": ovirt.url, **asked}}))

        assert disk(place, "ovirt") == DISK


@pytest.mark.parametrize("populated", ["true", "false"], ids=["populator", "annotations"])
def test_a_disk_comes_from_ovirt_in_stages_while_its_machine_runs(
    place: Place, tmp_path: Path, populated: str
) -> None:
    """As migration tools ask for it: everything at one snapshot, then what has changed until the next."""
    name, authority, one, two = f"warm-{populated}", trustme.CA(), tmp_path / "one", tmp_path / "two"
    one.write_bytes(DISK)
    qemu_img("create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(one), str(two))
    changes = ("-c", "write -P 7 64k 4k", "-c", "write -z 1M 128k")
    subprocess.run(["qemu-io", "-f", "qcow2", *changes, two], check=True, capture_output=True)
    qemu_img("convert", "-f", "qcow2", "-O", "raw", str(two), str(tmp_path / "now"))
    roots = {"metadata": {"name": name}, "data": {"ca.pem": authority.cert_pem.bytes().decode()}}
    place.core().create_namespaced_config_map("default", roots)
    secret(place, name, accessKeyId=engine.USER, secretKey=engine.PASSWORD)
    asked = {"diskId": engine.DISK, "secretRef": name, "certConfigMap": name}
    first, second = {"previous": "", "current": "one"}, {"previous": "one", "current": "two"}

    with host(one, tmp_path, authority) as serving, engine.engine(serving, authority) as ovirt:
        ovirt.disks, ovirt.layers = {"one": f"file://{one}"}, {"one": f"file://{one}", "two": f"file://{two}"}
        dv = data_volume(name, {"imageio": {"url": ovirt.url, **asked}}, checkpoints=[first])
        dv["metadata"]["annotations"] = {"cdi.kubevirt.io/storage.usePopulator": populated}
        place.create(dv)
        place.wait("datavolumes", name, "Paused")
        place.patch("datavolumes", name, {"spec": {"checkpoints": [first, second], "finalCheckpoint": True}})

        assert disk(place, name) == (tmp_path / "now").read_bytes()
    assert place.told(name, f"ImportPaused: Multistage import into PVC {name} is paused")


def test_a_pull_secret_opens_a_registry_and_the_images_labels_arrive(
    place: Place, private: Registry, image: str
) -> None:
    auth = base64.b64encode(f"{ANN}:{PASSWORD}".encode()).decode()
    auths = json.dumps({"auths": {private.host: {"auth": auth}}})
    secret(place, "pull", PULL_SECRET, **{".dockerconfigjson": auths})

    asked = {"url": image, "secretRef": "pull", "pullMethod": "node"}
    place.create(data_volume("registry", {"registry": asked}))

    assert disk(place, "registry") == DISK
    claim = place.core().read_namespaced_persistent_volume_claim("registry", "default")
    assert claim.metadata.labels[PREFERENCE] == "debian"
    assert place.get("datavolumes", "registry")["metadata"]["labels"][PREFERENCE] == "debian"
    assert place.told("registry", "PulledByPod")


def test_user_and_password_open_a_registry(place: Place, image: str) -> None:
    secret(place, "ann", accessKeyId=ANN, secretKey=PASSWORD)

    place.create(data_volume("registry-user", {"registry": {"url": image, "secretRef": "ann"}}))

    assert disk(place, "registry-user") == DISK


def test_a_registry_that_wants_a_password_says_so(place: Place, image: str) -> None:
    place.create(data_volume("registry-nobody", {"registry": {"url": image}}))

    failed = place.wait("datavolumes", "registry-nobody", "Failed")

    assert "without credentials" in running(failed)["message"]


def test_a_web_server_is_asked_with_every_secret_by_its_own_authority(place: Place, tmp_path: Path) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    pem = authority.cert_pem.bytes().decode()
    place.core().create_namespaced_config_map(
        "default", {"metadata": {"name": "web-ca"}, "data": {"ca.pem": pem}}
    )
    secret(place, "web-user", accessKeyId="ann", secretKey="secret")
    secret(place, "web-token", line="X-Token: hidden\n")
    with fault_server(DISK, tls=context) as server:
        source = {
            "url": server.url().replace("http:", "https:"), "certConfigMap": "web-ca", "secretRef": "web-user",
            "extraHeaders": ["X-Plain: told"], "secretExtraHeaders": ["web-token"],
        }  # fmt: skip
        place.create(data_volume("web", {"http": source}))

        assert disk(place, "web") == DISK

    basic = "Basic " + base64.b64encode(b"ann:secret").decode()
    names = ("authorization", "x-plain", "x-token")
    assert {tuple(hit.get(name) for name in names) for hit in server.seen} == {(basic, "told", "hidden")}


def test_an_archive_becomes_the_files_of_the_volume(place: Place, images: ImageServer) -> None:
    (images.root / "files.tar").write_bytes(tar([entry("etc/motd", b"hello"), entry("readme", b"read me")]))

    place.create(data_volume("archive", {"http": {"url": images.url("files.tar")}}, contentType="archive"))

    place.wait("datavolumes", "archive", "Succeeded")
    volume = place.volume("archive")
    assert ((volume / "etc/motd").read_text(), (volume / "readme").read_text()) == ("hello", "read me")


def summed(place: Place, images: ImageServer, name: str, digest: str) -> None:
    """A DataVolume whose image is in a file of checksums, with that digest."""
    (images.root / f"{name}.img").write_bytes(DISK)
    (images.root / f"{name}.sums").write_text(f"{digest}  {name}.img\n")
    dv = data_volume(name, {"http": {"url": images.url(f"{name}.img")}})
    dv["metadata"]["annotations"] = {"diskyard.io/checksum-url": images.url(f"{name}.sums")}
    place.create(dv)


def test_a_file_of_checksums_vouches_for_a_disk(place: Place, images: ImageServer) -> None:
    summed(place, images, "sums-right", hashlib.sha256(DISK).hexdigest())

    assert disk(place, "sums-right") == DISK


def test_a_disk_that_a_file_of_checksums_does_not_know_fails(place: Place, images: ImageServer) -> None:
    summed(place, images, "sums-wrong", "0" * 64)

    failed = place.wait("datavolumes", "sums-wrong", "Failed")
    assert "0" * 64 in running(failed)["message"]


def test_a_yard_says_how_vmwares_library_gets_there(place: Place) -> None:
    secret(place, "vsphere", accessKeyId="a", secretKey="b")
    vddk = {
        "url": "https://127.0.0.1:1/sdk", "uuid": "u", "backingFile": "[d] m/m.vmdk", "thumbprint": "AA:BB",
        "secretRef": "vsphere", "initImageURL": "registry.example/vddk:8",
    }  # fmt: skip

    place.create(data_volume("vddk", {"vddk": vddk}))

    waits = place.until("datavolumes", "vddk", lambda dv: running(dv).get("reason") == "ImagePullFailed")
    assert "registry.example/vddk:8" in running(waits)["message"]
    assert "diskyard.io/vddk-dir" in running(waits)["message"]


def test_an_image_stream_is_named_with_what_to_write_instead(place: Place) -> None:
    stream = {"registry": {"imageStream": "golden", "pullMethod": "node"}}
    place.create(data_volume("stream", stream))

    waits = place.until("datavolumes", "stream", lambda dv: running(dv).get("reason") == "SourceNotServed")

    assert "spec.source.registry.url" in running(waits)["message"]
