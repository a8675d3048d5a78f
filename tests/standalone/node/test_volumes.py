"""What a pod mounts: each in its place, none inside another's walls, devices only on request."""

import os
import sys
from pathlib import Path

import pytest

from diskyard import IMAGE
from diskyard.api import meta
from diskyard.api.meta import CLAIM, CONFIG_MAP, POD, Key
from diskyard.api.names.kubernetes import TUN_DEVICE
from tests import builders
from tests.builders import eventually
from tests.standalone.node.yard import Yard, opened, python, shell

ROOT = os.geteuid() == 0
EMPTY = [{"name": "a", "emptyDir": {}}, {"name": "b", "emptyDir": {}}]


def mounts(*paths: str) -> dict[str, object]:
    return {
        "volumeMounts": [{"name": name, "mountPath": path} for name, path in zip("ab", paths, strict=False)]
    }


def volume_of(yard: Yard, pod: str, volume: str) -> Path:
    uid = meta.uid(yard.pod(pod))
    return yard.path / "pods" / uid / "volumes" / "kubernetes.io~empty-dir" / volume


def test_an_empty_directory_is_where_a_kubelet_has_it(yard: Yard) -> None:
    yard.run(shell("one", "echo hi > /scratch/word", container=mounts("/scratch"), volumes=EMPTY))

    yard.until("one", "Succeeded")

    assert (volume_of(yard, "one", "a") / "word").read_text() == "hi\n"


def test_one_volume_may_be_mounted_inside_another(yard: Yard) -> None:
    both = mounts("/var/run/private", "/var/run/private/disks/root")
    yard.run(shell("one", "echo hi > /var/run/private/disks/root/word", container=both, volumes=EMPTY))

    yard.until("one", "Succeeded")

    assert (volume_of(yard, "one", "b") / "word").read_text() == "hi\n"


def test_a_link_left_in_a_volume_leads_no_mount_out_of_it(yard: Yard) -> None:
    leave_link = {
        "name": "first",
        "image": IMAGE,
        "command": ["ln", "-s", "/oldroot/tmp", "/a/in"],
        "volumeMounts": [{"name": "a", "mountPath": "/a"}],
    }
    both = mounts("/a", "/a/in/deep")
    yard.run(shell("one", "true", container=both, volumes=EMPTY, initContainers=[leave_link]))

    sentence = eventually(lambda: yard.told("one").get("Failed", ""))

    assert sentence == "Error: /a/in/deep cannot be mounted: 'in' on its way is not a directory"
    assert not yard.state("one").get("terminated")


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("/dev", "a volume cannot be mounted at /dev: the container needs /dev/termination-log"),
        ("/etc", "a volume cannot be mounted at /etc: the container needs /etc/"),
        (str(Path(sys.prefix).parent), f": install Diskyard outside of {Path(sys.prefix).parent}"),
        ("/../oldroot/tmp", "expected an absolute path without '..'"),
        ("/", "is no place to mount at"),
    ],
)
def test_a_volume_cannot_lie_around_what_the_container_needs(yard: Yard, path: str, sentence: str) -> None:
    yard.run(shell("one", "true", container=mounts(path), volumes=EMPTY))

    assert sentence in eventually(lambda: yard.told("one").get("Failed", ""))


def test_a_claim_that_is_mounted_to_be_read_cannot_be_written_to(yard: Yard) -> None:
    yard.store.create(CLAIM, builders.claim("disk"))
    claim = {"claimName": "disk"}
    volumes = [
        {"name": "a", "persistentVolumeClaim": claim},
        {"name": "b", "persistentVolumeClaim": {**claim, "readOnly": True}},
    ]
    places = [("a", "/a", False), ("b", "/b", False), ("a", "/c", True)]
    mounted = [{"name": name, "mountPath": path, "readOnly": only} for name, path, only in places]
    write = "for d in a b c; do echo $d 2>/dev/null > /$d/word || echo not $d; done; cat /b/word /c/word"
    yard.run(shell("one", write, container={"volumeMounts": mounted}, volumes=volumes))

    yard.until("one", "Succeeded")

    assert [line for line in yard.log("one").splitlines() if "read-only" not in line.lower()] == [
        "not b",
        "not c",
        "a",
        "a",
    ]


def test_a_pod_waits_for_a_volume_that_is_missing(yard: Yard) -> None:
    volumes = [{"name": "a", "configMap": {"name": "plan"}}]
    yard.run(shell("one", "cat /a/word", container=mounts("/a"), volumes=volumes))
    sentence = eventually(lambda: yard.told("one").get("FailedMount", ""))

    yard.store.create(CONFIG_MAP, builders.config_map("plan", word="hi"))

    yard.until("one", "Succeeded")
    assert sentence == 'MountVolume.SetUp failed: configmap "plan" not found'
    assert yard.log("one") == "hi"


def test_a_kind_of_volume_that_we_do_not_have_is_named(yard: Yard) -> None:
    yard.run(shell("one", "true", volumes=[{"name": "h", "nfs": {"server": "nas", "path": "/"}}]))

    sentence = eventually(lambda: yard.told("one").get("FailedMount", ""))

    assert 'volume "h" is of type nfs: this node has emptyDir, persistentVolumeClaim' in sentence


@pytest.mark.skipif(not ROOT or not Path("/dev/net/tun").exists(), reason="needs root and /dev/net/tun")
def test_a_device_is_there_for_who_asked_and_only_for_them(tmp_path: Path) -> None:
    look = "import os; print(os.path.exists('/dev/net/tun') and os.open('/dev/net/tun', os.O_RDWR) > 0)"
    limits = {"resources": {"limits": {TUN_DEVICE: "1"}}}
    with opened(tmp_path, devices=frozenset({TUN_DEVICE})) as yard:
        yard.run(python("with", look, container=limits))
        yard.run(python("without", look))
        yard.until("with", "Succeeded")
        yard.until("without", "Succeeded")

        assert (yard.log("with"), yard.log("without")) == ("True\n", "False\n")


def test_a_device_that_the_node_does_not_have_is_unschedulable(yard: Yard) -> None:
    yard.run(shell("one", "true", container={"resources": {"limits": {TUN_DEVICE: "1"}}}))

    sentence = eventually(lambda: yard.told("one").get("FailedScheduling", ""))

    assert sentence == f"0/1 nodes are available: 1 Insufficient {TUN_DEVICE}."


def test_a_pod_that_was_never_placed_is_deleted_at_once(yard: Yard) -> None:
    yard.run(shell("one", "true", nodeSelector={"no": "such"}))
    eventually(lambda: yard.told("one").get("FailedScheduling"))

    yard.store.delete(POD, Key("one", "default"))

    eventually(lambda: yard.gone("one"))


def test_a_finalizer_holds_the_object_and_not_the_processes(yard: Yard) -> None:
    held = shell("one", "echo up; sleep 1000")
    held["metadata"]["finalizers"] = ["example.com/hold"]
    yard.run(held)
    yard.until_said("one", "up")

    yard.store.delete(POD, Key("one", "default"))
    yard.until("one", "Failed")
    yard.store.patch(POD, Key("one", "default"), {"metadata": {"finalizers": None}})

    eventually(lambda: yard.gone("one"))


def hosted(path: Path, **more: object) -> list[dict[str, object]]:
    return [{"name": "a", "hostPath": {"path": str(path), **more}}]


def test_a_directory_of_the_machine_is_there_for_pods_where_the_operator_allows_it(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "word").write_text("hi\n")
    (tmp_path / "yard").mkdir()
    with opened(tmp_path / "yard", allowed=(shared,)) as yard:
        yard.run(shell("one", "cat /a/word", container=mounts("/a"), volumes=hosted(shared)))
        yard.run(shell("two", "true", container=mounts("/a"), volumes=hosted(tmp_path)))

        yard.until("one", "Succeeded")
        refused = eventually(lambda: yard.told("two").get("FailedMount", ""), 60)

        assert yard.log("one") == "hi\n"
        assert f"hostPath {tmp_path} is not allowed on this node" in refused


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [("Directory", "is not a Directory"), ("File", "is not a File"), ("Tape", "is of type Tape: expected")],
)
def test_a_path_of_the_machine_is_what_the_pod_expects(tmp_path: Path, kind: str, sentence: str) -> None:
    (tmp_path / "yard").mkdir()
    with opened(tmp_path / "yard", allowed=(tmp_path / "shared",)) as yard:
        volumes = hosted(tmp_path / "shared" / "x", type=kind)
        yard.run(shell("one", "true", container=mounts("/a"), volumes=volumes))

        assert sentence in eventually(lambda: yard.told("one").get("Failed", ""), 60)
