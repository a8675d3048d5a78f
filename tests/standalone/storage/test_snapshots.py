"""Snapshots of claims: taken once, whole or not at all, restored, and gone with their objects."""

import hashlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diskyard.api import meta
from diskyard.api.meta import CLAIM, SNAPSHOT, SNAPSHOT_CLASS, SNAPSHOT_CONTENT, VOLUME, Key, Obj
from diskyard.api.names import snapshot as names
from diskyard.api.snapshot import failure, ready
from diskyard.errors import Invalid, NotFound
from diskyard.kube.reconcile import Reconciler
from standalone.storage import snapshot
from standalone.storage.place import Place
from standalone.storage.volume import storage_classes
from standalone.storage.volumes import reconcilers
from standalone.store.objects import Objects
from tests import builders
from tests.builders import eventually, some
from tests.disk import images
from tests.disk.images import MIB
from tests.standalone.node.yard import Yard, opened

ROOT = os.geteuid() == 0
GROUP = {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot"}


def asked(name: str = "monday", claim: str = "disk", **spec: Any) -> Obj:
    return some(SNAPSHOT, name, spec={"source": {"persistentVolumeClaimName": claim}, **spec})


def restore(name: str = "again", of: str = "monday", size: str = "256Mi", **spec: Any) -> Obj:
    return builders.claim(name, size, storageClassName="local", dataSource={**GROUP, "name": of}, **spec)


def bound(yard: Yard, name: str = "disk") -> Obj:
    def found() -> Obj | None:
        claim = yard.store.get(CLAIM, Key(name, "default"))
        return claim if meta.phase(claim) == "Bound" else None

    return eventually(found) or {}


def disk(yard: Yard, name: str = "disk") -> Path:
    return yard.path / "volumes" / str(meta.spec(bound(yard, name))["volumeName"]) / "disk.img"


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def filled(yard: Yard, **spec: Any) -> Path:
    yard.store.create(CLAIM, builders.claim("disk", "256Mi", storageClassName="local", **spec))
    path = disk(yard)
    images.raw(path, 256 * MIB)
    return path


def taken(yard: Yard, name: str = "monday") -> Obj:
    def found() -> Obj | None:
        obj = yard.store.get(SNAPSHOT, Key(name, "default"))
        return obj if ready(obj) else None

    return eventually(found) or {}


def said(yard: Yard, name: str = "monday") -> str:
    return eventually(lambda: failure(yard.store.get(SNAPSHOT, Key(name, "default"))))


def content(yard: Yard, name: str = "monday") -> Obj:
    found = meta.status(yard.store.get(SNAPSHOT, Key(name, "default")))["boundVolumeSnapshotContentName"]
    return yard.store.get(SNAPSHOT_CONTENT, Key(str(found)))


def lying(yard: Yard) -> list[str]:
    folder = yard.path / "volumes" / ".snapshots"
    return sorted(each.name for each in folder.iterdir()) if folder.exists() else []


def gone(yard: Yard, kind: meta.Kind, key: Key) -> bool:
    try:
        yard.store.get(kind, key)
    except NotFound:
        return True
    return False


MODES = [{}, pytest.param({"volumeMode": "Block"}, marks=pytest.mark.skipif(not ROOT, reason="needs root"))]


@pytest.mark.parametrize("mode", MODES, ids=["file", "block"])
def test_a_claim_is_restored_as_it_was(yard: Yard, mode: dict[str, str]) -> None:
    path = filled(yard, **mode)
    was = digest(path)

    yard.store.create(SNAPSHOT, asked())
    status = meta.status(taken(yard))
    with path.open("r+b") as file:
        file.write(b"overwritten")
    yard.store.create(CLAIM, restore(**mode))

    same = digest(disk(yard, "again")) == was
    assert same, "the restored disk is not the one that was there when the snapshot was taken"
    assert (status["restoreSize"], "creationTime" in status, "error" in status) == ("256Mi", True, False)
    assert images.allocated(disk(yard, "again")) <= images.allocated(path) + MIB
    told = yard.told("monday")
    assert {"CreatingSnapshot", "SnapshotCreated", "SnapshotReady"} <= set(told)
    assert {"SparseCopy", "Reflinked"} & set(told)


def test_what_its_objects_say(yard: Yard) -> None:
    filled(yard)
    yard.store.create(SNAPSHOT, asked())
    obj = taken(yard)
    held = content(yard)

    assert meta.spec(obj)["volumeSnapshotClassName"] == "local"
    assert meta.name(held) == f"snapcontent-{meta.uid(obj)}"
    assert meta.spec(held)["source"] == {"volumeHandle": meta.spec(bound(yard))["volumeName"]}
    assert (meta.spec(held)["driver"], meta.spec(held)["deletionPolicy"]) == ("diskyard.io/local", "Delete")
    assert meta.spec(held)["sourceVolumeMode"] == "Filesystem"
    assert meta.spec(held)["volumeSnapshotRef"]["uid"] == meta.uid(obj)
    assert meta.status(held)["snapshotHandle"] == f"snapshot-{meta.uid(obj)}"
    assert meta.status(held)["restoreSize"] == 256 * MIB
    assert lying(yard) == [f"snapshot-{meta.uid(obj)}"]


def test_it_outlives_its_claim_and_goes_with_its_object(yard: Yard) -> None:
    filled(yard)
    yard.store.create(SNAPSHOT, asked())
    held = meta.name(content(yard) if taken(yard) else {})
    yard.store.delete(CLAIM, Key("disk", "default"))
    eventually(lambda: gone(yard, CLAIM, Key("disk", "default")))
    yard.store.create(CLAIM, restore())
    bound(yard, "again")

    yard.store.delete(SNAPSHOT, Key("monday", "default"))

    eventually(lambda: gone(yard, SNAPSHOT, Key("monday", "default")))
    eventually(lambda: gone(yard, SNAPSHOT_CONTENT, Key(held)))
    eventually(lambda: lying(yard) == [])


def test_what_is_retained_can_be_given_to_another_object(yard: Yard) -> None:
    path = filled(yard)
    was = digest(path)
    kept = {"driver": "diskyard.io/local", "deletionPolicy": "Retain"}
    yard.store.create(SNAPSHOT_CLASS, some(SNAPSHOT_CLASS, "kept", **kept))
    yard.store.create(SNAPSHOT, asked(volumeSnapshotClassName="kept"))
    taken(yard)
    held = content(yard)
    yard.store.delete(SNAPSHOT, Key("monday", "default"))
    eventually(lambda: gone(yard, SNAPSHOT, Key("monday", "default")))
    yard.store.delete(SNAPSHOT_CONTENT, meta.key(held))
    eventually(lambda: gone(yard, SNAPSHOT_CONTENT, meta.key(held)))

    given = {
        **kept,
        "source": {"snapshotHandle": meta.status(held)["snapshotHandle"]},
        "volumeSnapshotRef": {"name": "tuesday", "namespace": "default"},
    }
    yard.store.create(SNAPSHOT_CONTENT, some(SNAPSHOT_CONTENT, "by-hand", spec=given))
    source = {"source": {"volumeSnapshotContentName": "by-hand"}}
    yard.store.create(SNAPSHOT, some(SNAPSHOT, "tuesday", spec=source))
    taken(yard, "tuesday")
    yard.store.create(CLAIM, restore(of="tuesday"))

    same = digest(disk(yard, "again")) == was
    assert same, "the snapshot that was retained holds something else"


def test_a_content_that_is_for_another_object_is_not_given(yard: Yard) -> None:
    """A VolumeSnapshot may name any content: only one that names it as well is its own."""
    filled(yard)
    yard.store.create(SNAPSHOT, asked())
    taken(yard)
    source = {"source": {"volumeSnapshotContentName": meta.name(content(yard))}}

    yard.store.create(SNAPSHOT, some(SNAPSHOT, "thief", spec=source))

    assert "is for VolumeSnapshot default/monday" in said(yard, "thief")
    yard.store.create(CLAIM, restore(of="thief"))
    assert "is not ready to use yet" in eventually(lambda: yard.told("again").get("ProvisioningFailed", ""))


def test_a_handle_is_no_path(yard: Yard) -> None:
    given = {
        "driver": "diskyard.io/local", "deletionPolicy": "Delete", "source": {"snapshotHandle": "../../pki"},
        "volumeSnapshotRef": {"name": "tuesday", "namespace": "default"},
    }  # fmt: skip
    yard.store.create(SNAPSHOT_CONTENT, some(SNAPSHOT_CONTENT, "by-hand", spec=given))
    source = {"source": {"volumeSnapshotContentName": "by-hand"}}
    yard.store.create(SNAPSHOT, some(SNAPSHOT, "tuesday", spec=source))

    assert '"../../pki" is none of this storage' in said(yard, "tuesday")
    yard.store.delete(SNAPSHOT, Key("tuesday", "default"))
    eventually(lambda: gone(yard, SNAPSHOT_CONTENT, Key("by-hand")))


TROUBLE: dict[str, tuple[Obj, str]] = {
    "no such claim": (asked(claim="nowhere"), 'persistentvolumeclaim "nowhere" not found'),
    "no such class": (
        asked(volumeSnapshotClassName="fast"),
        'volumesnapshotclass "fast" not found; there are: local',
    ),
    "a claim that waits": (asked(claim="waiting"), 'persistentvolumeclaim "waiting" is not bound yet'),
}


@pytest.mark.parametrize(("obj", "why"), TROUBLE.values(), ids=TROUBLE.keys())
def test_why_there_is_none_is_in_its_status(yard: Yard, obj: Obj, why: str) -> None:
    yard.store.create(CLAIM, builders.claim("waiting", storageClassName="local-wait"))
    yard.store.create(SNAPSHOT, obj)

    assert said(yard).startswith(why)
    assert meta.status(yard.store.get(SNAPSHOT, Key("monday", "default")))["readyToUse"] is False


def test_what_was_missing_may_come_later(yard: Yard) -> None:
    yard.store.create(SNAPSHOT, asked())
    said(yard)

    filled(yard)

    assert "error" not in meta.status(taken(yard))


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"size": "128Mi"}, "asked for less than volumesnapshot \"monday\" has: ask for at least 256Mi"),
        ({"volumeMode": "Block"}, 'volumesnapshot "monday" has another volumeMode (Filesystem)'),
        ({"of": "friday"}, 'volumesnapshot "friday" not found'),
    ],
    ids=["smaller", "another mode", "another name"],
)  # fmt: skip
def test_a_claim_that_cannot_be_made_from_it_says_why(yard: Yard, spec: dict[str, str], why: str) -> None:
    filled(yard)
    yard.store.create(SNAPSHOT, asked())
    taken(yard)

    yard.store.create(CLAIM, restore(**spec))

    assert why in eventually(lambda: yard.told("again").get("ProvisioningFailed", ""))


@pytest.mark.parametrize(
    "source",
    [{}, {"persistentVolumeClaimName": "disk", "volumeSnapshotContentName": "content"}],
    ids=["none", "two"],
)
def test_an_object_has_exactly_one_source(yard: Yard, source: Obj) -> None:
    with pytest.raises(
        Invalid, match="exactly one of volumeSnapshotContentName and persistentVolumeClaimName"
    ):
        yard.store.create(SNAPSHOT, some(SNAPSHOT, "monday", spec={"source": source}))


def test_what_is_lost_is_said_and_never_taken_anew(yard: Yard) -> None:
    filled(yard)
    yard.store.create(SNAPSHOT, asked())
    taken(yard)
    held = content(yard)
    Place(yard.path / "volumes").discard(str(meta.status(held)["snapshotHandle"]))

    poked = {"metadata": {"labels": {"seen": "again"}}}
    yard.store.patch(SNAPSHOT_CONTENT, meta.key(held), poked)

    assert "what the snapshot held is lost" in said(yard)
    assert lying(yard) == []


def killed() -> None:
    """No copy goes on in a process that is no more."""
    for thread in threading.enumerate():
        if thread.name.startswith("copy-"):
            thread.join(60)


class Play:
    """Storage without threads; so many actions after a snapshot was asked for it is killed, and begins anew."""

    def __init__(self, path: Path, store: Objects, cut: int) -> None:
        self.volumes = path / "volumes"
        self.volumes.mkdir(parents=True)
        self.store, self.cut, self.done = store, cut, 0
        store.create(meta.STORAGE_CLASS, storage_classes()[0])
        store.create(SNAPSHOT_CLASS, snapshot.classes()[0])
        self.begin()

    def begin(self) -> None:
        self.work: list[Reconciler[Any]] = list(reconcilers("here", Place(self.volumes)))

    def until(self, reached: Callable[[], bool]) -> None:
        def once() -> bool:
            self.turn()
            return reached()

        eventually(once)

    def turn(self) -> None:
        for each in self.work:
            for obj in self.store.list(each.kind).items:
                world = each.gather(self.store, meta.key(obj))
                for action in each.decide(world).actions if world else ():
                    action.carry_out(self.store)
                    self.done += bool(self.store.list(SNAPSHOT).items)
                    if self.done == self.cut:
                        self.done += 1
                        killed()
                        return self.begin()
        return None

    def bound(self, claim: Obj) -> Path:
        """The disk of a claim that is made."""
        self.store.create(CLAIM, claim)
        self.until(lambda: meta.phase(self.store.get(CLAIM, meta.key(claim))) == "Bound")
        made = str(meta.spec(self.store.get(CLAIM, meta.key(claim)))["volumeName"])
        return self.volumes / made / "disk.img"

    def end(self) -> dict[str, Any]:
        """A snapshot is taken and restored and goes: what that ends with."""
        disk = self.bound(builders.claim("disk", "16Mi", storageClassName="local"))
        disk.write_bytes(b"as it was")
        self.store.create(SNAPSHOT, asked())
        self.until(lambda: ready(self.store.get(SNAPSHOT, Key("monday", "default"))))
        disk.write_bytes(b"changed")
        held = self.bound(restore(size="16Mi")).read_bytes()
        self.store.delete(SNAPSHOT, Key("monday", "default"))
        self.until(lambda: not self.store.list(SNAPSHOT).items)
        return {
            "restored": held,
            "contents": len(self.store.list(SNAPSHOT_CONTENT).items),
            "left": sorted(each.name for each in (self.volumes / ".snapshots").iterdir()),
            "volumes": (len(self.store.list(VOLUME).items), len(list(self.volumes.iterdir()))),
        }


def played(path: Path, cut: int) -> tuple[dict[str, Any], int]:
    path.mkdir()
    with Objects.open(path / "store.db") as store:
        play = Play(path, store, cut)
        return play.end(), play.done


def test_a_crash_behind_any_action_changes_nothing_in_the_end(swift_path: Path) -> None:
    whole, actions = played(swift_path / "whole", 0)
    assert whole == {"restored": b"as it was", "contents": 0, "left": [], "volumes": (2, 3)}
    for cut in range(1, actions + 1):
        found, _ = played(swift_path / str(cut), cut)
        assert found == whole, f"cut behind action {cut} of {actions}"


def test_a_yard_that_was_killed_takes_it_when_it_comes_back(tmp_path: Path) -> None:
    with opened(tmp_path) as yard:
        path = filled(yard)
        was = digest(path)
    half = tmp_path / "volumes" / ".snapshots" / "snapshot-1.copying"
    half.mkdir(parents=True)
    with opened(tmp_path) as yard:
        yard.store.create(SNAPSHOT, asked())
        obj = taken(yard)
        found = tmp_path / "volumes" / ".snapshots" / f"snapshot-{meta.uid(obj)}" / "disk.img"
        same = digest(found) == was
        assert same, "the snapshot is not what the disk was"
        assert not half.exists()
        assert names.CONTENT_PROTECTION in meta.meta(content(yard))["finalizers"]
