"""Claims with a populator: another one is filled in their place and gives them its volume."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from datavolume_controller.progress import Scraper
from diskyard.api import meta
from diskyard.api.meta import CLAIM, DATA_VOLUME, EVENT, IMPORT_SOURCE, POD, UPLOAD_SOURCE, VOLUME, Key, Obj
from diskyard.api.names import cdi
from diskyard.errors import NotFound
from standalone.store.objects import Objects
from tests import builders
from tests.builders import data_volume, some
from tests.datavolume_controller.cluster import Cluster
from tests.datavolume_controller.conftest import RUNNING, ended, prepared
from tests.datavolume_controller.steps import Steps, of_volumes

DONE = '{"message":"Import Complete","labels":{"instancetype.kubevirt.io/default-preference":"debian"}}'
FATAL = '{"message":"the server says 404","reason":"SourceMissing","fatal":true}'
REFERENCE = {"apiGroup": "cdi.kubevirt.io", "kind": "VolumeImportSource", "name": "image"}
HERE = Key("disk", "default")


class Play:
    """A store, the controllers and what surrounds them, step by step."""

    def __init__(self, store: Objects, scraper: Scraper, cut: int = 0) -> None:
        prepared(store)
        self.store = store
        self.cluster = Cluster(store)
        self.steps = Steps(store, of_volumes(scraper), cut)

    def settle(self) -> None:
        before = None
        while before != (before := self.store.revision):
            self.steps.settle()
            self.cluster.storage()
            self.cluster.collect()

    def claim(self, storage_class: str = "local", reference: Any = REFERENCE, **said: str) -> Obj:
        claim = builders.claim("disk", storageClassName=storage_class, dataSourceRef=reference)
        claim["metadata"]["annotations"] = {getattr(cdi, name): text for name, text in said.items()}
        return self.store.create(CLAIM, claim)

    def source(self, **spec: Any) -> None:
        wanted = {"source": {"http": {"url": "http://images.example/disk.qcow2"}}, **spec}
        self.store.create(IMPORT_SOURCE, some(IMPORT_SOURCE, "image", spec=wanted))

    def target(self) -> Obj:
        return self.store.get(CLAIM, HERE)

    def prime(self) -> Obj | None:
        try:
            return self.store.get(CLAIM, Key(f"prime-{meta.uid(self.target())}", "default"))
        except NotFound:
            return None

    def report(self, state: Obj, phase: str = "Running") -> None:
        pod = self.store.list(POD).items[0]
        said = {"name": "importer", "state": state, "restartCount": 0, "ready": True}
        status = {"phase": phase, "podIP": "127.9.9.9", "containerStatuses": [said]}
        self.store.patch(POD, meta.key(pod), {"status": status}, "status")
        self.settle()

    def told(self, about: str) -> set[str]:
        return {
            f"{each['reason']}: {each['message']}"
            for each in self.store.list(EVENT).items
            if each["involvedObject"]["name"] == about
        }


@pytest.fixture
def play(store: Objects) -> Iterator[Play]:
    with Scraper(fetch=lambda _: "") as scraper:
        yield Play(store, scraper)


def said(obj: Obj | None, name: str) -> str | None:
    return meta.annotations(obj or {}).get(name)


def test_the_claim_waits_for_its_source(play: Play) -> None:
    play.claim()
    play.settle()
    assert play.prime() is None
    assert (
        "ErrResourceDoesntExist: VolumeImportSource default/image doesn't exist; waits for it"
        in play.told("disk")
    )


def test_the_stand_in_asks_for_what_the_source_says(play: Play) -> None:
    target = play.claim(RETAIN_POD="true")
    play.source(contentType="archive", preallocation=True)
    play.settle()
    prime = play.prime()
    assert prime is not None
    assert meta.owned_by(prime, target)
    assert meta.labels(prime) == {
        "app": "containerized-data-importer",
        "velero.io/exclude-from-backup": "true",
    }
    assert said(prime, cdi.IMPORT_ENDPOINT) == "http://images.example/disk.qcow2"
    assert (said(prime, cdi.CONTENT_TYPE), said(prime, cdi.PREALLOCATION_REQUESTED)) == ("archive", "true")
    assert (said(prime, cdi.POPULATOR_KIND), said(prime, cdi.RETAIN_POD)) == ("VolumeImportSource", "true")
    assert {k: v for k, v in meta.spec(prime).items() if k != "volumeName"} == {
        k: v for k, v in meta.spec(target).items() if k not in ("dataSourceRef", "dataSource")
    }
    assert "CreatedPVCPrimeSuccessfully: PVC Prime created successfully" in play.told("disk")


def test_what_happens_to_it_is_said_on_the_claim(play: Play) -> None:
    play.claim()
    play.source()
    play.settle()
    play.report(RUNNING)
    assert said(play.target(), cdi.POD_PHASE) == "Running"
    assert said(play.target(), cdi.RUNNING_REASON) == "Pod is running"
    assert said(play.target(), cdi.PRIME) == meta.name(play.prime() or {})


def test_its_volume_becomes_the_claims_and_nothing_is_left(play: Play) -> None:
    target = play.claim()
    play.source()
    play.settle()
    play.report(ended(0, DONE), "Succeeded")
    found = play.target()
    volume = play.store.get(VOLUME, Key(meta.spec(found)["volumeName"]))
    assert meta.phase(found) == "Bound"
    assert meta.spec(volume)["claimRef"]["uid"] == meta.uid(target)
    assert (said(found, cdi.POD_PHASE), said(found, cdi.PROGRESS)) == ("Succeeded", "100.0%")
    assert meta.labels(found)["instancetype.kubevirt.io/default-preference"] == "debian"
    assert play.prime() is None
    assert not play.store.list(POD).items
    assert "importSucceeded: Successfully imported into disk" in play.told("disk")


def test_a_class_that_waits_is_waited_for_and_the_node_is_handed_on(play: Play) -> None:
    play.claim("local-wait")
    play.source()
    play.settle()
    assert play.prime() is None
    play.store.patch(CLAIM, HERE, {"metadata": {"annotations": {cdi.SELECTED_NODE: "node-1"}}})
    play.settle()
    assert said(play.prime(), cdi.SELECTED_NODE) == "node-1"
    assert meta.spec(play.store.list(POD).items[0])["nodeName"] == "node-1"


def test_nobody_waits_who_asked_not_to(play: Play) -> None:
    play.claim("local-wait", IMMEDIATE_BINDING="")
    play.source()
    play.settle()
    assert play.prime() is not None


def test_what_can_never_work_is_said_on_the_claim_and_tried_again_when_asked(play: Play) -> None:
    play.claim()
    play.source()
    play.settle()
    play.report(ended(1, FATAL))
    assert (said(play.target(), cdi.POD_PHASE), said(play.target(), cdi.IMPORT_FATAL)) == ("Failed", "true")
    assert "importFailed: import into disk failed" in play.told("disk")
    play.store.patch(CLAIM, HERE, {"metadata": {"annotations": {cdi.RETRY: "1"}}})
    play.settle()
    play.report(ended(0, DONE, "2026-11-21T12:05:00Z"), "Succeeded")
    assert meta.phase(play.target()) == "Bound"
    assert said(play.target(), cdi.IMPORT_FATAL) is None


def test_a_source_for_another_claim_fills_none(play: Play) -> None:
    play.claim()
    play.source(targetClaim="other")
    play.settle()
    assert play.prime() is None
    assert any("is for the claim other only" in each for each in play.told("disk"))


def test_a_source_that_goes_while_it_is_used_stops_nothing(play: Play) -> None:
    play.claim()
    play.source()
    play.settle()
    play.store.delete(IMPORT_SOURCE, Key("image", "default"))
    play.report(ended(0, DONE), "Succeeded")
    assert meta.phase(play.target()) == "Bound"


def test_a_claim_that_names_its_volume_gets_that_one_as_it_is(play: Play) -> None:
    claim = builders.claim("disk", storageClassName="local", dataSourceRef=REFERENCE, volumeName="by-hand")
    play.store.create(CLAIM, claim)
    play.source()
    play.settle()
    assert play.prime() is None
    assert not play.store.list(POD).items


def test_a_retained_stand_in_stays_and_is_lost(play: Play) -> None:
    play.claim(RETAIN_POD="true")
    play.source()
    play.settle()
    play.report(ended(0, DONE), "Succeeded")
    assert meta.phase(play.target()) == "Bound"
    assert meta.phase(play.prime() or {}) == "Lost"


def test_deleting_the_claim_takes_everything_along(play: Play) -> None:
    play.claim()
    play.source()
    play.settle()
    play.store.delete(CLAIM, HERE)
    play.settle()
    assert not play.store.list(CLAIM).items
    assert not play.store.list(POD).items
    assert not play.store.list(VOLUME).items


def test_a_claim_without_a_class_is_told_so(play: Play) -> None:
    play.claim("")
    play.source()
    play.settle()
    assert play.prime() is None
    assert any("has to name its class" in each for each in play.told("disk"))


def test_an_upload_has_a_stand_in_that_asks_for_it(play: Play) -> None:
    play.claim(reference={**REFERENCE, "kind": "VolumeUploadSource"})
    play.store.create(UPLOAD_SOURCE, some(UPLOAD_SOURCE, "image", spec={"contentType": "kubevirt"}))
    play.settle()
    prime = play.prime()
    assert said(prime, cdi.UPLOAD_TARGET) == ""
    play.store.patch(
        CLAIM, meta.key(prime or {}), {"metadata": {"annotations": {cdi.POD_PHASE: "Succeeded"}}}
    )
    play.settle()
    assert meta.phase(play.target()) == "Bound"
    assert cdi.PRIME not in meta.annotations(play.target())
    assert "UploadSucceeded: Successfully uploaded into disk" in play.told("disk")


def populated(play: Play) -> Any:
    """A DataVolume with a populator, from beginning to end; all that a user can see then."""
    dv = data_volume("disk")
    dv["metadata"]["annotations"] = {cdi.USE_POPULATOR: "true"}
    play.store.create(DATA_VOLUME, dv)
    play.settle()
    play.report(RUNNING)
    assert play.store.get(DATA_VOLUME, HERE)["status"]["phase"] == "ImportInProgress"
    play.report(ended(0, DONE), "Succeeded")
    found = play.store.get(DATA_VOLUME, HERE)
    conditions = [
        {key: text for key, text in each.items() if not key.startswith("last")}
        for each in found["status"]["conditions"]
    ]
    left = {kind.kind: len(play.store.list(kind).items) for kind in (CLAIM, POD, IMPORT_SOURCE, VOLUME)}
    told = {each for each in play.told("disk") if "prime-" not in each}
    return {**found["status"], "conditions": conditions}, meta.labels(found), left, told


def test_a_datavolume_goes_the_same_way_by_a_populator(play: Play) -> None:
    status, labels, left, told = populated(play)
    assert (status["phase"], status["progress"]) == ("Succeeded", "100.0%")
    assert labels["instancetype.kubevirt.io/default-preference"] == "debian"
    assert left == {"PersistentVolumeClaim": 1, "Pod": 0, "VolumeImportSource": 0, "PersistentVolume": 1}
    assert {
        "ImportScheduled: Import into disk scheduled",
        "ImportSucceeded: Successfully imported into PVC disk",
    } <= told


def test_a_datavolume_waits_for_its_first_consumer(play: Play) -> None:
    wanted = {"resources": {"requests": {"storage": "1Gi"}}, "storageClassName": "local-wait"}
    dv = data_volume("disk", storage=wanted)
    dv["metadata"]["annotations"] = {cdi.USE_POPULATOR: "true"}
    play.store.create(DATA_VOLUME, dv)
    play.settle()
    assert play.store.get(DATA_VOLUME, HERE)["status"]["phase"] == "PendingPopulation"


def test_a_crash_behind_any_action_changes_nothing_in_the_end(swift_path: Path) -> None:
    def played(name: str, cut: int) -> tuple[Any, int]:
        with Objects.open(swift_path / name) as store, Scraper(fetch=lambda _: "") as scraper:
            play = Play(store, scraper, cut)
            return populated(play), play.steps.done

    whole, actions = played("whole.db", 0)
    for cut in range(1, actions + 1):
        found, _ = played(f"{cut}.db", cut)
        assert found == whole, f"cut behind action {cut} of {actions}"
