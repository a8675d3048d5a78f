"""What users get wrong: told at once, in a condition and in an event, with what to change; nothing is left running."""

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from diskyard.api import meta
from diskyard.api.meta import CDI_CONFIG, INSTANCE, KUBEVIRT, SECRET, Key, Obj
from diskyard.api.names import cdi, kubevirt
from diskyard.errors import Invalid
from tests import builders
from tests.builders import eventually
from tests.disk.tars import entry, tar
from tests.importer import oci
from tests.importer.publisher import Publisher
from tests.importer.registries import registry
from tests.vm_runtime.line import Line, line
from vm_runtime.agent.host import Acceleration

pytestmark = [
    pytest.mark.guest,
    pytest.mark.skipif(
        not shutil.which("libvirtd") or not shutil.which("bwrap"), reason="needs libvirt and bubblewrap"
    ),
]
HOST_DISK = {"spec": {"configuration": {"developerConfiguration": {"featureGates": ["HostDisk"]}}}}
EMPTY: Obj = {"name": "root", "emptyDisk": {"capacity": "1Mi"}}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Publisher]:
    """A registry with an image for another architecture."""
    folder = tmp_path_factory.mktemp("images")
    with registry(folder / "registry", folder / "store") as found:
        publisher = Publisher(found, folder / "layout", "foreign")
        layout = oci.Layout(publisher.folder)
        layers = [tar([entry("disk/x", bytes(4096))])]
        publisher.publish(layout, layout.image(layers, architecture="arm64"))
        yield publisher


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory, images: Publisher) -> Iterator[Line]:
    """One line for all of them: a bad guest is in nobody's way."""
    with line(tmp_path_factory.mktemp("line"), Acceleration(kvm=False, reason="none")) as found:
        change = {"spec": {"insecureRegistries": [images.registry.host]}}
        found.objects.patch(CDI_CONFIG, Key(cdi.CONFIG_NAME), change)
        found.objects.patch(KUBEVIRT, Key(kubevirt.CR_NAME, kubevirt.NAMESPACE), HOST_DISK)
        yield found


def is_told(started: Line, phase: str, type_: str, words: tuple[str, ...]) -> None:
    """The instance `vm` is in that phase, and says these words in that condition and in an event."""

    def found() -> Obj:
        said = meta.condition(started.found(INSTANCE, "vm", phase), type_) or {}
        assert said
        assert all(each in said["message"] for each in words), said
        return said

    said = eventually(found, 120)
    eventually(lambda: any(each.endswith(f": {said['message']}") for each in started.told("vm")))


@pytest.fixture(autouse=True)
def tidy(started: Line) -> Iterator[None]:
    """Each test has its own guest `vm`, and it goes when its user says so."""
    yield
    if not started.gone(INSTANCE, "vm"):
        started.objects.delete(INSTANCE, Key("vm", "default"))
    eventually(lambda: started.gone(INSTANCE, "vm"))


def start(started: Line, *volumes: Obj, **domain: Any) -> None:
    obj = builders.instance("vm", volumes=list(volumes), terminationGracePeriodSeconds=0)
    obj["spec"]["domain"] = {"resources": {"requests": {"memory": "32Mi"}}, **domain}
    started.objects.create(INSTANCE, obj)


def test_a_missing_claim_is_named(started: Line) -> None:
    start(started, {"name": "root", "persistentVolumeClaim": {"claimName": "nowhere"}})

    is_told(started, "Pending", "Synchronized", ("PVC default/nowhere does not exist",))


def test_a_disk_of_the_host_outside_its_rules_says_who_may_allow_it(started: Line) -> None:
    start(started, {"name": "root", "hostDisk": {"path": "/etc/vms/disk.img", "type": "Disk"}})

    words = ("hostPath /etc/vms is not allowed on this node", "--allow-host-path /etc/vms")
    is_told(started, "Scheduling", "Synchronized", words)


def test_a_disk_of_the_host_that_guests_may_not_write_to_says_so(started: Line) -> None:
    path = started.host / "given.img"
    path.write_bytes(bytes(1 << 20))
    path.chmod(0o444)

    start(started, {"name": "root", "hostDisk": {"path": str(path), "type": "Disk"}})

    words = (f"volume root: {path} cannot be written by user", "or make the disk readonly")
    is_told(started, "Failed", "Synchronized", words)


@pytest.mark.parametrize(
    "volume",
    [{"cloudInitNoCloud": {"secretRef": {"name": "nowhere"}}}, {"sysprep": {"secret": {"name": "nowhere"}}}],
)
def test_a_guest_waits_for_a_missing_secret_and_names_it(started: Line, volume: Obj) -> None:
    start(started, EMPTY, {"name": "seed", **volume})

    is_told(started, "Scheduling", "Synchronized", ("nowhere", "not found"))


def test_an_image_for_another_architecture_says_for_which(started: Line, images: Publisher) -> None:
    start(started, {"name": "root", "containerDisk": {"image": images.url.removeprefix("docker://")}})

    is_told(started, "Failed", "Synchronized", ("containerDisk volume root", "arm64", "amd64"))


def test_a_guest_that_is_larger_than_its_host_says_both_sizes(started: Line) -> None:
    start(started, EMPTY, memory={"guest": "900Gi"}, resources={})

    words = ("Insufficient memory: ", "asked for", "Give the guest less memory (spec.domain.memory.guest)")
    is_told(started, "Scheduling", "PodScheduled", words)


def test_broken_cloud_config_of_a_secret_is_told_with_its_line(started: Line) -> None:
    started.objects.create(SECRET, builders.secret("seed", userdata="#cloud-config\nusers:\n  - name: 'a\n"))
    start(started, EMPTY, {"name": "seed", "cloudInitNoCloud": {"secretRef": {"name": "seed"}}})

    is_told(started, "Failed", "Synchronized", ("begins with #cloud-config and is no YAML", "line 4"))


@pytest.mark.parametrize(
    ("volumes", "devices", "message"),
    [
        ([{"name": "seed", "cloudInitNoCloud": {"userData": "#cloud-config\na: [\n"}}], {}, "is no YAML: line"),
        ([EMPTY], {"disks": [{"name": "other", "disk": {}}]}, "disks[0].Name 'other' not found."),
        ([{"name": "root", "hostDisk": {"path": "disk.img", "type": "Disk"}}], {}, "must be an absolute path"),
    ],
)  # fmt: skip
def test_what_can_be_known_at_once_is_refused_at_once(
    started: Line, volumes: list[Obj], devices: Obj, message: str
) -> None:
    with pytest.raises(Invalid) as refusal:
        start(started, *volumes, devices=devices)

    assert message in str(refusal.value)


def test_a_volume_without_a_disk_is_a_disk_of_its_name(started: Line) -> None:
    start(started, EMPTY)

    disks = started.found(INSTANCE, "vm")["spec"]["domain"]["devices"]["disks"]
    assert disks == [{"name": "root", "disk": {"bus": "sata"}}]


def test_a_guest_that_was_promised_little_and_sees_too_much_says_what_to_change(started: Line) -> None:
    start(started, EMPTY, memory={"guest": "900Gi"}, resources={"requests": {"memory": "32Mi"}})

    is_told(
        started, "Failed", "Synchronized", ("libvirt did not start the guest", "Give the guest less memory")
    )
