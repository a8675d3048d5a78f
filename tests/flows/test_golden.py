"""Golden images by the API: a source is looked at, what is new is imported, and then the DataSource moves."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from tests.builders import eventually
from tests.disk.tars import entry, tar
from tests.flows.place import CDI, Place
from tests.flows.test_clones import done, permitted
from tests.flows.test_sources import allow_plain_http
from tests.flows.yard import data_volume
from tests.imageserver import ImageServer
from tests.importer import oci
from tests.importer.registries import Registry, registry
from tests.importer.signers import Signer, signing
from tests.importer.stores import SECRET, USER, gcs_store, swift_store

DESIRED = "cdi.kubevirt.io/storage.import.sourceDesiredDigest"
LAST = "cdi.kubevirt.io/storage.import.lastCronTime"
SUMS = "diskyard.io/checksum-url"
NEWEST = "diskyard.io/newest"
NEVER_SOON = "0 0 1 1 *"
DIC = (*CDI, "default", "dataimportcrons")


def objects(place: Place) -> client.CustomObjectsApi:
    return client.CustomObjectsApi(place.api())


def a_cron(
    name: str, source: dict[str, Any], said: dict[str, str] | None = None, **spec: Any
) -> dict[str, Any]:
    return {
        "apiVersion": "/".join(CDI),
        "kind": "DataImportCron",
        "metadata": {"name": name},
        "spec": {
            "schedule": NEVER_SOON,
            "managedDataSource": name,
            "retentionPolicy": "None",
            "template": {
                "metadata": {"annotations": said or {}},
                "spec": {"source": source, "storage": {"resources": {"requests": {"storage": "64Mi"}}}},
            },
            **spec,
        },
    }


def cron(place: Place, name: str) -> dict[str, Any]:
    return dict(objects(place).get_namespaced_custom_object(*DIC, name))


def condition(obj: dict[str, Any], kind: str) -> dict[str, Any]:
    found = obj.get("status", {}).get("conditions") or ()
    return next((dict(each) for each in found if each["type"] == kind), {})


def look_again(place: Place, name: str) -> None:
    """As if the time of its schedule had come."""
    objects(place).patch_namespaced_custom_object(*DIC, name, {"metadata": {"annotations": {LAST: None}}})


def unseen(place: Place, name: str, words: str) -> str:
    """Why the source could not be looked at, once that look is over: the next one may be asked for."""

    def seen() -> str:
        found = condition(cron(place, name), "Polled")
        said = f"{found.get('reason')}: {found.get('message')}"
        assert found.get("status") == "False", said
        assert words in said, said
        return said

    said = eventually(seen, 120)
    place.told(name, words, 60)
    return said


@contextmanager
def kept_current(place: Place, obj: dict[str, Any]) -> Iterator[str]:
    """A cron for a while; what it made goes with it."""
    objects(place).create_namespaced_custom_object(*DIC, obj)
    name = obj["metadata"]["name"]
    try:
        yield name
    finally:
        objects(place).delete_namespaced_custom_object(*DIC, name)
        place.gone("datasources", name, 120)


def stands_for(place: Place, name: str) -> str:
    """The claim that the DataSource names; empty: none yet."""
    try:
        said = place.get("datasources", name)["spec"]["source"]
    except ApiException as error:
        if error.status != 404:
            raise
        return ""
    return str((said.get("pvc") or {}).get("name", ""))


def image(place: Place, name: str, contents: bytes) -> str:
    """The claim that the DataSource stands for, once its disk begins with these bytes."""

    def seen() -> str:
        told = cron(place, name)
        found = stands_for(place, name)
        assert found, (told["metadata"].get("annotations"), told.get("status"))
        with (place.volume(found) / "disk.img").open("rb") as disk:
            there = disk.read(len(contents)) == contents
        assert there, (found, told.get("status"))
        assert condition(told, "UpToDate").get("status") == "True", told["status"]
        return str(found)

    return eventually(seen, 180)


def rolled_back(place: Place, name: str, *options: str) -> str:
    """What `diskyard rollback` says."""
    command = [sys.executable, "-m", "cli", "rollback", name, "--kubeconfig", str(place.kubeconfig), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def put(images: ImageServer, name: str, contents: bytes) -> None:
    """All at once, as a pipeline does it."""
    part = images.root / f"{name}.part"
    part.write_bytes(contents)
    part.rename(images.root / name)


@pytest.fixture(scope="module")
def shelf(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry over plain HTTP, which the operator allows."""
    folder = tmp_path_factory.mktemp("shelf")
    with registry(folder, folder / "store") as found:
        allow_plain_http(place, found.host)
        yield found


def push(shelf: Registry, folder: Path, contents: bytes) -> str:
    """Put an image under the one tag."""
    layout = oci.Layout(folder)
    url = f"docker://{shelf.host}/golden/debian:13"
    oci.copy(f"oci:{layout.write(layout.image([tar([entry('disk/disk.img', contents)])]))}", url)
    return url


def test_a_new_tag_in_a_registry_becomes_the_next_image(
    place: Place, shelf: Registry, tmp_path: Path
) -> None:
    one, two = os.urandom(1 << 20), os.urandom(1 << 20)
    url = push(shelf, tmp_path / "one", one)
    with kept_current(place, a_cron("tagged", {"registry": {"url": url}})) as name:
        first = image(place, name, one)
        digest = cron(place, name)["metadata"]["annotations"][DESIRED]
        assert first == f"tagged-{digest.removeprefix('sha256:')[:12]}"
        push(shelf, tmp_path / "two", two)
        look_again(place, name)
        second = image(place, name, two)
        assert second != first
        place.told(name, f"Switched: from {digest} to sha256:")
        assert f"stands for {first} ({digest}), and stays there" in rolled_back(place, name)
        assert stands_for(place, name) == first
        place.told(name, f"to {digest} ({first})", 60)
        assert stands_for(place, name) == first
        rolled_back(place, name, "--release")
        image(place, name, two)


@pytest.fixture
def signer(place: Place) -> Iterator[Signer]:
    """A key, which the ConfigMap `our-keys` knows."""
    with signing() as found:
        keys = {
            "metadata": {"name": "our-keys"},
            "data": {"keyring.asc": found.gpg("--armor", "--export").decode()},
        }
        place.core().create_namespaced_config_map("default", keys)
        yield found
        place.core().delete_namespaced_config_map("our-keys", "default")


def test_the_signed_checksums_of_a_web_server_name_the_newest_image(
    place: Place, images: ImageServer, signer: Signer
) -> None:
    one, two = os.urandom(1 << 20), os.urandom(1 << 20)
    lines = []
    for number, contents in ((9, one), (10, two)):
        put(images, f"os-{number}.img", contents)
        lines.append(f"{hashlib.sha256(contents).hexdigest()}  os-{number}.img\n")
    put(images, "SHA256SUMS", lines[0].encode())
    put(images, "SHA256SUMS.gpg", signer.signature(lines[0].encode()))
    said = {
        SUMS: images.url("SHA256SUMS"),
        NEWEST: "os-*.img",
        "diskyard.io/signature-url": images.url("SHA256SUMS.gpg"),
        "diskyard.io/keyring": "our-keys",
    }
    with kept_current(place, a_cron("listed", {"http": {"url": images.url("")}}, said)) as name:
        first = image(place, name, one)
        other = f"{hashlib.sha256(two).hexdigest()}  notes.txt\n".encode()
        put(images, "SHA256SUMS.gpg", signer.signature(other))
        put(images, "SHA256SUMS", other)
        look_again(place, name)
        unseen(place, name, "names no file that fits 'os-*.img': it has notes.txt")
        both = "".join(lines).encode()
        put(images, "SHA256SUMS", both)
        look_again(place, name)
        unseen(place, name, "ChecksumError: the signature")
        assert stands_for(place, name) == first
        put(images, "SHA256SUMS.gpg", signer.signature(both))
        look_again(place, name)
        image(place, name, two)


def keys(secret: str) -> dict[str, Any]:
    """The Secret of a bucket."""
    return {"metadata": {"name": "golden-bucket"}, "stringData": {"accessKeyId": USER, "secretKey": secret}}


def test_the_newest_object_of_a_bucket_is_the_next_image_and_without_the_right_the_last_one_serves(
    place: Place, tmp_path: Path
) -> None:
    one, two = os.urandom(1 << 20), os.urandom(1 << 20)
    place.core().create_namespaced_secret("default", keys(SECRET))
    with swift_store(tmp_path) as store:
        store.put(one, "os/os-9.img")
        wanted = a_cron(
            "bucketed", {"s3": {"url": store.url("os/"), "secretRef": "golden-bucket"}}, {NEWEST: "os-*.img"}
        )
        with kept_current(place, wanted) as name:
            first = image(place, name, one)
            store.put(two, "os/os-10.img")
            place.core().patch_namespaced_secret("golden-bucket", "default", keys("wrong"))
            look_again(place, name)
            unseen(place, name, "AccessDenied")
            assert stands_for(place, name) == first
            place.core().patch_namespaced_secret("golden-bucket", "default", keys(SECRET))
            look_again(place, name)
            image(place, name, two)
    place.core().delete_namespaced_secret("golden-bucket", "default")


def test_another_generation_in_googles_bucket_is_the_next_image(place: Place) -> None:
    one, two = os.urandom(1 << 20), os.urandom(1 << 20)
    with gcs_store() as store:
        store.put(one, "os.img")
        with kept_current(place, a_cron("generated", {"gcs": {"url": store.url("os.img")}})) as name:
            image(place, name, one)
            store.put(two, "os.img")
            look_again(place, name)
            image(place, name, two)


def test_a_claim_of_another_namespace_is_kept_current_with_the_right_alone(
    place: Place, images: ImageServer, elsewhere: str
) -> None:
    """CVE-2025-14459: whoever could make a cron read every claim."""
    contents = os.urandom(1 << 20)
    put(images, "origin.img", contents)
    where = (*CDI, elsewhere, "datavolumes")
    origin = data_volume("golden-origin", {"http": {"url": images.url("origin.img")}})
    objects(place).create_namespaced_custom_object(*where, origin)
    done(place, "golden-origin", elsewhere)
    wanted = a_cron("of-a-claim", {"pvc": {"namespace": elsewhere, "name": "golden-origin"}})
    with kept_current(place, wanted) as name:
        told = unseen(place, name, "NotAuthorized")
        assert "may not create datavolumes/source in namespace elsewhere" in told
        assert not stands_for(place, name)
        with permitted(place, ("default", "default"), elsewhere):
            look_again(place, name)
            image(place, name, contents)
    objects(place).delete_namespaced_custom_object(*where, "golden-origin")


def test_a_page_in_the_place_of_an_image_changes_nothing(place: Place, images: ImageServer) -> None:
    contents = os.urandom(1 << 20)
    put(images, "plain.img", contents)
    with kept_current(place, a_cron("paged", {"http": {"url": images.url("plain.img")}})) as name:
        before = image(place, name, contents)
        put(images, "plain.img", b"<!DOCTYPE html><html><body>Please log in</body></html>" * 40)
        look_again(place, name)
        failed = eventually(lambda: _failing(place, name), 120)
        assert condition(failed, "UpToDate")["status"] == "False"
        assert place.get("datasources", name)["spec"]["source"]["pvc"]["name"] == before
        put(images, "plain.img", other := os.urandom(1 << 20))
        look_again(place, name)
        image(place, name, other)


def _failing(place: Place, name: str) -> dict[str, Any]:
    found = cron(place, name)
    assert condition(found, "Progressing").get("reason") == "Failed", found.get("status")
    return found


@pytest.fixture
def snapping(yard: Place) -> Iterator[Place]:
    """A yard whose storage keeps images as snapshots, for a while."""

    def keep_as(format: str | None) -> None:
        wanted = {"spec": {"dataImportCronSourceFormat": format}}
        objects(yard).patch_cluster_custom_object(*CDI, "storageprofiles", "local", wanted)
        eventually(lambda: _kept_as(yard) == (format or "pvc"))

    keep_as("snapshot")
    yield yard
    keep_as(None)


def _kept_as(place: Place) -> str:
    found = objects(place).get_cluster_custom_object(*CDI, "storageprofiles", "local")
    return str(found["status"]["dataImportCronSourceFormat"])


def test_an_image_is_kept_as_a_snapshot_where_its_storage_wants_that(
    snapping: Place, images: ImageServer
) -> None:
    contents = os.urandom(1 << 20)
    put(images, "snapped.img", contents)
    with kept_current(snapping, a_cron("snapped", {"http": {"url": images.url("snapped.img")}})) as name:
        found = snapping.until("datasources", name, lambda obj: "snapshot" in obj["spec"]["source"], 180)
        shot = found["spec"]["source"]["snapshot"]["name"]
        assert cron(snapping, name)["status"]["sourceFormat"] == "snapshot"
        snapping.gone("datavolumes", shot, 120)
        wanted = data_volume("of-a-snapshot", {}, sourceRef={"kind": "DataSource", "name": name})
        del wanted["spec"]["source"]
        snapping.create(wanted)
        snapping.wait("datavolumes", "of-a-snapshot", "Succeeded", 120)
        with (snapping.volume("of-a-snapshot") / "disk.img").open("rb") as disk:
            same = disk.read(len(contents)) == contents
        assert same
        snapping.delete("datavolumes", "of-a-snapshot")


def test_what_is_no_cron_is_refused(place: Place) -> None:
    wrong = a_cron("wrong", {"registry": {"url": "docker://registry.example/a:b"}}, schedule="61 * * * *")
    assert "Illegal cron schedule" in place.refusal(wrong)
    folder = a_cron("wrong", {"http": {"url": "http://web.example/images/"}})
    assert "a folder, which http does not list" in place.refusal(folder)
    assert "Missing source" in place.refusal(a_cron("wrong", {"blank": {}}))
