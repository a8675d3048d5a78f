"""When the disk is nearly full nothing new begins, nothing that runs is lost, and it is said."""

from pathlib import Path

from diskyard.api import meta
from diskyard.api.meta import CLAIM, NODE, POD, Key
from diskyard.kube.client import Deletion
from tests import builders
from tests.builders import eventually
from tests.standalone.node.yard import Yard, opened, python, shell

WAITING = "import time; print('up'); time.sleep(1000)"


def refusal(yard: Yard, name: str) -> str:
    """Why the pod has no node yet."""
    return str((meta.condition(yard.pod(name), "PodScheduled") or {}).get("message"))


def test_new_pods_wait_and_the_node_says_why(tmp_path: Path) -> None:
    with opened(tmp_path, floor=1 << 62) as yard:
        yard.run(shell("one", "true"))

        sentence = eventually(lambda: yard.told("one").get("FailedScheduling", ""), 60)
        pressure = meta.condition(yard.store.get(NODE, Key("here")), "DiskPressure") or {}

    assert "had untolerated taint {node.kubernetes.io/disk-pressure: }" in sentence
    assert (pressure["status"], pressure["reason"]) == ("True", "NodeHasDiskPressure")


def test_what_waited_begins_once_there_is_room(tmp_path: Path) -> None:
    with opened(tmp_path, floor=1 << 62) as yard:
        yard.run(shell("one", "true"))
        eventually(lambda: yard.told("one").get("FailedScheduling", ""), 60)

    with opened(tmp_path) as yard:
        yard.until("one", "Succeeded")


def test_pods_come_when_people_let_the_node_take_them(tmp_path: Path) -> None:
    with opened(tmp_path) as yard:
        node = Key("here")
        yard.store.patch(NODE, node, {"spec": {"unschedulable": True}})
        yard.run(shell("one", "true", nodeSelector={"disk": "fast"}))

        eventually(lambda: "1 node(s) were unschedulable." in refusal(yard, "one"), 60)
        yard.store.patch(NODE, node, {"spec": {"unschedulable": None}})
        eventually(lambda: "affinity/selector" in refusal(yard, "one"), 60)
        yard.store.patch(NODE, node, {"metadata": {"labels": {"disk": "fast"}}})

        yard.until("one", "Succeeded")


def test_a_claim_for_one_pod_alone_is_not_given_to_a_second(yard: Yard) -> None:
    yard.store.create(CLAIM, builders.claim("disk", accessModes=["ReadWriteOncePod"]))
    volumes = [{"name": "d", "persistentVolumeClaim": {"claimName": "disk"}}]
    yard.run(python("one", WAITING, volumes=volumes))
    yard.until_said("one", "up")

    yard.run(shell("two", "true", volumes=volumes))
    sentence = eventually(lambda: yard.told("two").get("FailedScheduling", ""), 60)
    yard.store.delete(POD, Key("one", "default"), Deletion(grace=1))

    eventually(lambda: meta.phase(yard.pod("two")) == "Succeeded", 90)
    assert "with the same name and ReadWriteOncePod access mode" in sentence
