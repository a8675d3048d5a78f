"""The main line: a DataVolume, its claim, its importer, and what people see of them on the way."""

from contextlib import closing

import pytest

from diskyard.api import meta
from diskyard.api.meta import CLAIM, DATA_SOURCE, DATA_VOLUME, POD, RESOURCE_QUOTA, STORAGE_CLASS, Key, Obj
from diskyard.api.names import cdi
from diskyard.api.progress import Figures
from diskyard.kube.client import Deletion
from tests import builders
from tests.builders import data_volume, eventually, some
from tests.datavolume_controller.conftest import RUNNING, Node, condition, ended


def test_an_import_goes_from_pending_to_succeeded(node: Node) -> None:
    node.apply(data_volume("disk"))
    node.until("Pending")
    node.bind()
    node.until("ImportScheduled")
    node.report(RUNNING)
    node.until("ImportInProgress")
    node.report(ended(0, '{"message":"Import Complete"}'), "Succeeded")
    done = node.until("Succeeded")
    assert done["status"]["progress"] == "100.0%"
    assert condition(done, "Ready") == ("True", "", "")
    assert condition(done, "Running") == ("False", "Completed", "Import Complete")
    assert meta.annotations(node.claim())[cdi.POD_PHASE] == "Succeeded"
    assert eventually(lambda: node.gone(POD, "importer-disk"))


def test_a_blank_disk_takes_the_same_way(node: Node) -> None:
    node.apply(data_volume("disk", source={"blank": {}}))
    node.bind()
    node.report(ended(0, '{"message":"Blank disk Complete"}'), "Succeeded")
    assert node.until("Succeeded")["status"]["claimName"] == "disk"


def test_the_claim_says_succeeded_before_the_datavolume_does(node: Node) -> None:
    seen: list[str] = []
    node.apply(data_volume("disk"))
    node.bind()
    with closing(node.client.watch(DATA_VOLUME, node.dv()["metadata"]["resourceVersion"])) as watch:
        node.report(ended(0, '{"message":"Import Complete"}'), "Succeeded")
        for change in watch:
            if meta.phase(change.obj) == "Succeeded":
                seen.append(meta.annotations(node.claim()).get(cdi.POD_PHASE, ""))
                break
    assert seen == ["Succeeded"]


def test_progress_is_on_the_datavolume_while_it_runs(node: Node) -> None:
    node.apply(data_volume("disk"))
    node.bind()
    owner = meta.uid(node.dv())
    node.metrics["127.9.9.9"] = (
        f'kubevirt_cdi_import_progress_total{{ownerUID="{owner}"}} 45\n'
        f'diskyard_import_fetched_bytes_total{{ownerUID="{owner}"}} 450\n'
        f'diskyard_import_source_bytes{{ownerUID="{owner}"}} 1000\n'
    )
    node.report(RUNNING)
    assert eventually(lambda: node.dv()["status"]["progress"] == "45.00%")
    figures = Figures.from_text(meta.annotations(node.dv()).get(cdi.IMPORT_PROGRESS, ""))
    assert figures
    assert (figures.fetched, figures.total) == (450, 1000)
    node.report(ended(0, '{"message":"Import Complete"}'), "Succeeded")
    assert cdi.IMPORT_PROGRESS not in meta.annotations(node.until("Succeeded"))


def test_what_can_never_work_fails_with_numbers_and_advice(node: Node) -> None:
    node.apply(data_volume("disk"))
    node.bind()
    said = '{"message":"the disk has 67108864 bytes, 8388608 fit","reason":"ImageTooLarge","fatal":true}'
    node.report(ended(1, said))
    failed = node.until("Failed")
    assert condition(failed, "Running") == ("False", "Error", "DataVolume too small to contain image")
    assert eventually(lambda: node.gone(POD, "importer-disk"))
    told = node.told("DataVolume")
    assert "ImportFailed: Failed to import into PVC disk" in told
    assert any("67108864" in each and "spec.storage.resources" in each for each in told)
    assert "67108864" in meta.annotations(failed)[cdi.ATTEMPTS]


def test_a_passing_failure_is_told_and_left_to_be_tried_again(node: Node) -> None:
    node.apply(data_volume("disk"))
    node.bind()
    broke = ended(1, '{"message":"the connection broke","reason":"SourceUnavailable"}')
    node.report({"waiting": {"reason": "CrashLoopBackOff"}}, lastState=broke)
    dv = eventually(lambda: (dv := node.dv()) and condition(dv, "Running")[1] == "Error" and dv)
    assert meta.phase(dv) == "ImportInProgress"
    node.report(RUNNING, restarts=1, lastState=broke)
    eventually(lambda: node.dv()["status"]["restartCount"] == 1)
    node.report(ended(0, '{"message":"Import Complete"}', "2026-11-21T12:09:00Z"), "Succeeded", 1)
    assert node.until("Succeeded")["status"]["restartCount"] == 1


def test_an_unknown_class_is_said_at_once_with_those_there_are(node: Node) -> None:
    wanted = {"resources": {"requests": {"storage": "1Gi"}}, "storageClassName": "fast"}
    node.apply(data_volume("disk", storage=wanted))
    message = 'spec.storage.storageClassName: there is no StorageClass "fast"; there are: local (default), local-wait'
    dv = eventually(lambda: (dv := node.dv()) and condition(dv, "Bound")[1] and dv)
    assert condition(dv, "Bound") == ("False", "ErrClaimNotValid", message)
    assert f"ErrClaimNotValid: {message}" in node.told("DataVolume")
    node.client.create(STORAGE_CLASS, builders.storage_class("fast"))
    assert node.claim()["spec"]["storageClassName"] == "fast"


def test_a_class_that_waits_makes_the_datavolume_wait(node: Node) -> None:
    wanted = {"resources": {"requests": {"storage": "1Gi"}}, "storageClassName": "local-wait"}
    node.apply(data_volume("disk", storage=wanted))
    node.until("WaitForFirstConsumer")
    assert node.gone(POD, "importer-disk")
    node.bind()
    assert node.pod()


@pytest.mark.parametrize("source", [{"blank": {}}, {"upload": {}}], ids=["import", "upload"])
@pytest.mark.parametrize("populator", ["true", "false"], ids=["populator", "annotations"])
def test_who_waited_for_a_consumer_can_still_be_told_to_wait_for_nobody(
    node: Node, source: Obj, populator: str
) -> None:
    wanted = {"resources": {"requests": {"storage": "1Gi"}}, "storageClassName": "local-wait"}
    dv = data_volume("disk", source=source, storage=wanted)
    dv["metadata"]["annotations"] = {cdi.USE_POPULATOR: populator}
    node.apply(dv)
    node.until("PendingPopulation" if populator == "true" else "WaitForFirstConsumer")
    assert any("waits for the first pod that uses it" in each for each in node.told("DataVolume"))

    at_once = {"metadata": {"annotations": {cdi.IMMEDIATE_BINDING: ""}}}
    node.client.patch(DATA_VOLUME, Key("disk", "default"), at_once)

    eventually(lambda: cdi.IMMEDIATE_BINDING in meta.annotations(node.claim()), 60)
    if "blank" in source:
        assert eventually(lambda: node.client.list(POD).items, 60)


def test_what_an_image_says_of_itself_comes_to_the_datavolume_once(node: Node) -> None:
    node.apply(data_volume("disk", source={"registry": {"url": "docker://r/i", "pullMethod": "node"}}))
    node.bind()
    preference = "instancetype.kubevirt.io/default-preference"
    node.report(
        ended(0, f'{{"message":"Import Complete","labels":{{"{preference}":"debian"}}}}'), "Succeeded"
    )

    done = node.until("Succeeded")

    assert meta.labels(done)[preference] == meta.labels(node.claim())[preference] == "debian"
    assert any(
        each.startswith("PulledByPod: spec.source.registry.pullMethod") for each in node.told("DataVolume")
    )


def test_a_source_that_is_not_there_is_waited_for(node: Node) -> None:
    node.apply(data_volume("disk", source={"pvc": {"namespace": "default", "name": "c"}}))
    dv = node.until("Pending")
    assert condition(dv, "Bound")[1:] == ("CloneWithoutSource", "The source pvc c doesn't exist")
    assert node.gone(CLAIM, "disk")


def test_a_claim_in_the_way_is_named(node: Node) -> None:
    node.client.create(CLAIM, builders.claim("disk"))
    node.apply(data_volume("disk"))
    dv = eventually(lambda: (dv := node.dv()) and condition(dv, "Bound")[1] and dv)
    assert condition(dv, "Bound")[1] == "ErrResourceExists"
    assert meta.controller_of(node.claim()) is None


def test_a_claim_is_adopted_when_the_user_says_so(node: Node) -> None:
    node.client.create(CLAIM, builders.claim("disk"))
    dv = data_volume("disk")
    dv["metadata"]["annotations"] = {cdi.ALLOW_ADOPTION: "true"}
    owner = node.apply(dv)
    node.until("Succeeded")
    assert eventually(lambda: meta.owned_by(node.claim(), owner))
    assert node.gone(POD, "importer-disk")


def test_a_claim_restored_from_a_backup_needs_no_import(node: Node) -> None:
    claim = builders.claim("disk")
    claim["metadata"]["annotations"] = {cdi.POPULATED_FOR: "disk"}
    node.client.create(CLAIM, claim)
    node.apply(data_volume("disk"))
    node.until("Succeeded")
    assert node.gone(POD, "importer-disk")


def test_an_importer_that_someone_deletes_comes_back(node: Node) -> None:
    node.apply(data_volume("disk"))
    node.bind()
    first = meta.uid(node.pod())
    node.client.delete(POD, Key("importer-disk", "default"), Deletion(grace=0))
    assert eventually(lambda: meta.uid(node.pod()) != first)


def test_a_claim_that_was_deleted_is_made_and_filled_again(node: Node) -> None:
    node.apply(data_volume("disk"))
    node.bind()
    first = meta.uid(node.claim())
    node.report(RUNNING)
    node.until("ImportInProgress")
    node.client.delete(CLAIM, Key("disk", "default"))
    assert eventually(lambda: node.gone(POD, "importer-disk"))
    node.client.patch(CLAIM, Key("disk", "default"), {"metadata": {"finalizers": None}})
    assert eventually(lambda: meta.uid(node.claim()) != first)


def test_what_failed_is_tried_again_when_the_user_says_so(node: Node) -> None:
    node.apply(data_volume("disk"))
    node.bind()
    node.report(ended(1, '{"message":"the server says 404","reason":"SourceMissing","fatal":true}'))
    node.until("Failed")
    eventually(lambda: node.gone(POD, "importer-disk"))
    node.client.patch(DATA_VOLUME, Key("disk", "default"), {"metadata": {"annotations": {cdi.RETRY: "1"}}})
    node.until("ImportScheduled")
    node.report(ended(0, '{"message":"Import Complete"}', "2026-11-21T12:01:00Z"), "Succeeded")
    done = node.until("Succeeded")
    assert meta.annotations(done)[cdi.ATTEMPTS].count('"run"') == 2


def test_a_changed_url_is_fetched_at_once_while_the_old_one_fails(node: Node) -> None:
    node.apply(data_volume("disk"))
    node.bind()
    broke = ended(1, '{"message":"no such host","reason":"SourceUnavailable"}')
    node.report({"waiting": {"reason": "CrashLoopBackOff"}}, lastState=broke)
    eventually(lambda: condition(node.dv(), "Running")[1] == "Error")
    first = meta.uid(node.pod())
    node.client.patch(
        DATA_VOLUME, Key("disk", "default"), {"spec": {"source": {"http": {"url": "http://right/disk"}}}}
    )
    node.client.delete(POD, Key("importer-disk", "default"), Deletion(grace=0))

    def fetched() -> str | None:
        pod = node.pod()
        env = {each["name"]: each.get("value") for each in pod["spec"]["containers"][0]["env"]}
        return None if meta.uid(pod) == first else env[cdi.ENV_ENDPOINT]

    eventually(lambda: fetched() == "http://right/disk")


def test_an_upload_waits_for_its_pod_and_then_for_its_bytes(node: Node) -> None:
    node.apply(data_volume("disk", source={"upload": {}}))
    node.bind()

    def say(**said: str) -> None:
        names = {getattr(cdi, name): text for name, text in said.items()}
        node.client.patch(CLAIM, Key("disk", "default"), {"metadata": {"annotations": names}})

    say(POD_PHASE="Pending")
    node.until("UploadScheduled")
    say(POD_PHASE="Running", POD_READY="false")
    say(POD_READY="true")
    node.until("UploadReady")
    say(POD_PHASE="Succeeded")
    node.until("Succeeded")
    assert {
        "UploadReady: Upload into disk ready",
        "UploadSucceeded: Successfully uploaded into disk",
    } <= node.told("DataVolume")


def test_a_clone_by_a_datasource_says_what_it_waits_for(node: Node) -> None:
    dv = data_volume("disk", source=None, sourceRef={"kind": "DataSource", "name": "image"})
    del dv["spec"]["source"]
    node.apply(dv)

    def running() -> tuple[str, str, str]:
        return condition(node.dv(), "Running")

    assert eventually(lambda: running()[2] == "spec.sourceRef: there is no DataSource default/image")
    source = {"source": {"pvc": {"namespace": "default", "name": "golden"}}}
    node.client.create(DATA_SOURCE, builders.some(DATA_SOURCE, "image", spec=source))
    assert eventually(lambda: running()[2] == "DataSource default/image is not ready: PVC not found")
    node.client.create(CLAIM, builders.claim("golden"))
    assert eventually(lambda: not node.gone(CLAIM, "disk"))


def test_a_quota_is_named_with_its_numbers_and_goes_on_once_it_is_large_enough(node: Node) -> None:
    node.client.create(
        RESOURCE_QUOTA, some(RESOURCE_QUOTA, "q", spec={"hard": {"requests.storage": "500Mi"}})
    )
    node.apply(data_volume("disk"))

    def said() -> str:
        status, reason, message = condition(node.dv(), "Bound")
        assert (status, reason) == ("False", "ErrExceededQuota")
        return message

    assert "limited: requests.storage=500Mi" in eventually(said, 60)
    assert any("ErrExceededQuota" in each for each in node.told("DataVolume"))

    node.client.patch(RESOURCE_QUOTA, Key("q", "default"), {"spec": {"hard": {"requests.storage": "5Gi"}}})

    assert eventually(lambda: not node.gone(CLAIM, "disk"), 90)
    node.bind()
    assert eventually(lambda: condition(node.dv(), "Bound")[0] == "True", 90)
