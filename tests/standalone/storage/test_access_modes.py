"""Access modes of claims: what binds by them, who may read beside whom, and who may not write."""

import os
from typing import Any

import pytest

from diskyard.api import meta
from diskyard.api.meta import CLAIM, POD, Key, Obj
from diskyard.kube.client import Deletion
from tests import builders
from tests.builders import eventually
from tests.standalone.node.yard import Yard, python, shell

ROOT = os.geteuid() == 0
MOUNT = {"volumeMounts": [{"name": "d", "mountPath": "/data"}]}
DEVICE = {"volumeDevices": [{"name": "d", "devicePath": "/dev/disk"}]}
READS = "cat /data/word; if echo mine > /data/word; then echo wrote; fi; exec sleep 600"
WRITES = "echo $HOSTNAME > /data/$HOSTNAME; exec sleep 600"
OPENS = """
import os, time
print(os.read(os.open("/dev/disk", os.O_RDONLY), 4), flush=True)
for attempt in (lambda: os.chmod("/dev/disk", 0o600), lambda: os.open("/dev/disk", os.O_RDWR)):
    try:
        attempt()
        print("may", flush=True)
    except OSError as failure:
        print(type(failure).__name__, flush=True)
print("done", flush=True)
time.sleep(600)
"""


def claim(yard: Yard, mode: str, **spec: Any) -> None:
    yard.store.create(CLAIM, builders.claim("disk", "8Mi", accessModes=[mode], **spec))


def on_claim(*, read_only: bool = False) -> list[Obj]:
    """A pod's volumes: the claim."""
    return [{"name": "d", "persistentVolumeClaim": {"claimName": "disk", "readOnly": read_only}}]


def said(yard: Yard, name: str, text: str) -> list[str]:
    """The lines of a pod that runs, once that is among them."""
    yard.until_said(name, text)
    return yard.log(name).splitlines()


def test_pods_read_a_claim_together_and_none_of_them_writes_to_it(yard: Yard) -> None:
    """As on any Kubernetes the mode says what a volume can do; `readOnly` is what keeps a pod from writing."""
    claim(yard, "ReadOnlyMany")
    yard.run(shell("fills", "echo golden > /data/word", container=MOUNT, volumes=on_claim()))
    yard.until("fills", "Succeeded")

    for name in ("one", "two"):
        yard.run(shell(name, READS, container=MOUNT, volumes=on_claim(read_only=True)))

    for name in ("one", "two"):
        lines = said(yard, name, "ead-only")
        assert lines[0] == "golden"
        assert "wrote" not in lines
    assert meta.status(yard.store.get(CLAIM, Key("disk", "default")))["accessModes"] == ["ReadOnlyMany"]


@pytest.mark.skipif(not ROOT, reason="loop devices need root")
def test_pods_read_a_device_together_and_none_of_them_writes_to_it(yard: Yard) -> None:
    claim(yard, "ReadOnlyMany", volumeMode="Block")
    write = "import os; os.pwrite(os.open('/dev/disk', os.O_RDWR), b'gold', 0); os.sync()"
    yard.run(python("fills", write, container=DEVICE, volumes=on_claim()))
    yard.until("fills", "Succeeded")

    for name in ("one", "two"):
        yard.run(python(name, OPENS, container=DEVICE, volumes=on_claim(read_only=True)))

    for name in ("one", "two"):
        assert said(yard, name, "done") == ["b'gold'", "PermissionError", "PermissionError", "done"]


@pytest.mark.parametrize("mode", ["ReadWriteMany", "ReadWriteOnce"])
def test_pods_of_one_node_write_to_a_claim_together(yard: Yard, mode: str) -> None:
    claim(yard, mode)

    for name in ("one", "two"):
        yard.run(shell(name, WRITES, container=MOUNT, volumes=on_claim()))

    bound = eventually(lambda: meta.spec(yard.store.get(CLAIM, Key("disk", "default"))).get("volumeName"), 60)
    written = yard.path / "volumes" / str(bound)
    eventually(lambda: {path.name for path in written.iterdir()} == {"one", "two"}, 60)
    assert {meta.phase(yard.pod(name)) for name in ("one", "two")} <= {"Pending", "Running"}


def test_a_claim_for_one_pod_alone_is_given_to_no_second_that_nobody_had_to_schedule(yard: Yard) -> None:
    claim(yard, "ReadWriteOncePod")
    yard.run(shell("one", WRITES, container=MOUNT, volumes=on_claim()))
    yard.until("one", "Running")

    yard.run(shell("two", "true", container=MOUNT, volumes=on_claim(), nodeName="here"))
    sentence = eventually(lambda: yard.told("two").get("FailedMount", ""), 60)
    yard.store.delete(POD, Key("one", "default"), Deletion(grace=1))

    eventually(lambda: meta.phase(yard.pod("two")) == "Succeeded", 90)
    assert sentence == (
        "MountVolume.SetUp failed: volume uses the ReadWriteOncePod access mode and is already in use by another pod"
    )
