"""Clones without threads: every strategy and fallback, sizes, rights, and a crash behind every action."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from datavolume_controller import clonephases, strategy
from datavolume_controller.claim import Refusal
from datavolume_controller.cloning import Cloning, sized
from datavolume_controller.datasources import Named
from datavolume_controller.progress import Scraper
from datavolume_controller.strategy import Case, Choice
from diskyard.api import meta, quantity
from diskyard.api.config import Config
from diskyard.api.datavolume import datavolume
from diskyard.api.meta import (
    CDI,
    CLAIM,
    CLONE_SOURCE,
    DATA_VOLUME,
    EVENT,
    POD,
    SECRET,
    SNAPSHOT,
    SNAPSHOT_CLASS,
    SNAPSHOT_CONTENT,
    STORAGE_CLASS,
    VOLUME,
    Key,
    Obj,
)
from diskyard.api.names import cdi
from diskyard.api.quantity import GIB
from diskyard.api.storage import StorageClass
from standalone.store.objects import Objects
from tests import builders
from tests.datavolume_controller.cluster import Cluster
from tests.datavolume_controller.conftest import RUNNING, ended, prepared
from tests.datavolume_controller.steps import Steps, of_volumes

LOCAL = "diskyard.io/local"
DRIVER = "rbd.csi.ceph.com"
CEPH = StorageClass("ceph", DRIVER, expands=True)
FIXED = StorageClass("ceph", DRIVER)
DONE = '{"message":"Import Complete"}'


def case(**said: Any) -> Case:
    usual: dict[str, Any] = {
        "target": CEPH, "target_block": False, "target_size": 10, "source_driver": DRIVER, "source_block": False,
        "source_size": 10, "profile": "snapshot", "snapshot_class": "snapclass",
    }  # fmt: skip
    return Case(**{**usual, **said})


CHOICES = {
    "the profile's own way": (case(), Choice("snapshot")),
    "a clone by the driver": (case(profile="csi-clone", snapshot_class=""), Choice("csi-clone")),
    "nothing said": (case(profile=""), Choice("snapshot")),
    "the operator's word": (case(override="copy"), Choice("copy")),
    "no class of snapshots": (
        case(snapshot_class=""),
        Choice("copy", "NoVolumeSnapshotClass", "No compatible volumesnapshotclass found"),
    ),
    "another volume mode": (
        case(target_block=True),
        Choice("copy", "IncompatibleVolumeModes", "The volume modes of source and target are incompatible"),
    ),
    "another driver": (
        case(profile="csi-clone", source_driver="other"),
        Choice("copy", "IncompatibleProvisioners", "Provisioners are incompatible"),
    ),
    "larger, and it cannot grow": (
        case(target=FIXED, target_size=20),
        Choice("copy", "NoVolumeExpansion", "No volume expansion is possible"),
    ),
    "larger, and it can grow": (case(target_size=20), Choice("snapshot")),
    "a disk that grows": (
        case(grows_disk=True),
        Choice(
            "copy", "LargerDisk", "The disk is to be larger than the source's: it is copied, so that it grows"
        ),
    ),
    "a snapshot": (case(of_snapshot=True, profile="copy"), Choice("snapshot")),
    "a snapshot of another driver": (
        case(of_snapshot=True, source_driver="other"),
        Choice(
            "copy",
            "NoProvisionerMatch",
            "The storageclass provisioner does not match the volumesnapshotcontent driver",
        ),
    ),
}


@pytest.mark.parametrize(("given", "chosen"), CHOICES.values(), ids=CHOICES.keys())
def test_a_strategy_is_chosen_and_a_copy_explained(given: Case, chosen: Choice) -> None:
    assert strategy.choice(given) == chosen
    assert (chosen.strategy, "snapshot" if given.of_snapshot else "pvc") in clonephases.PHASES


def held(capacity: str, mode: str = "Filesystem", storage_class: str = "local") -> Obj:
    obj = builders.stored(builders.claim("golden", volumeMode=mode, storageClassName=storage_class))
    return {**obj, "status": {"phase": "Bound", "capacity": {"storage": capacity}}}


SIZES = {
    "a disk on a file system": ({}, held("71135396"), "67108864"),
    "a block device": ({}, held("1Gi", "Block"), "1073741824"),
    "onto a block device": ({"volumeMode": "Block"}, held("71135396"), "67108864"),
    "a size that is given": ({"resources": {"requests": {"storage": "5Gi"}}}, held("1Gi"), "5Gi"),
}


@pytest.mark.parametrize(("asked", "source", "size"), SIZES.values(), ids=SIZES.keys())
def test_a_size_that_is_not_given_is_the_largest_disk_of_the_source(
    asked: Obj, source: Obj, size: str
) -> None:
    obj = builders.data_volume(
        "copy", source={"pvc": {"name": "golden", "namespace": "default"}}, storage=asked
    )
    cloning = Cloning(Named("pvc", Key("golden", "default")), source)
    found = sized(datavolume(obj), cloning, Config())
    assert not isinstance(found, Refusal)
    assert (found.storage or {})["resources"]["requests"]["storage"] == size


def test_a_size_is_waited_for_until_the_source_is_bound() -> None:
    obj = builders.data_volume("copy", source={"pvc": {"name": "golden", "namespace": "default"}}, storage={})
    cloning = Cloning(Named("pvc", Key("golden", "default")), builders.stored(builders.claim("golden")))
    found = sized(datavolume(obj), cloning, Config())
    assert found == Refusal(
        "CloneSourceNotReady", "The source pvc golden is not bound yet: its size is waited for"
    )


CHOSEN = "VolumeSnapshotClassSelected"


class Play:
    """A store with a filled claim, the controllers and what surrounds them, step by step."""

    def __init__(self, store: Objects, scraper: Scraper, cut: int = 0) -> None:
        prepared(store)
        self.store = store
        self.cluster = Cluster(store)
        self.steps = Steps(store, of_volumes(scraper), cut)
        golden = builders.claim("golden", storageClassName="local")
        golden["metadata"]["annotations"] = {cdi.POD_PHASE: "Succeeded"}
        store.create(CLAIM, golden)
        self.cluster.storage()
        capacity = {"status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}}
        store.patch(CLAIM, Key("golden", "default"), capacity, "status")

    def settle(self) -> None:
        before = None
        while before != (before := self.store.revision):
            self.steps.settle()
            self.cluster.storage()
            self.cluster.collect()

    def asks(self, size: str = "2Gi", annotations: dict[str, str] | None = None) -> None:
        """A larger disk is copied, one of the same size is cloned by its storage."""
        source = {"pvc": {"name": "golden", "namespace": "default"}}
        storage = {"storageClassName": "local", "resources": {"requests": {"storage": size}}}
        obj = builders.data_volume("copy", source=source, storage=storage)
        obj["metadata"]["annotations"] = annotations or {}
        self.store.create(DATA_VOLUME, obj)
        self.settle()

    def pod(self, prefix: str = "", suffix: str = "") -> Obj:
        pods = self.store.list(POD).items
        return next(p for p in pods if meta.name(p).startswith(prefix) and meta.name(p).endswith(suffix))

    def report(self, pod: Obj, state: Obj, phase: str = "Running") -> None:
        said = {"name": "x", "state": state, "restartCount": 0, "ready": True}
        status = {"phase": phase, "podIP": "127.9.9.9", "containerStatuses": [said]}
        self.store.patch(POD, meta.key(pod), {"status": status}, "status")
        self.settle()

    def cloned(self) -> None:
        room = {
            "status": {
                "capacity": {
                    "storage": str(
                        quantity.round_up(quantity.required(GIB, float(quantity.DEFAULT_OVERHEAD)))
                    )
                }
            }
        }
        self.store.patch(CLAIM, Key("golden", "default"), room, "status")
        self.asks("1Gi")
        stand_in = next(e for e in self.store.list(CLAIM).items if meta.name(e).startswith("tmp-pvc-"))
        assert meta.spec(stand_in)["dataSource"] == {"kind": "PersistentVolumeClaim", "name": "golden"}
        self.store.patch(
            CLAIM, meta.key(stand_in), {"status": {"phase": "Bound", **room["status"]}}, "status"
        )
        self.settle()

    def copied(self) -> None:
        self.asks()
        self.read()

    def read(self) -> None:
        self.report(self.pod(suffix="-source-pod"), RUNNING)
        self.report(self.pod("importer-"), RUNNING)
        self.report(self.pod("importer-"), ended(0, DONE), "Succeeded")
        self.settle()

    def snapped(self) -> None:
        """The claim is cloned by a snapshot that is taken of it."""
        self.store.create(
            SNAPSHOT_CLASS, builders.some(SNAPSHOT_CLASS, "snap", driver=LOCAL, deletionPolicy="Delete")
        )
        self.store.patch(CDI, Key("cdi"), {"spec": {"cloneStrategyOverride": "snapshot"}})
        room = {"status": {"capacity": {"storage": "2Gi"}}}
        self.store.patch(CLAIM, Key("golden", "default"), room, "status")
        permitted = {cdi.P + "permissiveClone": "true"}
        self.asks("1Gi", permitted)
        taken = next(each for each in self.store.list(SNAPSHOT).items)
        told = [e["message"] for e in self.store.list(EVENT).items if e["reason"] == CHOSEN]
        assert any("VolumeSnapshotClass selected" in each for each in told)
        assert meta.spec(taken) == {
            "volumeSnapshotClassName": "snap", "source": {"persistentVolumeClaimName": "golden"},
        }  # fmt: skip
        self.store.patch(
            SNAPSHOT, meta.key(taken), {"status": {"readyToUse": True, "restoreSize": "2Gi"}}, "status"
        )
        self.settle()
        stand_in = next(e for e in self.store.list(CLAIM).items if meta.name(e).startswith("tmp-pvc-"))
        assert meta.spec(stand_in)["dataSource"]["name"] == meta.name(taken)
        assert meta.spec(stand_in)["resources"]["requests"]["storage"] == "2Gi"
        self.store.patch(
            CLAIM, meta.key(stand_in), {"status": {"phase": "Bound", **room["status"]}}, "status"
        )
        self.settle()

    def restored(self) -> None:
        """A snapshot of other storage is made a claim of that, which is copied."""
        self.store.create(STORAGE_CLASS, {**builders.storage_class("other"), "provisioner": "other.csi"})
        spec = {
            "driver": "other.csi", "deletionPolicy": "Delete", "source": {"volumeHandle": "v"},
            "sourceVolumeMode": "Filesystem", "volumeSnapshotRef": {"name": "monday", "namespace": "default"},
        }  # fmt: skip
        self.store.create(SNAPSHOT_CONTENT, builders.some(SNAPSHOT_CONTENT, "content", spec=spec))
        source = {"source": {"persistentVolumeClaimName": "gone"}}
        self.store.create(SNAPSHOT, builders.some(SNAPSHOT, "monday", spec=source))
        status = {"readyToUse": True, "restoreSize": "1Gi", "boundVolumeSnapshotContentName": "content"}
        self.store.patch(SNAPSHOT, Key("monday", "default"), {"status": status}, "status")
        storage = {"storageClassName": "local", "resources": {"requests": {"storage": "2Gi"}}}
        named = {"snapshot": {"name": "monday", "namespace": "default"}}
        self.store.create(DATA_VOLUME, builders.data_volume("copy", source=named, storage=storage))
        self.settle()
        made = next(e for e in self.store.list(CLAIM).items if meta.name(e).startswith("tmp-source-pvc-"))
        assert (meta.spec(made)["storageClassName"], meta.spec(made)["dataSource"]["name"]) == (
            "other",
            "monday",
        )
        self.read()
        self.store.delete(SNAPSHOT, Key("monday", "default"))

    def end(self) -> dict[str, Any]:
        """What is left, without what time and chance say."""
        target = self.store.get(CLAIM, Key("copy", "default"))
        said = {k: v for k, v in meta.annotations(target).items() if not k.endswith("attempts")}
        return {
            "phase": meta.phase(self.store.get(DATA_VOLUME, Key("copy", "default"))),
            "claims": sorted(meta.name(each) for each in self.store.list(CLAIM).items),
            "bound": bool(meta.spec(target).get("volumeName")),
            "said": sorted(set(said) - {cdi.CREATED_FOR}),
            "finalizers": meta.meta(target).get("finalizers"),
            "left": [
                meta.name(e)
                for kind in (POD, SECRET, CLONE_SOURCE, SNAPSHOT)
                for e in self.store.list(kind).items
            ],
            "volumes": len(self.store.list(VOLUME).items),
        }


@pytest.fixture
def play(store: Objects) -> Iterator[Play]:
    with Scraper(fetch=lambda _: "") as scraper:
        yield Play(store, scraper)


def test_a_copy_goes_through_its_phases_and_leaves_nothing(play: Play) -> None:
    play.asks()
    reader = play.pod(suffix="-source-pod")
    volume = reader["spec"]["volumes"][0]["persistentVolumeClaim"]
    assert volume == {"claimName": "golden", "readOnly": True}
    play.report(reader, RUNNING)
    writer = play.pod("importer-tmp-pvc-")
    env = {each["name"]: each.get("value") for each in writer["spec"]["containers"][0]["env"]}
    assert str(env[cdi.ENV_ENDPOINT]).startswith("clone://127.9.9.9:8443/")
    play.report(writer, RUNNING)
    dv = play.store.get(DATA_VOLUME, Key("copy", "default"))
    assert meta.phase(dv) == "CloneInProgress"
    play.report(play.pod("importer-"), ended(0, DONE), "Succeeded")
    assert play.end() | {"said": []} == {
        "phase": "Succeeded", "claims": ["copy", "golden"], "bound": True, "said": [],
        "finalizers": ["kubernetes.io/pvc-protection"], "left": [],
        "volumes": 2,
    }  # fmt: skip


ASKED = {
    "an import": {cdi.IMPORT_SOURCE: "http", cdi.IMPORT_ENDPOINT: "http://images.example/disk.img"},
    "an import that has its pod": {cdi.IMPORT_SOURCE: "none", cdi.POD_PHASE: "Running"},
    "an upload": {cdi.UPLOAD_TARGET: ""},
    "one stage of several": {cdi.POD_PHASE: "Succeeded", cdi.CHECKPOINT_CURRENT: "snapshot-1"},
}


@pytest.mark.parametrize("said", ASKED.values(), ids=ASKED.keys())
def test_a_source_that_still_waits_for(play: Play, said: dict[str, str]) -> None:
    """It is bound, and nobody works on it yet; whoever read it would keep its importer from it."""
    golden = Key("golden", "default")
    play.store.patch(CLAIM, golden, {"metadata": {"annotations": {cdi.POD_PHASE: None, **said}}})

    play.asks()

    dv = play.store.get(DATA_VOLUME, Key("copy", "default"))
    bound = meta.condition(dv, "Bound") or {}
    assert bound["reason"] == "CloneSourceNotReady"
    assert "The source PVC golden is not fully imported; waits for it" in bound["message"]
    assert not [each for each in play.store.list(POD).items if meta.name(each).endswith("-source-pod")]

    done = {cdi.POD_PHASE: "Succeeded", cdi.CHECKPOINT_CURRENT: None}
    play.store.patch(CLAIM, golden, {"metadata": {"annotations": done}})
    play.settle()
    assert play.pod(suffix="-source-pod")


WAYS = [Play.copied, Play.cloned, Play.snapped, Play.restored]


@pytest.mark.parametrize("way", WAYS, ids=["copied", "cloned", "by a snapshot", "from a snapshot"])
def test_a_crash_behind_any_action_changes_nothing_in_the_end(
    swift_path: Path, way: Callable[[Play], None]
) -> None:
    def played(name: str, cut: int) -> tuple[Any, int]:
        with Objects.open(swift_path / name) as store, Scraper(fetch=lambda _: "") as scraper:
            play = Play(store, scraper, cut)
            way(play)
            return play.end(), play.steps.done

    whole, actions = played("whole.db", 0)
    for cut in range(1, actions + 1):
        found, _ = played(f"{cut}.db", cut)
        assert found == whole, f"cut behind action {cut} of {actions}"


def test_a_reader_that_gets_another_address_is_found_there(play: Play) -> None:
    play.asks()
    play.report(play.pod(suffix="-source-pod"), RUNNING)
    first = meta.uid(play.pod("importer-"))
    play.store.delete(POD, meta.key(play.pod(suffix="-source-pod")))
    play.settle()
    again = play.pod(suffix="-source-pod")
    status = {
        "phase": "Running",
        "podIP": "127.8.8.8",
        "containerStatuses": [{"name": "x", "state": RUNNING}],
    }
    play.store.patch(POD, meta.key(again), {"status": status}, "status")
    play.settle()
    found = play.pod("importer-")
    env = {each["name"]: each.get("value") for each in found["spec"]["containers"][0]["env"]}
    assert "127.8.8.8" in str(env[cdi.ENV_ENDPOINT])
    assert meta.uid(found) != first
