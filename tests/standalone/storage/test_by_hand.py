"""Volumes that somebody made: a claim takes the one that fits, and is told why none does."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from diskyard.api import meta
from diskyard.api.meta import CLAIM, STORAGE_CLASS, VOLUME, Key, Obj
from diskyard.api.names.cdi import BOUND_MESSAGE, DEFAULT_CLASS
from tests import builders
from tests.builders import eventually
from tests.standalone.node.yard import Yard, opened, shell

DISK = Key("disk", "default")
ISO = Key("iso")
MOUNT = {"volumeMounts": [{"name": "d", "mountPath": "/data"}]}
VOLUMES = [{"name": "d", "persistentVolumeClaim": {"claimName": "disk"}}]
ROOT = os.geteuid() == 0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "srv"
    found.mkdir()
    return found


@pytest.fixture
def yard(tmp_path: Path, folder: Path) -> Iterator[Yard]:
    """A yard whose operator allows one directory."""
    (tmp_path / "yard").mkdir()
    with opened(tmp_path / "yard", allowed=(folder,)) as one:
        yield one


def by_hand(folder: Path, **spec: object) -> Obj:
    """A volume as people write them."""
    path = {"path": str(folder / "windows")}
    return builders.volume("iso", "40Gi", storageClassName="manual", hostPath=path, **spec)


def wish(size: str = "6G", **spec: object) -> Obj:
    return builders.claim("disk", size, **{"storageClassName": "manual", **spec})


def bound(yard: Yard) -> Obj:
    def found() -> Obj | None:
        claim = yard.store.get(CLAIM, DISK)
        return claim if meta.phase(claim) == "Bound" else None

    return eventually(found, 60) or {}


def refused(yard: Yard, text: str) -> str:
    """What the claim is told, once it is told of that."""

    def said() -> str:
        message = meta.annotations(yard.store.get(CLAIM, DISK)).get(BOUND_MESSAGE, "")
        assert text in message, message
        return message

    return eventually(said, 60)


def phase(yard: Yard, wanted: str) -> Obj:
    def reached() -> Obj:
        found = yard.store.get(VOLUME, ISO)
        assert meta.phase(found) == wanted, found
        return found

    return eventually(reached, 60)


def test_a_volume_is_available_and_then_its_claims(yard: Yard, folder: Path) -> None:
    yard.store.create(VOLUME, by_hand(folder))
    phase(yard, "Available")

    yard.store.create(CLAIM, wish())

    claim = bound(yard)
    assert meta.spec(claim)["volumeName"] == "iso"
    assert meta.status(claim)["capacity"] == {"storage": "40Gi"}
    assert meta.spec(phase(yard, "Bound"))["claimRef"]["uid"] == meta.uid(claim)


def test_a_worker_writes_where_the_volume_lies(yard: Yard, folder: Path) -> None:
    yard.store.create(VOLUME, by_hand(folder))
    yard.store.create(CLAIM, wish())

    yard.run(shell("one", "echo bytes > /data/disk.img", container=MOUNT, volumes=VOLUMES))

    yard.until("one", "Succeeded")
    assert (folder / "windows" / "disk.img").read_text() == "bytes\n"


@pytest.mark.skipif(not ROOT, reason="as an ordinary user there is nobody else whose file it could be")
def test_a_worker_may_write_to_the_disk_that_lies_there_already_and_to_nothing_else(
    yard: Yard, folder: Path
) -> None:
    (folder / "windows").mkdir(mode=0o755)
    for name in ("disk.img", "letters"):
        (folder / "windows" / name).write_text("old\n")
        (folder / "windows" / name).chmod(0o644)
    yard.store.create(VOLUME, by_hand(folder))
    yard.store.create(CLAIM, wish())

    yard.run(
        shell(
            "one", "for f in disk.img letters; do echo new > /data/$f; done", container=MOUNT, volumes=VOLUMES
        )
    )

    eventually(lambda: meta.phase(yard.pod("one")) in ("Succeeded", "Failed"), 60)
    assert (folder / "windows" / "disk.img").read_text() == "new\n"
    assert (folder / "windows" / "letters").read_text() == "old\n"


def test_no_class_object_is_needed_and_what_is_there_is_named(yard: Yard, folder: Path) -> None:
    yard.store.create(CLAIM, wish())
    before = refused(yard, '"manual" not found')

    yard.store.create(VOLUME, by_hand(folder))

    bound(yard)
    assert before == 'storageclass.storage.k8s.io "manual" not found; there are: local, local-wait'


def test_what_lies_in_the_folder_is_named_and_stays(yard: Yard, folder: Path) -> None:
    (folder / "windows").mkdir()
    for name in ("disk.img", ".disk.img.part", "letters", *(f"photo-{number}" for number in range(7))):
        (folder / "windows" / name).write_text("old\n")
    yard.store.create(VOLUME, by_hand(folder))
    yard.store.create(CLAIM, wish())

    told = eventually(lambda: yard.told("disk").get("FolderNotEmpty"), 60)

    assert told == (
        f'volume "iso": {folder}/windows holds letters, photo-0, photo-1, photo-2, photo-3 and 3 more, which no import '
        "or upload has left there: they stay as they are. Only disk.img is written, and replaced once it is complete"
    )


@pytest.mark.parametrize(
    ("claim", "sentence"),
    [
        (wish("50Gi"), '"iso" has 40Gi (40.0 GiB), and the claim asks for 50.0 GiB'),
        (
            wish(accessModes=["ReadWriteMany"]),
            '"iso" has access modes ReadWriteOnce, and the claim asks for ReadWriteMany',
        ),
        (wish(volumeMode="Block"), '"iso" has volumeMode Filesystem, and the claim asks for Block'),
        (wish(storageClassName=""), '"iso" is of class "manual", and the claim asks for no class'),
        (
            wish(selector={"matchLabels": {"type": "local"}}),
            '"iso" has not the labels that the claim selects',
        ),
        (wish("50Gi", volumeName="iso"), 'Cannot bind to requested volume "iso": it has 40Gi'),
        (wish(volumeName="gone"), 'volume "gone" not found'),
    ],
)
def test_a_claim_is_told_why_a_volume_does_not_fit(
    yard: Yard, folder: Path, claim: Obj, sentence: str
) -> None:
    yard.store.create(VOLUME, by_hand(folder))

    yard.store.create(CLAIM, claim)

    assert sentence in refused(yard, sentence)


def test_without_a_default_class_the_volumes_there_are_told_with_their_class(
    yard: Yard, folder: Path
) -> None:
    yard.store.patch(STORAGE_CLASS, Key("local"), {"metadata": {"annotations": {DEFAULT_CLASS: None}}})
    known = yard.controllers.client
    eventually(lambda: DEFAULT_CLASS not in meta.annotations(known.get(STORAGE_CLASS, Key("local"))), 60)
    yard.store.create(VOLUME, by_hand(folder))

    yard.store.create(CLAIM, builders.claim("disk", "6G"))

    told = refused(yard, "no persistent volumes available for this claim and no storage class is set")
    assert '"iso" is of class "manual", and the claim asks for no class' in told


def test_a_path_that_nobody_allowed_is_refused_with_the_way_to_allow_it(yard: Yard, tmp_path: Path) -> None:
    yard.store.create(VOLUME, by_hand(tmp_path / "elsewhere"))

    yard.store.create(CLAIM, wish())

    told = refused(yard, "is not allowed on this node")
    assert f"diskyard up --allow-host-path {tmp_path}/elsewhere/windows" in told
    assert not (tmp_path / "elsewhere").exists()


def test_a_link_out_of_what_is_allowed_is_refused(yard: Yard, folder: Path, tmp_path: Path) -> None:
    (folder / "windows").symlink_to(tmp_path)
    yard.store.create(VOLUME, by_hand(folder))

    yard.store.create(CLAIM, wish())

    refused(yard, f"leads to {tmp_path}, which is not allowed")


def test_the_smallest_that_fits_is_taken(yard: Yard, folder: Path) -> None:
    for name, size in (("huge", "90Gi"), ("iso", "40Gi"), ("tiny", "1Gi")):
        path = {"path": str(folder / name)}
        yard.store.create(VOLUME, builders.volume(name, size, storageClassName="manual", hostPath=path))

    yard.store.create(CLAIM, wish())

    assert meta.spec(bound(yard))["volumeName"] == "iso"


def test_a_volume_that_is_reserved_for_a_claim_is_for_no_other(yard: Yard, folder: Path) -> None:
    reserved = {"name": "other", "namespace": "default"}
    yard.store.create(VOLUME, by_hand(folder, claimRef=reserved))
    yard.store.create(CLAIM, wish())
    refused(yard, '"iso" is reserved for claim default/other')

    yard.store.create(CLAIM, builders.claim("other", "6G", storageClassName="manual"))

    eventually(lambda: meta.phase(yard.store.get(CLAIM, Key("other", "default"))) == "Bound", 60)


def test_two_claims_never_share_a_volume(yard: Yard, folder: Path) -> None:
    yard.store.create(VOLUME, by_hand(folder))

    for name in ("first", "second"):
        yard.store.create(CLAIM, builders.claim(name, "6G", storageClassName="manual"))

    def phases() -> list[str]:
        return sorted(meta.phase(each) for each in yard.store.list(CLAIM).items)

    eventually(lambda: "Bound" in phases(), 60)
    eventually(lambda: phases() == ["Bound", "Pending"])


def test_what_is_left_of_a_claim_is_kept_and_for_nobody_until_it_is_freed(yard: Yard, folder: Path) -> None:
    yard.store.create(VOLUME, by_hand(folder))
    yard.store.create(CLAIM, wish())
    bound(yard)
    (folder / "windows" / "disk.img").write_text("old")
    yard.store.delete(CLAIM, DISK)
    phase(yard, "Released")

    yard.store.create(CLAIM, wish())
    refused(yard, "holds what is left of the deleted claim default/disk: remove its spec.claimRef")
    yard.store.patch(VOLUME, ISO, {"spec": {"claimRef": None}})

    bound(yard)
    assert (folder / "windows" / "disk.img").read_text() == "old"


def test_what_lies_in_a_volume_made_by_hand_is_never_deleted(yard: Yard, folder: Path) -> None:
    yard.store.create(VOLUME, by_hand(folder, persistentVolumeReclaimPolicy="Delete"))
    yard.store.create(CLAIM, wish())
    bound(yard)
    (folder / "windows" / "disk.img").write_text("old")

    yard.store.delete(CLAIM, DISK)

    phase(yard, "Failed")
    yard.store.delete(VOLUME, ISO)
    eventually(lambda: not yard.store.list(VOLUME).items, 60)
    assert (folder / "windows" / "disk.img").read_text() == "old"


def test_a_volume_elsewhere_is_not_for_this_node(yard: Yard, folder: Path) -> None:
    rule = {"key": "kubernetes.io/hostname", "operator": "In", "values": ["there"]}
    affinity = {"required": {"nodeSelectorTerms": [{"matchExpressions": [rule]}]}}
    yard.store.create(VOLUME, by_hand(folder, nodeAffinity=affinity))

    yard.store.create(CLAIM, wish())

    refused(yard, '"iso" is not on node here')


def test_a_kind_of_volume_that_this_node_does_not_mount_is_named(yard: Yard) -> None:
    share = {"server": "nas.example", "path": "/disks"}
    made = builders.volume("iso", "40Gi", storageClassName="manual", nfs=share, hostPath=None)
    yard.store.create(VOLUME, made)

    yard.store.create(CLAIM, wish())

    refused(yard, '"iso" is of type nfs: this node has local and hostPath')
