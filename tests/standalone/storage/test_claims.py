"""Claims get their volumes once, within the room that there is, and leave nothing behind."""

import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from diskyard.api import meta, quantity
from diskyard.api.meta import CLAIM, POD, STORAGE_CLASS, VOLUME, Key, Obj
from diskyard.errors import NotFound, Passing
from diskyard.kube.client import Deletion
from diskyard.kube.controller import reconcile
from standalone.storage.action import Room
from standalone.storage.claims import Claims, World
from standalone.storage.place import Place
from standalone.storage.volume import storage_classes
from standalone.storage.volumes import reconcilers
from standalone.store.objects import Objects
from tests import builders
from tests.builders import eventually, stored
from tests.disk import loops
from tests.standalone.node.yard import Yard, python, shell

DISK = Key("disk", "default")
MOUNT = {"volumeMounts": [{"name": "d", "mountPath": "/data"}]}
VOLUMES = [{"name": "d", "persistentVolumeClaim": {"claimName": "disk"}}]
ROOT = os.geteuid() == 0


def bound(yard: Yard, name: str = "disk") -> Obj:
    def found() -> Obj | None:
        claim = yard.store.get(CLAIM, Key(name, "default"))
        return claim if meta.phase(claim) == "Bound" else None

    claim = eventually(found)
    assert claim
    return claim


def told(yard: Yard, reason: str, name: str = "disk") -> str:
    return eventually(lambda: yard.told(name).get(reason, ""))


def there(yard: Yard, key: Key = DISK) -> bool:
    try:
        yard.store.get(CLAIM, key)
    except NotFound:
        return False
    return True


def directories(yard: Yard) -> list[str]:
    return [path.name for path in (yard.path / "volumes").iterdir()]


def test_a_claim_without_a_class_gets_a_volume_of_the_default_one(yard: Yard) -> None:
    yard.store.create(CLAIM, builders.claim("disk", "1Gi"))

    claim = bound(yard)

    volume = yard.store.get(VOLUME, Key(meta.spec(claim)["volumeName"]))
    assert meta.spec(claim)["storageClassName"] == "local"
    assert meta.status(claim)["capacity"] == {"storage": "1Gi"}
    assert meta.name(volume) == f"pvc-{meta.uid(claim)}"
    assert meta.spec(volume)["claimRef"]["uid"] == meta.uid(claim)
    assert (meta.phase(volume), meta.spec(volume)["persistentVolumeReclaimPolicy"]) == ("Bound", "Delete")


def test_a_volume_belongs_to_the_worker_and_nobody_else(yard: Yard) -> None:
    yard.store.create(CLAIM, builders.claim("disk"))
    bound(yard)

    found = (yard.path / "volumes" / directories(yard)[0]).stat()

    assert found.st_mode & 0o777 == 0o770
    assert (found.st_uid, found.st_gid) == ((107, 107) if ROOT else (os.getuid(), os.getgid()))


def test_a_claim_that_waits_for_a_consumer_says_so(yard: Yard) -> None:
    yard.store.create(CLAIM, builders.claim("disk", storageClassName="local-wait"))

    sentence = told(yard, "WaitForFirstConsumer")

    assert sentence == "waiting for first consumer to be created before binding"
    assert meta.phase(yard.store.get(CLAIM, DISK)) == "Pending"


def test_a_class_that_does_not_exist_is_named_with_those_that_do(yard: Yard) -> None:
    yard.store.create(CLAIM, builders.claim("disk", storageClassName="fast"))
    sentence = told(yard, "ProvisioningFailed")

    yard.store.create(STORAGE_CLASS, builders.storage_class("fast"))

    bound(yard)
    assert sentence == 'storageclass.storage.k8s.io "fast" not found; there are: local, local-wait'


def test_without_a_default_class_the_remedy_is_told(yard: Yard) -> None:
    yard.store.delete(STORAGE_CLASS, Key("local"))
    yard.store.create(CLAIM, builders.claim("disk"))

    sentence = told(yard, "FailedBinding")

    assert sentence.startswith(
        "no persistent volumes available for this claim and no storage class is set: name one"
    )
    assert "local-wait" in sentence


def test_room_is_promised_once_and_given_back(yard: Yard) -> None:
    most = str(Place(yard.path / "volumes").room({}) * 2 // 3)
    yard.store.create(CLAIM, builders.claim("first", most))
    bound(yard, "first")
    yard.store.create(CLAIM, builders.claim("disk", most))
    sentence = told(yard, "ProvisioningFailed")

    yard.store.delete(CLAIM, Key("first", "default"))

    bound(yard)
    assert sentence.startswith(f"asked for {quantity.human(int(most))}, and ")
    assert "are not promised to other claims" in sentence


def test_a_claim_in_use_is_deleted_when_its_pod_is_gone(yard: Yard) -> None:
    yard.store.create(CLAIM, builders.claim("disk"))
    yard.run(python("one", "import time; time.sleep(1000)", container=MOUNT, volumes=VOLUMES))
    yard.until("one", "Running")

    yard.store.delete(CLAIM, DISK)
    still = there(yard)
    yard.store.delete(POD, Key("one", "default"), Deletion(grace=1))

    eventually(lambda: not there(yard))
    eventually(lambda: not directories(yard) and not yard.store.list(VOLUME).items)
    assert still


def test_a_pod_that_is_over_does_not_hold_its_claim(yard: Yard) -> None:
    yard.store.create(CLAIM, builders.claim("disk"))
    yard.run(shell("one", "true", container=MOUNT, volumes=VOLUMES))
    yard.until("one", "Succeeded")

    yard.store.delete(CLAIM, DISK)

    eventually(lambda: not there(yard) and not directories(yard))


def test_a_new_claim_of_an_old_name_gets_a_fresh_volume(yard: Yard) -> None:
    yard.store.create(CLAIM, builders.claim("disk"))
    bound(yard)
    (yard.path / "volumes" / directories(yard)[0] / "disk.img").write_text("old")
    yard.store.delete(CLAIM, DISK)
    eventually(lambda: not there(yard))

    yard.store.create(CLAIM, builders.claim("disk"))

    volume = meta.spec(bound(yard))["volumeName"]
    assert not list((yard.path / "volumes" / volume).iterdir())
    eventually(lambda: directories(yard) == [volume])


def test_a_volume_in_use_cannot_be_deleted_under_its_claim(yard: Yard) -> None:
    yard.store.create(CLAIM, builders.claim("disk"))
    name = meta.spec(bound(yard))["volumeName"]

    yard.store.delete(VOLUME, Key(name))

    assert meta.deleting(yard.store.get(VOLUME, Key(name)))
    assert directories(yard) == [name]


def test_a_volume_that_is_retained_keeps_its_bytes(yard: Yard) -> None:
    yard.store.create(STORAGE_CLASS, builders.storage_class("kept") | {"reclaimPolicy": "Retain"})
    yard.store.create(CLAIM, builders.claim("disk", storageClassName="kept"))
    name = meta.spec(bound(yard))["volumeName"]

    yard.store.delete(CLAIM, DISK)

    eventually(lambda: meta.phase(yard.store.get(VOLUME, Key(name))) == "Released")
    assert directories(yard) == [name]


@pytest.mark.skipif(not ROOT, reason="loop devices need root")
def test_a_block_claim_is_a_device_of_its_size_in_the_pod(yard: Yard) -> None:
    yard.store.create(CLAIM, builders.claim("disk", "8Mi", volumeMode="Block"))
    device = {"volumeDevices": [{"name": "d", "devicePath": "/dev/cdi-block-volume"}]}
    open_it = "f = os.open('/dev/cdi-block-volume', os.O_RDWR)"
    write = f"import os; {open_it}; print(os.lseek(f, 0, 2)); os.pwrite(f, b'x', 0)"
    yard.run(python("one", write, container=device, volumes=VOLUMES))
    yard.until("one", "Succeeded")

    backing = yard.path / "volumes" / directories(yard)[0] / "disk.img"
    yard.store.delete(CLAIM, DISK)

    assert yard.log("one") == f"{8 << 20}\n"
    eventually(lambda: not directories(yard))
    eventually(lambda: str(backing) not in loops.backing())


def test_an_interrupted_removal_is_finished_at_the_next_start(tmp_path: Path) -> None:
    half = tmp_path / "pvc-1.deleting"
    half.mkdir()
    (half / "disk.img").touch()

    reconcilers("here", Place(tmp_path))

    assert not half.exists()


def decided(claim: Obj, path: Path) -> str:
    """The message of the event to which a decision comes where there is room, but no root."""
    room = Room(Place(path), "here", threading.Lock())
    world = World(DISK, claim, room, storage_class=storage_classes()[0], left=1 << 40)
    return str(getattr(Claims(room).decide(world).actions[-1], "message", ""))


def test_an_ordinary_user_is_told_why_there_are_no_block_volumes(tmp_path: Path) -> None:
    claim = stored(builders.claim("disk", volumeMode="Block", storageClassName="local"))

    assert "needs loop devices, which need root" in decided(claim, tmp_path)


def test_a_data_source_is_refused_by_name(tmp_path: Path) -> None:
    source = {"kind": "Photograph", "name": "s"}
    claim = stored(builders.claim("disk", dataSource=source, storageClassName="local"))

    assert "from a Photograph cannot be made here" in decided(claim, tmp_path)


@pytest.mark.parametrize("cut", range(6))
def test_a_crash_between_any_two_steps_is_made_good(store: Objects, tmp_path: Path, cut: int) -> None:
    (tmp_path / "volumes").mkdir()
    for each in storage_classes():
        store.create(STORAGE_CLASS, each)
    store.create(CLAIM, builders.claim("disk", storageClassName="local"))
    reconciler, *_ = reconcilers("here", Place(tmp_path / "volumes"))
    world = reconciler.gather(store, DISK)
    assert world
    for action in reconciler.decide(world).actions[:cut]:
        action.carry_out(store)

    again, *_ = reconcilers("here", Place(tmp_path / "volumes"))
    for _ in range(2):
        world = again.gather(store, DISK)
        assert world
        for action in again.decide(world).actions:
            action.carry_out(store)

    claim = store.get(CLAIM, DISK)
    assert meta.phase(claim) == "Bound"
    assert [path.name for path in (tmp_path / "volumes").iterdir()] == [meta.spec(claim)["volumeName"]]
    assert meta.phase(store.list(VOLUME).items[0]) == "Bound"


@pytest.mark.parametrize(
    "change",
    [
        {"claimRef": {"name": "disk", "namespace": "default", "uid": "of-another"}},
        {"persistentVolumeReclaimPolicy": "Retain"},
    ],
    ids=["given to another claim", "to be kept"],
)
def test_a_volume_that_has_changed_unseen_is_not_taken_away(
    store: Objects, tmp_path: Path, change: Obj
) -> None:
    """That its claim is gone is seen before what was done to the volume just before that."""
    claims, volumes, *_ = reconcilers("here", Place(tmp_path))
    store.create(STORAGE_CLASS, storage_classes()[0])
    store.create(CLAIM, builders.claim("prime", storageClassName="local"))
    prime = Key("prime", "default")
    for _ in range(2):
        reconcile(claims, store, store, prime)
    key = Key(meta.spec(store.get(CLAIM, prime))["volumeName"])
    (tmp_path / key.name / "disk.img").write_bytes(b"all that there is")
    seen = volumes.gather(store, key)
    assert seen
    store.patch(VOLUME, key, {"spec": change})
    store.delete(CLAIM, prime)
    reconcile(claims, store, store, prime)

    with pytest.raises(Passing, match="will look again"):
        volumes.decide(replace(seen, claim=None)).actions[0].carry_out(store)

    assert (tmp_path / key.name / "disk.img").exists()
    assert not meta.deleting(store.get(VOLUME, key))


def test_who_holds_a_volume_meanwhile_holds_it(store: Objects, tmp_path: Path) -> None:
    """Another writer's finalizer comes between the look at a volume that is to go, and what is done about it."""
    claims, volumes, *_ = reconcilers("here", Place(tmp_path))
    store.create(STORAGE_CLASS, storage_classes()[0])
    store.create(CLAIM, builders.claim("disk", storageClassName="local"))
    for _ in range(2):
        reconcile(claims, store, store, DISK)
    key = Key(meta.spec(store.get(CLAIM, DISK))["volumeName"])
    store.delete(CLAIM, DISK)
    reconcile(claims, store, store, DISK)
    world = volumes.gather(store, key)
    assert world
    assert world.claim is None

    held = [*meta.finalizers(store.get(VOLUME, key)), "backup.example/copying"]
    store.patch(VOLUME, key, {"metadata": {"finalizers": held}})
    for action in volumes.decide(world).actions:
        action.carry_out(store)
    reconcile(volumes, store, store, key)

    left = store.get(VOLUME, key)
    assert meta.deleting(left)
    assert meta.finalizers(left) == ["backup.example/copying"]
