"""Images that are kept as snapshots, without storage: taken, pointed at, and the claim goes; and back."""

from pathlib import Path
from typing import Any

import pytest

from diskyard.api import meta
from diskyard.api.meta import CLAIM, DATA_SOURCE, SNAPSHOT, STORAGE_PROFILE, Key, Obj
from diskyard.api.names import cdi, clone
from standalone.store.objects import Objects
from tests.builders import some
from tests.datavolume_controller.conftest import condition
from tests.datavolume_controller.test_boottests import Trial, tried
from tests.datavolume_controller.test_crons import SOURCE, a_cron, digest, name

FORMAT = {"dataImportCronSourceFormat": "snapshot", "snapshotClass": "fast"}


class Shots(Trial):
    """The test plays the storage's snapshots, too."""

    def settle(self) -> None:
        """Claims that nobody uses go when they are deleted, as on any server."""
        super().settle()
        going = [each for each in self.store.list(CLAIM).items if meta.deleting(each)]
        for each in going:
            self.store.patch(CLAIM, meta.key(each), {"metadata": {"finalizers": None}})
        if going:
            self.settle()

    @property
    def made_again(self) -> list[str]:
        """Creations of a DataVolume for the first version, after the first one."""
        made = [
            each for each in self.steps.trace if "Create" in each and "DataVolume" in each and name(1) in each
        ]
        return made[1:]

    def keep_as(self, **status: str | None) -> None:
        """What the profile of the class says."""
        self.store.patch(STORAGE_PROFILE, Key("local"), {"status": status}, "status")
        self.settle()

    def snapshots(self) -> list[str]:
        return sorted(meta.name(each) for each in self.store.list(SNAPSHOT).items)

    def claims(self) -> list[str]:
        return sorted(meta.name(each) for each in self.store.list(CLAIM).items)

    def shot(self, number: int) -> Obj:
        return self.store.get(SNAPSHOT, Key(name(number), "default"))

    def taken(self, number: int) -> None:
        status = {"readyToUse": True, "restoreSize": "1Gi"}
        self.store.patch(SNAPSHOT, Key(name(number), "default"), {"status": status}, "status")
        self.settle()

    def serves(self) -> tuple[str, str]:
        source = meta.spec(self.store.get(DATA_SOURCE, SOURCE))["source"]
        return next(((entry, said["name"]) for entry, said in source.items()), ("", ""))


@pytest.fixture
def shots(store: Objects) -> Shots:
    return shooting(store, a_cron())


def shooting(store: Objects, cron: Obj, cut: int = 0) -> Shots:
    store.create(STORAGE_PROFILE, some(STORAGE_PROFILE, "local", spec={}))
    store.patch(STORAGE_PROFILE, Key("local"), {"status": FORMAT}, "status")
    return Shots(store, cut, cron)


def test_a_snapshot_is_taken_served_and_the_claim_goes(shots: Shots) -> None:
    shots.version(1)
    shot = shots.shot(1)
    assert shot["spec"] == {
        "volumeSnapshotClassName": "fast",
        "source": {"persistentVolumeClaimName": name(1)},
    }
    assert meta.annotations(shot)[clone.ADVISED_SIZE] == "1Gi"
    assert meta.annotations(shot)[clone.SOURCE_MODE] == "Filesystem"
    assert shots.serves() == ("", "")
    said = condition(shots.cron(), "UpToDate")
    assert said == ("False", "ImportProgressing", "Snapshot of imported data is progressing")
    shots.taken(1)
    assert shots.serves() == ("snapshot", name(1))
    assert (shots.images(), shots.claims()) == ([], [])
    assert shots.said("UpToDate") == ("True", "UpToDate")
    assert meta.status(shots.cron())["sourceFormat"] == "snapshot"
    assert f"to {digest(1)} ({name(1)})" in shots.told("Switched")


def test_as_many_snapshots_are_kept_as_claims_would_be(store: Objects) -> None:
    shots = shooting(store, a_cron(importsToKeep=2))
    for number in (1, 2, 3):
        if number > 1:
            shots.look()
        shots.version(number)
        shots.taken(number)
    assert shots.snapshots() == [name(2), name(3)]


def test_a_version_that_comes_back_is_served_from_the_snapshot_that_was_kept(shots: Shots) -> None:
    for number in (1, 2):
        if number > 1:
            shots.look()
        shots.version(number)
        shots.taken(number)
    before = meta.annotations(shots.shot(1))[cdi.LAST_USE_TIME]

    shots.look()
    shots.finds(1)

    assert shots.serves() == ("snapshot", name(1))
    assert not shots.made_again
    assert meta.annotations(shots.shot(1))[cdi.LAST_USE_TIME] > before


def test_a_snapshot_that_cannot_be_taken_leaves_the_last_good_one_and_holds_up_no_other(shots: Shots) -> None:
    shots.version(1)
    shots.taken(1)
    shots.look()
    shots.version(2)
    error = {"error": {"message": "no room"}}
    shots.store.patch(SNAPSHOT, Key(name(2), "default"), {"status": error}, "status")
    shots.settle()
    assert shots.serves() == ("snapshot", name(1))
    assert condition(shots.cron(), "UpToDate")[2] == "Snapshot of imported data is progressing: no room"
    shots.look()
    shots.version(3)
    shots.taken(3)
    assert shots.serves() == ("snapshot", name(3))


def test_back_to_claims_the_snapshot_serves_until_the_image_is_imported_again(shots: Shots) -> None:
    shots.version(1)
    shots.taken(1)
    shots.keep_as(dataImportCronSourceFormat="pvc")
    assert (shots.images(), shots.serves()) == ([name(1)], ("snapshot", name(1)))
    shots.imported(1)
    assert shots.serves() == ("pvc", name(1))
    assert shots.snapshots() == []


def test_a_claim_that_serves_becomes_a_snapshot(shots: Shots) -> None:
    shots.keep_as(dataImportCronSourceFormat="pvc")
    shots.version(1)
    assert shots.serves() == ("pvc", name(1))
    shots.keep_as(dataImportCronSourceFormat="snapshot")
    assert shots.serves() == ("pvc", name(1))
    shots.taken(1)
    assert (shots.serves(), shots.claims()) == (("snapshot", name(1)), [])


def test_another_class_of_snapshots_has_the_image_imported_again(shots: Shots) -> None:
    shots.version(1)
    shots.taken(1)
    shots.keep_as(snapshotClass="slow")
    assert shots.serves() == ("snapshot", name(1))
    shots.imported(1)
    assert meta.spec(shots.shot(1))["volumeSnapshotClassName"] == "slow"
    shots.taken(1)
    assert (shots.serves(), shots.claims()) == (("snapshot", name(1)), [])


def test_an_image_is_tried_before_a_snapshot_is_taken(store: Objects) -> None:
    shots = shooting(store, tried())
    shots.version(1)
    assert shots.snapshots() == []
    shots.says("True", "vm login:")
    shots.taken(1)
    assert shots.serves() == ("snapshot", name(1))
    assert shots.said("BootTested") == ("True", "Passed")


def test_without_a_class_of_snapshots_images_are_claims(shots: Shots) -> None:
    shots.keep_as(snapshotClass=None)
    shots.version(1)
    assert shots.serves() == ("pvc", name(1))
    assert meta.status(shots.cron())["sourceFormat"] == "pvc"


def test_a_crash_behind_any_action_ends_with_one_snapshot(swift_path: Path) -> None:
    cron = a_cron(schedule="")
    cron["metadata"]["annotations"] = {cdi.DESIRED_DIGEST: digest(1)}

    def played(file: str, cut: int) -> tuple[Any, int]:
        with Objects.open(swift_path / file) as store:
            shots = shooting(store, cron)
            begun = shots.steps.done
            shots.steps.cut = begun + cut if cut else 0
            shots.imported(1)
            shots.taken(1)
            end = (shots.serves(), shots.snapshots(), shots.claims(), shots.said("UpToDate"))
            return end, shots.steps.done - begun

    whole, actions = played("whole.db", 0)
    assert whole[:3] == (("snapshot", name(1)), [name(1)], [])
    for cut in range(1, actions + 1):
        assert played(f"{cut}.db", cut)[0] == whole, f"cut behind action {cut} of {actions}"
