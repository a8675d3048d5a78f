"""What the controller of uploads does next, sentence by sentence."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from datavolume_controller import attempt, authorities, uploader
from datavolume_controller.progress import Scraper, parsed
from datavolume_controller.uploads import Uploads, World
from diskyard.api import meta
from diskyard.api.config import Config, config
from diskyard.api.job import TerminationMessage
from diskyard.api.meta import CLAIM, NAMESPACE, POD, SECRET, SERVICE, Key, Obj
from diskyard.api.names import cdi, upload
from diskyard.api.progress import Failure, Figures
from diskyard.api.storage import claim
from diskyard.api.upload import UploadJob
from diskyard.kube.client import Client
from diskyard.kube.reconcile import Create, Delete, Merge, Plan
from diskyard.kube.refusal import CreateOrExplain
from diskyard.web import issue
from diskyard.web.issue import Pem
from standalone.store.objects import Objects
from tests import builders
from tests.datavolume_controller.conftest import RUNNING, ended
from tests.datavolume_controller.plans import said, told
from tests.datavolume_controller.steps import Steps
from tests.datavolume_controller.worlds import GATED

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
KEYS = Pem(b"certificate", b"key")
SMALL = Failure(1, "2026-11-21T11:59:00Z", "ImageTooLarge", "Saving stream failed: too large", 4096)


def a_claim(phase: str = "Bound", **said: str) -> Obj:
    """One that waits for an upload; `said` names annotations: POD_PHASE="Running"."""
    obj = builders.stored(builders.claim("disk", storageClassName="local"), uid="claim-uid")
    annotations = {getattr(cdi, name): text for name, text in said.items()}
    obj["metadata"]["annotations"] = {cdi.UPLOAD_TARGET: "", **annotations}
    return {**obj, "status": {"phase": phase}}


def a_pod(obj: Obj, phase: str = "Running", state: Obj | None = None, **container: Any) -> Obj:
    """The claim's server, as its node reports it."""
    pod = builders.stored(uploader.pod(obj, claim(obj), Config(), NOW), uid="pod-uid")
    containers = [{"name": upload.CONTAINER, "state": state or RUNNING, **container}]
    return {**pod, "status": {"phase": phase, "podIP": "127.0.0.2", "containerStatuses": containers}}


def seen(obj: Obj, pod: Obj | None = None, **fields: Any) -> World:
    given: dict[str, Any] = {
        "config": GATED, "service": None, "signer": KEYS, "clients": b"ca", "users": (), "now": NOW, **fields,
    }  # fmt: skip
    return World(obj=obj, claim=claim(obj), pod=pod, **given)


def test_the_server_is_told_how_old_its_tls_may_be() -> None:
    profile = {"type": "Modern", "modern": {}}
    asked = uploader.job(claim(a_claim()), config({"spec": {"tlsSecurityProfile": profile}}), NOW)

    assert UploadJob.from_env(asked.to_env()).tls == profile


def decided(world: World) -> Plan:
    return Uploads(Scraper()).decide(world)


def deleted(plan: Plan) -> list[str]:
    return [each.kind.kind for each in plan.actions if isinstance(each, Delete)]


def test_names_the_server_and_makes_its_certificate_and_service_before_its_pod() -> None:
    naming, certifying, serving, making = decided(seen(a_claim())).actions
    assert isinstance(naming, Merge)
    assert naming.patch["metadata"]["annotations"] == {upload.POD_NAME: "cdi-upload-disk"}
    assert isinstance(certifying, uploader.Certify)
    assert isinstance(serving, Create)
    assert meta.spec(serving.obj)["clusterIP"] == "None"
    assert isinstance(making, CreateOrExplain)
    assert meta.name(making.create.obj) == "cdi-upload-disk"


@pytest.mark.parametrize(
    ("world", "made"),
    [
        (seen(a_claim("Pending")), False),
        (seen(a_claim("Pending"), config=Config()), True),
        (seen(a_claim("Pending", IMMEDIATE_BINDING="")), True),
        (seen(a_claim(), signer=None), False),
        (seen(a_claim(), clients=b""), False),
        (seen(a_claim(), users=(Key("guest", "default"),)), False),
        (seen(a_claim(POD_PHASE="Succeeded")), False),
    ],
    ids=[
        "waits for the volume where the gate is on", "does not where it is off", "does not where the user does not",
        "waits for the keys", "waits for the clients' authority", "leaves a claim alone that a guest uses",
        "never fills a claim twice",
    ],
)  # fmt: skip
def test_a_server_is_made_as_soon_as_it_may_be(world: World, made: bool) -> None:
    assert any(isinstance(each, CreateOrExplain) for each in decided(world).actions) is made


def test_says_whether_the_server_is_ready() -> None:
    obj = a_claim()
    early = said(decided(seen(obj, a_pod(obj, ready=False))))
    ready = said(decided(seen(obj, a_pod(obj, ready=True))))
    assert (early[cdi.POD_PHASE], early[cdi.POD_READY]) == ("Running", "false")
    assert (ready[cdi.POD_READY], ready[cdi.RUNNING_REASON]) == ("true", "Pod is running")


def test_says_nothing_twice_and_asks_again_soon() -> None:
    obj = a_claim()
    figures = Figures(failures=(SMALL,))
    obj["metadata"]["annotations"] |= said(decided(seen(obj, a_pod(obj, ready=True), figures=figures)))
    plan = decided(seen(obj, a_pod(obj, ready=True), figures=figures))
    assert plan.actions == ()
    assert plan.requeue_after


def test_an_upload_that_failed_is_told_kept_and_stands_in_the_condition() -> None:
    obj = a_claim()
    plan = decided(seen(obj, a_pod(obj, ready=True), figures=Figures(failures=(SMALL,))))
    (kept,) = attempt.attempts(said(plan)[cdi.ATTEMPTS])
    assert told(plan) == [("ErrUploadFailed", "Saving stream failed: too large")]
    assert (kept.reason, kept.bytes, kept.time) == ("ImageTooLarge", 4096, SMALL.time)
    condition = said(plan)[cdi.RUNNING_CONDITION], said(plan)[cdi.RUNNING_MESSAGE]
    assert condition == ("true", "Saving stream failed: too large. Upload into another, larger one.")
    assert said(plan)[cdi.POD_READY] == "true", "another one can come"


def test_the_failures_before_a_success_stay() -> None:
    obj = a_claim()
    obj["metadata"]["annotations"] |= said(decided(seen(obj, a_pod(obj), figures=Figures(failures=(SMALL,)))))
    plan = decided(seen(obj, a_pod(obj, "Succeeded", ended(0, '{"message":"Upload Complete"}'))))
    assert [each.reason for each in attempt.attempts(said(plan)[cdi.ATTEMPTS])] == [
        "ImageTooLarge", "Completed",
    ]  # fmt: skip
    assert (said(plan)[cdi.RUNNING_REASON], said(plan)[cdi.RUNNING_MESSAGE]) == (
        "Completed",
        "Upload Complete",
    )


def test_success_is_told_and_the_server_goes() -> None:
    obj = a_claim()
    service = builders.stored(uploader.service(obj, claim(obj)))
    end = ended(0, '{"message":"Upload Complete","preallocationApplied":true}')
    plan = decided(seen(obj, a_pod(obj, "Succeeded", end), service=service))
    assert told(plan) == [("UploadSucceeded", "Upload Successful")]
    assert (said(plan)[cdi.POD_PHASE], said(plan)[cdi.PREALLOCATION_APPLIED]) == ("Succeeded", "true")
    assert deleted(plan) == ["Pod", "Service", "Secret"]


def test_a_server_whose_certificate_gets_old_makes_way_for_another() -> None:
    obj = a_claim(POD_PHASE="Running")
    end = ended(0, '{"deadlinePassed": true, "message": "Deadline Passed"}')
    plan = decided(seen(obj, a_pod(obj, "Succeeded", end)))
    assert (said(plan)[cdi.POD_PHASE], said(plan)[cdi.POD_READY]) == ("", "false")
    assert deleted(plan) == ["Pod"]


def test_a_server_that_was_killed_is_told_of_and_started_again_by_its_node() -> None:
    obj = a_claim()
    plan = decided(seen(obj, a_pod(obj, restartCount=1, lastState=ended(137, ""))))
    words = "the upload server ended with exit code 137 and said nothing; see its log"
    assert told(plan) == [("ErrUploadFailed", words)]
    assert said(plan)[cdi.POD_RESTARTS] == "1"
    assert deleted(plan) == []


def test_a_pod_that_is_lost_makes_way_for_another_that_goes_on() -> None:
    obj = a_claim()
    lost = TerminationMessage("evicted", reason="Evicted").to_text()
    plan = decided(seen(obj, a_pod(obj, "Failed", ended(143, lost))))
    assert told(plan) == [("ErrUploadFailed", "evicted")]
    assert deleted(plan) == ["Pod"]


def test_what_no_node_takes_is_said() -> None:
    obj = a_claim()
    why = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no node"}
    pod = a_pod(obj) | {"status": {"phase": "Pending", "conditions": [why]}}
    merged = said(decided(seen(obj, pod)))
    assert (merged[cdi.POD_SCHEDULABLE], merged[cdi.RUNNING_REASON]) == ("false", "Unschedulable")


def test_a_pod_of_that_name_that_is_somebody_elses_is_left_alone() -> None:
    theirs = builders.stored(builders.pod("cdi-upload-disk"))
    assert decided(seen(a_claim(), theirs)).actions == ()


def test_the_server_goes_with_its_claim() -> None:
    obj = a_claim()
    obj["metadata"]["deletionTimestamp"] = "2026-11-21T12:00:00Z"
    assert deleted(decided(seen(obj, a_pod(obj)))) == ["Pod"]


def test_a_servers_report_is_read_whatever_it_says() -> None:
    report = {"ownerUID": "u", "failures": [{"number": 1, "time": "t", "reason": "r", "message": "m"}, 7]}
    assert parsed(json.dumps(report), "u").failures == (Failure(1, "t", "r", "m"),)
    assert parsed(json.dumps(report), "another").failures == ()
    assert parsed('{"ownerUID":"u","failures":"x"}', "u").failures == ()


def played(path: Path, cut: int) -> tuple[Any, int]:
    """An upload from its claim to its disk, with a crash behind the `cut`th action."""
    with Objects.open(path) as store, Scraper(fetch=lambda _: "") as scraper:
        _prepare(store)
        steps = Steps(store, [Uploads(scraper)], cut)
        steps.settle()
        for phase, state in (("Running", RUNNING), ("Succeeded", ended(0, '{"message":"Upload Complete"}'))):
            containers = [{"name": upload.CONTAINER, "state": state, "ready": phase == "Running"}]
            status = {"phase": phase, "podIP": "127.9.9.9", "containerStatuses": containers}
            store.patch(POD, Key("cdi-upload-disk", "default"), {"status": status}, "status")
            steps.settle()
        found = meta.annotations(store.get(CLAIM, Key("disk", "default")))
        left = [len(store.list(kind).items) for kind in (POD, SERVICE)]
        return ({key: text for key, text in found.items() if key != cdi.ATTEMPTS}, left), steps.done


def _prepare(client: Client) -> None:
    client.create(NAMESPACE, builders.namespace(cdi.NAMESPACE))
    life = issue.Life(NOW, authorities.SIGNER_LIFE)
    for name in (upload.SERVER_SIGNER, upload.CLIENT_SIGNER):
        pair = issue.authority(name, life)
        client.create(SECRET, uploader.secret({"name": name, "namespace": cdi.NAMESPACE}, pair))
    client.create(CLAIM, builders.claim("disk", storageClassName="local"))
    said = {"metadata": {"annotations": {cdi.UPLOAD_TARGET: ""}}}
    client.patch(CLAIM, Key("disk", "default"), said)
    client.patch(CLAIM, Key("disk", "default"), {"status": {"phase": "Bound"}}, "status")


def test_a_crash_behind_any_action_changes_nothing_in_the_end(swift_path: Path) -> None:
    whole, actions = played(swift_path / "whole.db", cut=0)

    assert whole[1] == [0, 0]
    for cut in range(1, actions + 1):
        found, _ = played(swift_path / f"{cut}.db", cut)
        assert found == whole, f"cut behind action {cut} of {actions}"
