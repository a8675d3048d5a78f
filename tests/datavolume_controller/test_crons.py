"""Golden images without threads: a look, an import, the switch, what goes; and a crash behind every action."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from datavolume_controller import admission
from datavolume_controller.crons import Crons
from datavolume_controller.datasources import DataSources
from diskyard.api import meta
from diskyard.api.meta import (
    CLAIM,
    DATA_SOURCE,
    DATA_VOLUME,
    EVENT,
    IMPORT_CRON,
    NAMESPACE,
    OBJECT_TRANSFER,
    POD,
    STORAGE_CLASS,
    Key,
    Obj,
)
from diskyard.api.names import cdi
from diskyard.api.poll import Found
from diskyard.api.user import User
from diskyard.kube.access import Access
from standalone.store.objects import Objects
from tests import builders
from tests.builders import some
from tests.datavolume_controller.conftest import condition, ended, prepared
from tests.datavolume_controller.steps import Steps

CRON = Key("nightly", "default")
SOURCE = Key("debian", "default")
REGISTRY = {"registry": {"url": "docker://registry.example:5000/os/debian:13"}}


def digest(number: int) -> str:
    return f"sha256:{number:012x}{0:052x}"


def name(number: int) -> str:
    return f"debian-{digest(number)[7:19]}"


def a_cron(source: Obj = REGISTRY, **spec: Any) -> Obj:
    template = {"spec": {"source": source, "storage": {"resources": {"requests": {"storage": "1Gi"}}}}}
    said = {"schedule": "0 0 1 1 *", "managedDataSource": "debian", "template": template, **spec}
    return some(IMPORT_CRON, CRON.name, spec=said)


class Play:
    """A store with a cron; the test plays the poller, the importer and the storage."""

    def __init__(self, store: Objects, cut: int = 0, cron: Obj | None = None) -> None:
        prepared(store)
        self.store = store
        self.steps = Steps(store, [Crons(), DataSources()], cut)
        store.create(IMPORT_CRON, cron or a_cron())
        self.settle()

    def settle(self) -> None:
        before = None
        while before != (before := self.store.revision):
            self.steps.settle()

    def cron(self) -> Obj:
        return self.store.get(IMPORT_CRON, CRON)

    def look(self) -> None:
        """The time of the schedule has come."""
        self.store.patch(IMPORT_CRON, CRON, {"metadata": {"annotations": {cdi.LAST_CRON_TIME: None}}})
        self.settle()

    def pollers(self) -> list[Obj]:
        return list(self.store.list(POD).items)

    def found(self, message: str, code: int = 0) -> None:
        (pod,) = self.pollers()
        state = {"name": "poller", "state": ended(code, message), "restartCount": 0}
        status = {"phase": "Failed" if code else "Succeeded", "containerStatuses": [state]}
        self.store.patch(POD, meta.key(pod), {"status": status}, "status")
        self.settle()

    def finds(self, number: int) -> None:
        self.found(Found(digest(number)).to_text())

    def imported(self, number: int, phase: str = "Succeeded") -> None:
        """The DataVolume's own controllers have done their work."""
        key = Key(name(number), "default")
        dv = self.store.get(DATA_VOLUME, key)
        if phase == "Succeeded" and not any(meta.key(each) == key for each in self.store.list(CLAIM).items):
            claim = builders.claim(key.name)
            claim["metadata"] |= {
                "labels": meta.labels(dv), "annotations": meta.annotations(dv),
                "ownerReferences": [meta.owner_reference(DATA_VOLUME, dv)],
            }  # fmt: skip
            self.store.create(CLAIM, claim)
        self.store.patch(DATA_VOLUME, key, {"status": {"phase": phase}}, "status")
        self.settle()

    def version(self, number: int) -> None:
        self.finds(number)
        self.imported(number)

    def points_at(self) -> str:
        return str(
            (meta.spec(self.store.get(DATA_SOURCE, SOURCE))["source"].get("pvc") or {}).get("name", "")
        )

    def said(self, type_: str) -> tuple[str, str]:
        return condition(self.cron(), type_)[:2]

    def images(self) -> list[str]:
        return sorted(meta.name(each) for each in self.store.list(DATA_VOLUME).items)

    def told(self, reason: str) -> list[str]:
        return [str(e["message"]) for e in self.store.list(EVENT).items if e["reason"] == reason]


@pytest.fixture
def play(store: Objects) -> Play:
    return Play(store)


def test_a_new_cron_looks_at_once_and_has_its_data_source(play: Play) -> None:
    (pod,) = play.pollers()
    env = {each["name"]: each.get("value") for each in pod["spec"]["containers"][0]["env"]}
    assert (env[cdi.ENV_POLL], env[cdi.ENV_ENDPOINT]) == ("true", REGISTRY["registry"]["url"])
    assert play.points_at() == ""
    assert play.said("UpToDate") == ("False", "NoDigest")


def test_what_is_found_is_imported_by_its_digest(play: Play) -> None:
    play.finds(1)
    dv = play.store.get(DATA_VOLUME, Key(name(1), "default"))
    assert dv["spec"]["source"]["registry"]["url"] == f"docker://registry.example:5000/os/debian@{digest(1)}"
    assert meta.status(play.cron())["currentImports"] == [{"DataVolumeName": name(1), "Digest": digest(1)}]
    assert play.pollers() == []
    assert play.said("UpToDate") == ("False", "ImportProgressing")


def test_the_data_source_moves_when_the_image_is_complete_and_says_so(play: Play) -> None:
    play.finds(1)
    assert play.points_at() == ""
    play.imported(1)
    assert play.points_at() == name(1)
    assert play.said("UpToDate") == ("True", "UpToDate")
    assert play.said("Progressing") == ("False", "NoImport")
    play.look()
    play.version(2)
    assert play.points_at() == name(2)
    assert f"from {digest(1)} to {digest(2)} ({name(2)})" in play.told("Switched")


def test_a_failed_import_leaves_the_last_good_image_and_the_next_one_takes_its_place(play: Play) -> None:
    play.version(1)
    play.look()
    play.finds(2)
    play.imported(2, "Failed")
    assert play.points_at() == name(1)
    assert play.said("Progressing") == ("False", "Failed")
    play.look()
    play.version(3)
    assert play.points_at() == name(3)
    assert name(2) not in play.images()


def test_a_source_that_cannot_be_looked_at_is_told_and_looked_at_the_next_time(play: Play) -> None:
    play.found('{"message": "no access to the image", "reason": "AccessDenied", "fatal": true}', code=3)
    assert condition(play.cron(), "Polled") == ("False", "AccessDenied", "no access to the image")
    assert play.told("PollFailed")[0].startswith("AccessDenied: no access to the image. To have it looked")
    assert play.pollers() == []
    play.look()
    play.version(1)
    assert play.said("Polled") == ("True", "Polled")


def test_a_version_that_comes_back_is_served_from_the_claim_that_was_kept(play: Play) -> None:
    for number in (1, 2):
        if number > 1:
            play.look()
        play.version(number)
    first = Key(name(1), "default")
    play.store.delete(DATA_VOLUME, first)
    play.store.patch(CLAIM, first, {"metadata": {"annotations": {cdi.POD_PHASE: "Succeeded"}}})
    play.store.patch(CLAIM, first, {"status": {"phase": "Bound"}}, "status")

    play.look()
    play.finds(1)

    assert play.points_at() == name(1)
    assert play.images() == [name(2)]


def test_half_an_image_without_its_datavolume_is_none(play: Play) -> None:
    play.version(1)
    play.look()
    play.finds(2)
    half = builders.claim(name(2))
    half["metadata"]["annotations"] = {cdi.DIGEST: digest(2), cdi.POD_PHASE: "Running"}
    half["metadata"]["labels"] = {cdi.CRON_LABEL: CRON.name}
    play.store.create(CLAIM, half)
    play.store.patch(CLAIM, Key(name(2), "default"), {"status": {"phase": "Bound"}}, "status")
    play.store.delete(DATA_VOLUME, Key(name(2), "default"))
    play.settle()

    assert play.points_at() == name(1)


def test_only_so_many_images_are_kept(store: Objects) -> None:
    play = Play(store, cron=a_cron(importsToKeep=2))
    play.version(1)
    for number in (2, 3, 4):
        play.look()
        play.version(number)
    assert play.images() == [name(3), name(4)]


def test_all_images_are_kept_where_that_is_asked(store: Objects) -> None:
    play = Play(store, cron=a_cron(importsToKeep=1, garbageCollect="Never"))
    play.version(1)
    for number in (2, 3):
        play.look()
        play.version(number)
    assert play.images() == [name(1), name(2), name(3)]


def test_a_guests_disk_that_has_got_the_labels_is_no_image(store: Objects) -> None:
    play = Play(store, cron=a_cron(importsToKeep=1))
    play.version(1)
    labels = {cdi.CRON_LABEL: CRON.name}
    copied = {cdi.DIGEST: digest(1), cdi.LAST_USE_TIME: "2020-01-01T00:00:00Z"}
    disk = builders.claim("guest")
    disk["metadata"] |= {"labels": labels, "annotations": copied}
    store.create(CLAIM, disk)
    play.look()
    play.version(2)
    assert store.get(CLAIM, Key("guest", "default"))


def test_a_held_data_source_stays_and_its_image_is_never_deleted(store: Objects) -> None:
    play = Play(store, cron=a_cron(importsToKeep=1))
    play.version(1)
    held = {"metadata": {"annotations": {cdi.HELD: name(1)}}}
    store.patch(DATA_SOURCE, SOURCE, held)
    for number in (2, 3):
        play.look()
        play.version(number)
    assert play.points_at() == name(1)
    assert name(1) in play.images()
    store.patch(DATA_SOURCE, SOURCE, {"metadata": {"annotations": {cdi.HELD: None}}})
    play.settle()
    assert play.points_at() == name(3)


def test_another_crons_data_source_is_left_alone(store: Objects) -> None:
    prepared(store)
    other = a_cron()
    other["metadata"]["name"] = "other"
    store.create(IMPORT_CRON, other)
    mine = some(DATA_SOURCE, "debian", spec={"source": {}})
    mine["metadata"]["labels"] = {cdi.CRON_LABEL: "other"}
    store.create(DATA_SOURCE, mine)
    store.create(IMPORT_CRON, a_cron())
    Steps(store, [Crons()]).settle()
    told = [each["message"] for each in store.list(EVENT).items]
    assert told == ["DataSource debian is already managed by DataImportCron other"]


ELSEWHERE = {"pvc": {"namespace": "secrets", "name": "disk"}}


@pytest.mark.parametrize("allowed", [True, False])
def test_a_claim_of_another_namespace_is_cloned_by_the_right_of_the_service_account(
    store: Objects, allowed: bool
) -> None:
    """Not by the controllers' own, whatever digest somebody sets (CVE-2025-14459)."""
    asked = []

    def may(user: User, access: Access) -> bool:
        asked.append((user.name, access.subresource, access.namespace))
        return allowed

    prepared(store)
    store.create(NAMESPACE, builders.namespace("secrets"))
    store.create(CLAIM, some(CLAIM, "disk", "secrets", spec=builders.claim("disk")["spec"]))
    cron = a_cron(ELSEWHERE, serviceAccountName="robot")
    cron["metadata"]["annotations"] = {cdi.DESIRED_DIGEST: digest(1)}
    store.create(IMPORT_CRON, cron)
    steps = Steps(store, [Crons(lambda _: may)])
    for _ in range(3):
        steps.settle()
    assert ("system:serviceaccount:default:robot", "source", "secrets") in asked
    assert bool(store.list(DATA_VOLUME).items) == allowed
    denied = condition(store.get(IMPORT_CRON, CRON), "Polled")
    assert denied[:2] == (("True", "Polled") if allowed else ("False", "NotAuthorized"))


def test_somebody_else_sets_the_digest(store: Objects) -> None:
    play = Play(store, cron=a_cron({"http": {"url": "http://web.example/disk.img"}}, schedule=""))
    assert play.pollers() == []
    said = {"metadata": {"annotations": {cdi.DESIRED_DIGEST: digest(7)}}}
    store.patch(IMPORT_CRON, CRON, said)
    play.settle()
    dv = store.get(DATA_VOLUME, Key(name(7), "default"))
    assert dv["spec"]["source"]["http"]["checksum"] == digest(7)


@pytest.mark.parametrize("kind", ["s3", "gcs"])
def test_what_a_file_of_checksums_names_in_a_bucket_is_imported_with_that_checksum(
    store: Objects, kind: str
) -> None:
    folder = {kind: {"url": f"https://{kind}.example/images/os/"}}
    cron = a_cron(folder)
    cron["spec"]["template"]["metadata"] = {"annotations": {cdi.CHECKSUM_URL: "https://x.example/SUMS"}}
    play = Play(store, cron=cron)
    url = f"https://{kind}.example/images/os/os-1.img"
    play.found(Found(digest(1), url, digest(1)).to_text())
    dv = store.get(DATA_VOLUME, Key(name(1), "default"))
    assert dv["spec"]["source"] == {kind: {"url": url}}
    assert meta.annotations(dv)[cdi.CHECKSUM] == digest(1)
    assert cdi.CHECKSUM_URL not in meta.annotations(dv)


def test_another_default_class_has_the_image_imported_there(play: Play) -> None:
    play.version(1)
    (first,) = (meta.uid(each) for each in play.store.list(DATA_VOLUME).items)
    for each, default in (("local", None), ("local-wait", "true")):
        said = {"metadata": {"annotations": {cdi.DEFAULT_CLASS: default}}}
        play.store.patch(STORAGE_CLASS, Key(each), said)
    play.settle()
    found = {meta.uid(each) for each in play.store.list(DATA_VOLUME).items}
    assert first not in found
    assert meta.annotations(play.cron())[cdi.CRON_CLASS] == "local-wait"


def two_versions(play: Play) -> None:
    for number in (1, 2):
        if not play.pollers():
            play.look()
        play.version(number)


def test_a_crash_behind_any_action_changes_nothing_in_the_end(swift_path: Path) -> None:
    def played(file: str, cut: int) -> tuple[Any, int]:
        with Objects.open(swift_path / file) as store:
            play = Play(store, cut)
            two_versions(play)
            end = (
                play.points_at(),
                play.images(),
                play.said("UpToDate"),
                play.said("Polled"),
                play.pollers(),
            )
            return end, play.steps.done

    whole, actions = played("whole.db", 0)
    assert whole[0] == name(2)
    for cut in range(1, actions + 1):
        assert played(f"{cut}.db", cut)[0] == whole, f"cut behind action {cut} of {actions}"


def refused(obj: Obj, old: Obj | None = None) -> Callable[[Objects], str]:
    return lambda store: " ".join(each.message for each in admission.causes(store, IMPORT_CRON, obj, old))


WRONG = {
    "a schedule that is none": (a_cron(schedule="noon"), "Illegal cron schedule"),
    "no source": (a_cron({}), "Missing source"),
    "an upload": (a_cron({"upload": {}}), "Missing source"),
    "a negative number": (a_cron(importsToKeep=-1), "Illegal ImportsToKeep value"),
    "another word": (a_cron(garbageCollect="Always"), "Illegal GarbageCollect value"),
    "no data source": (a_cron(managedDataSource=""), "Illegal ManagedDataSource value"),
    "a folder without checksums": (a_cron({"http": {"url": "http://web.example/os/"}}), "does not list"),
    "another scheme": (a_cron({"registry": {"url": "ftp://x/y"}}), "Illegal registry source URL scheme"),
}


@pytest.mark.parametrize(("obj", "text"), WRONG.values(), ids=WRONG.keys())
def test_is_refused(store: Objects, obj: Obj, text: str) -> None:
    assert text in refused(obj)(store)


def test_its_spec_stays_and_its_annotations_may_change(store: Objects) -> None:
    assert refused(a_cron(schedule="0 1 * * *"), a_cron())(store) == "Cannot update DataImportCron Spec"
    said = a_cron()
    said["metadata"]["annotations"] = {cdi.DESIRED_DIGEST: digest(1)}
    assert refused(said, a_cron())(store) == ""


def test_an_object_transfer_is_refused_as_deprecated(store: Objects) -> None:
    wanted = some(OBJECT_TRANSFER, "move", spec={"source": {"kind": "DataVolume"}})
    (cause,) = admission.causes(store, OBJECT_TRANSFER, wanted, None)
    assert "deprecated" in cause.message
    assert "DataVolume (spec.source.pvc)" in cause.message
