"""Guests from disks in container images, out of a real registry."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from demo.image import CACHE
from demo.kernel import kernel
from diskyard.api import meta
from diskyard.api.config import Config
from diskyard.api.instance import Instance, instance
from diskyard.api.meta import CDI_CONFIG, INSTANCE, Key, Obj
from diskyard.api.names import cdi
from diskyard.api.rules.instance import defaults
from diskyard.disk.imagestore import ImageStore
from standalone.storage.keeper import Keeper
from tests import builders
from tests.builders import eventually
from tests.disk.tars import entry, tar
from tests.importer.publisher import Publisher
from tests.importer.registries import registry
from tests.vm_runtime.bootsector import Then, disk
from tests.vm_runtime.line import Line, line
from vm_runtime.agent.host import Acceleration
from vm_runtime.controller.luggage import fetches, for_fetching, pieces, pull_secrets


def guest(**source: Any) -> Obj:
    obj = builders.stored(builders.instance("vm", volumes=[{"name": "v", "containerDisk": source}]))
    obj["spec"]["domain"]["devices"]["disks"] = []
    return obj


def read(**source: Any) -> Instance:
    return instance(defaults(guest(**source)))


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("example/cirros", "Always"),
        ("registry.example:5000/cirros", "Always"),
        ("example/cirros:latest", "Always"),
        ("example/cirros:v1", "IfNotPresent"),
        ("example/cirros@sha256:" + "0" * 64, "IfNotPresent"),
    ],
)
def test_a_tag_that_moves_is_asked_for_each_time(image: str, policy: str) -> None:
    assert defaults(guest(image=image))["spec"]["volumes"][0]["containerDisk"]["imagePullPolicy"] == policy


def test_an_importer_fetches_the_disk_before_the_guest_starts() -> None:
    settings = Config(registry_mirrors=("docker.io=mirror.example",), insecure_registries=("mirror.example",))

    container = fetches(read(image="example/cirros", imagePullSecret="login", path="/a.img"), settings)[0]

    env = {each["name"]: each.get("value") for each in container["env"]}
    assert (container["name"], container["command"]) == ("volumev", ["diskyard-importer"])
    assert (env["IMPORTER_SOURCE"], env["IMPORTER_ENDPOINT"]) == ("registry", "docker://example/cirros")
    assert env[cdi.ENV_IMAGE_PATH] == "/a.img"
    assert env[cdi.ENV_REGISTRY_MIRRORS] == "docker.io=mirror.example"
    assert {each["name"]: each["mountPath"] for each in container["volumeMounts"]} == {
        "v": "/data",
        "v-pull": "/registry",
    }


def test_a_kernel_and_its_initrd_are_fetched_as_disks_are() -> None:
    container = {"image": "example/k", "kernelPath": "/k", "initrdPath": "/i", "imagePullSecret": "login"}
    obj = guest(image="example/cirros")
    obj["spec"]["domain"]["firmware"] = {"kernelBoot": {"container": container}}

    asked = instance(defaults(obj))

    found = {
        each["name"]: next(e["value"] for e in each["env"] if e["name"] == "IMPORTER_ENDPOINT")
        for each in fetches(asked, Config())
    }
    assert found == {
        "volumev": "docker://example/cirros",
        "volumekernel-boot-kernel": "docker://example/k",
        "volumekernel-boot-initrd": "docker://example/k",
    }
    assert len(pull_secrets(asked)) == 2
    assert {"kernel-boot-kernel", "kernel-boot-initrd"} < {each.name for each in pieces(asked, Config())}


def test_with_a_store_the_guest_sees_its_own_lease_alone() -> None:
    wanted, kept = read(image="example/cirros:v1", imagePullSecret="login"), Config(image_store=True)

    container = fetches(wanted, kept)[0]
    seen = {each.name: each.volume for each in pieces(wanted, kept)}["v"]

    env = {each["name"]: each.get("value") for each in container["env"]}
    lease = f"{wanted.uid}-v"
    assert {each["name"]: each["mountPath"] for each in container["volumeMounts"]} == {
        "image-store": "/images",
        "v-pull": "/registry",
    }
    assert (env[cdi.ENV_LEASE], env[cdi.ENV_LEASE_OF]) == (lease, "default/vm volume v")
    assert (env[cdi.ENV_PULL_POLICY], env[cdi.ENV_TENANT]) == ("IfNotPresent", "default")
    assert seen["csi"] == {
        "driver": "images.diskyard.io", "readOnly": True, "volumeAttributes": {"lease": lease}
    }  # fmt: skip
    assert [each["name"] for each in for_fetching(wanted, kept)] == ["image-store", "v-pull"]


def test_a_pull_secret_is_for_the_container_that_fetches() -> None:
    found = pull_secrets(read(image="example/cirros", imagePullSecret="login"))

    assert found == ({"name": "v-pull", "secret": {"secretName": "login"}},)


pytestmark = [
    pytest.mark.guest,
    pytest.mark.skipif(
        not shutil.which("libvirtd") or not shutil.which("bwrap"), reason="needs libvirt and bubblewrap"
    ),
]


@pytest.fixture
def images(tmp_path: Path) -> Iterator[Publisher]:
    with registry(tmp_path / "registry", tmp_path / "store") as found:
        yield Publisher(found, tmp_path / "layout", "guest")


@pytest.fixture
def started(tmp_path: Path, images: Publisher) -> Iterator[Line]:
    with line(tmp_path, Acceleration(kvm=False, reason="this test's host has none")) as found:
        change = {"spec": {"insecureRegistries": [images.registry.host]}}
        found.objects.patch(CDI_CONFIG, Key(cdi.CONFIG_NAME), change)
        yield found


def start(started: Line, image: str, **more: str) -> None:
    started.start("vm", volumes=[{"name": "root", "containerDisk": {"image": image, **more}}])


def leases(started: Line) -> list[tuple[str, ...]]:
    """Who uses each image of the node's store."""
    return [each.users for each in ImageStore(started.volumes.with_name("images")).found()]


def test_a_guest_boots_from_a_container_image(started: Line, images: Publisher) -> None:
    url = images.push(tar([entry("disk/vm.img", disk("Hello from a container image", Then.BUTTON))]))

    start(started, url.removeprefix("docker://"))

    started.speaks("vm", "Hello from a container image")
    assert leases(started) == [("default/vm volume root",)]
    started.objects.delete(INSTANCE, Key("vm", "default"))
    eventually(lambda: started.gone(INSTANCE, "vm"), 60)
    Keeper(ImageStore(started.volumes.with_name("images")), started.objects).once()
    assert leases(started) == [()]


def test_never_starts_no_guest_whose_image_is_not_on_the_node(started: Line, images: Publisher) -> None:
    start(started, f"{images.registry.host}/guest", imagePullPolicy="Never")

    failed = started.reaches("vm", "Failed")
    said = meta.condition(failed, "Synchronized") or {}
    assert (failed["status"]["reason"], said["reason"]) == ("ErrImageNeverPull", "ErrImageNeverPull")
    assert "is not in this node's image store, and imagePullPolicy Never" in said["message"]


def test_a_guest_begins_with_a_kernel_out_of_a_container_image(started: Line, images: Publisher) -> None:
    system = kernel(CACHE)
    files = {
        "boot/vmlinuz": system.image.read_bytes(),
        "boot/initrd": b"no archive, and it need not be one" * 128,
    }
    url = images.push(tar([entry(name, content) for name, content in files.items()]), pack="")
    container = {
        "image": url.removeprefix("docker://"),
        "kernelPath": "/boot/vmlinuz",
        "initrdPath": "/boot/initrd",
    }
    obj = builders.instance("vm", volumes=[{"name": "root", "emptyDisk": {"capacity": "16Mi"}}])
    obj["spec"]["domain"]["firmware"] = {
        "kernelBoot": {"container": container, "kernelArgs": "earlyprintk=ttyS0 words=of-its-own"}
    }
    obj["spec"]["terminationGracePeriodSeconds"] = 0

    started.objects.create(INSTANCE, obj)

    started.speaks("vm", "words=of-its-own")
    running = started.speaks("vm", "RAMDISK: [mem")
    assert running["status"]["kernelBootStatus"] == {
        "kernelInfo": {"checksum": crc32(files["boot/vmlinuz"])},
        "initrdInfo": {"checksum": crc32(files["boot/initrd"])},
    }


def test_an_image_that_is_not_there_is_named_in_full(started: Line, images: Publisher) -> None:
    start(started, f"{images.registry.host}/nobody/nothing")

    failed = started.reaches("vm", "Failed")
    said = meta.condition(failed, "Synchronized") or {}
    assert (failed["status"]["reason"], said["reason"]) == ("ErrImagePull", "ErrImagePull")
    assert "containerDisk volume root" in said["message"]
    assert f"{images.registry.host}/nobody/nothing:latest" in said["message"]


def test_an_image_without_a_disk_says_where_one_belongs(started: Line, images: Publisher) -> None:
    url = images.push(tar([entry("etc/motd", b"hello")]))

    start(started, url.removeprefix("docker://"))

    said = meta.condition(started.reaches("vm", "Failed"), "Synchronized") or {}
    assert "expected one file below /disk, found none" in said["message"]
