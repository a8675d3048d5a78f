"""Claims grow where their class and the room allow, and never shrink."""

import os

import pytest

from diskyard.api import meta
from diskyard.api.meta import CLAIM, STORAGE_CLASS, VOLUME, Key, Obj
from standalone.storage.place import Place
from tests import builders
from tests.builders import eventually
from tests.disk import loops
from tests.standalone.node.yard import Yard, python

DISK = Key("disk", "default")
DEVICE = "/dev/cdi-block-volume"


def grown(yard: Yard, size: str) -> Obj:
    def found() -> Obj:
        claim = yard.store.get(CLAIM, DISK)
        assert (meta.status(claim).get("capacity") or {}).get("storage") == size, meta.status(claim)
        return claim

    return eventually(found, 60)


def ask(yard: Yard, size: str) -> None:
    yard.store.patch(CLAIM, DISK, {"spec": {"resources": {"requests": {"storage": size}}}})


def told(yard: Yard, reason: str) -> str:
    return eventually(lambda: yard.told("disk").get(reason, ""), 60)


def test_a_claim_grows_and_its_volume_with_it(yard: Yard) -> None:
    yard.store.create(CLAIM, builders.claim("disk", "1Gi"))
    grown(yard, "1Gi")

    ask(yard, "2Gi")

    claim = grown(yard, "2Gi")
    volume = yard.store.get(VOLUME, Key(meta.spec(claim)["volumeName"]))
    assert meta.spec(volume)["capacity"] == {"storage": "2Gi"}


@pytest.mark.skipif(os.geteuid() != 0, reason="loop devices need root")
def test_a_block_device_grows_under_its_pod(yard: Yard) -> None:
    yard.store.create(CLAIM, builders.claim("disk", "8Mi", volumeMode="Block"))
    watch = (
        f"import os, time; f = os.open('{DEVICE}', os.O_RDWR); seen = 0\n"
        "while seen < 16 << 20:\n"
        "    size = os.lseek(f, 0, 2)\n"
        "    if size != seen: print(size >> 20, flush=True)\n"
        "    seen = size; time.sleep(0.05)\n"
    )
    device = {"volumeDevices": [{"name": "d", "devicePath": DEVICE}]}
    volumes = [{"name": "d", "persistentVolumeClaim": {"claimName": "disk"}}]
    yard.run(python("one", watch, container=device, volumes=volumes))
    yard.until_said("one", "8\n")

    ask(yard, "16Mi")

    yard.until("one", "Succeeded")
    Place(yard.path / "volumes").release()
    eventually(lambda: str(yard.path) not in loops.backing())
    yard.store.delete(CLAIM, DISK)
    eventually(lambda: not list((yard.path / "volumes").iterdir()), 60)
    assert yard.log("one") == "8\n16\n"


def test_a_claim_that_grows_beyond_the_room_is_told_how_much_there_is(yard: Yard) -> None:
    yard.store.create(CLAIM, builders.claim("disk", "1Gi"))
    grown(yard, "1Gi")

    ask(yard, "900Ti")

    assert told(yard, "VolumeResizeFailed").startswith("asked for 900.0 TiB, and ")
    assert meta.status(yard.store.get(CLAIM, DISK))["capacity"] == {"storage": "1Gi"}


def test_a_class_that_forbids_it_is_named(yard: Yard) -> None:
    yard.store.create(STORAGE_CLASS, builders.storage_class("fixed"))
    yard.store.create(CLAIM, builders.claim("disk", "1Gi", storageClassName="fixed"))
    grown(yard, "1Gi")

    ask(yard, "2Gi")

    assert 'of a class with allowVolumeExpansion, found class "fixed"' in told(yard, "VolumeResizeFailed")
