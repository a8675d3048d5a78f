"""What the importer's controller does next, sentence by sentence."""

import json
from typing import Any

from datavolume_controller import importer
from datavolume_controller.imports import Imports, World
from datavolume_controller.progress import Scraper
from diskyard.api import meta
from diskyard.api.config import Config
from diskyard.api.meta import Key, Obj
from diskyard.api.names import cdi
from diskyard.api.storage import claim
from diskyard.kube.reconcile import Delete, Merge, Plan
from diskyard.kube.refusal import CreateOrExplain
from tests import builders
from tests.datavolume_controller.conftest import RUNNING, ended
from tests.datavolume_controller.plans import said, told
from tests.datavolume_controller.worlds import a_claim, import_world

FATAL = '{"message":"the server says 404","reason":"SourceMissing","fatal":true}'
PASSING = '{"message":"the connection broke","reason":"SourceUnavailable","bytesFetched":42}'


def a_pod(obj: Obj, phase: str = "Pending", state: Obj | None = None, **container: Any) -> Obj:
    """The claim's importer, as its node reports it."""
    pod = builders.stored(importer.pod(obj, claim(obj), Config()), uid="pod-uid")
    containers = [{"name": "importer", "state": state or {}, **container}]
    return {**pod, "status": {"phase": phase, "podIP": "127.0.0.2", "containerStatuses": containers}}


def seen(phase: str = "Pending", state: Obj | None = None, said: Any = None, **container: Any) -> World:
    obj = a_claim(**(said or {}))
    return import_world(obj, a_pod(obj, phase, state, **container))


def decided(world: World) -> Plan:
    return Imports(Scraper()).decide(world)


def ends_the_pod(plan: Plan) -> bool:
    return any(isinstance(each, Delete) for each in plan.actions)


def test_names_the_pod_before_it_makes_it() -> None:
    naming, making = decided(import_world(a_claim())).actions
    assert isinstance(naming, Merge)
    assert naming.patch["metadata"]["annotations"] == {cdi.IMPORT_POD: "importer-disk"}
    assert isinstance(making, CreateOrExplain)
    assert meta.name(making.create.obj) == "importer-disk"


def test_waits_for_the_volume_where_the_gate_is_on() -> None:
    assert decided(import_world(a_claim("Pending"))).actions == ()


def test_does_not_wait_where_it_is_off_or_the_user_does_not() -> None:
    assert decided(import_world(a_claim("Pending"), config=Config())).actions
    assert decided(import_world(a_claim("Pending", IMMEDIATE_BINDING=""))).actions


def test_leaves_a_claim_alone_that_another_pod_uses() -> None:
    plan = decided(import_world(a_claim(), users=(Key("reader", "default"),)))
    assert told(plan) == [("ImportTargetInUse", "pod default/reader using PersistentVolumeClaim disk")]
    assert plan.requeue_after

    known = a_claim()
    known["metadata"]["annotations"] |= said(plan)
    again = decided(import_world(known, users=(Key("reader", "default"),)))
    assert (again.actions, again.requeue_after) == ((), plan.requeue_after)


def test_waits_longer_after_each_failure_before_it_makes_another_pod() -> None:
    failed = '[{"run":"p/1","time":"2026-11-21T12:00:00Z","reason":"Error","message":"x"}]'
    plan = decided(import_world(a_claim(ATTEMPTS=failed)))
    assert plan.actions == ()
    assert plan.requeue_after


def test_says_that_the_pod_works() -> None:
    plan = decided(seen("Running", RUNNING))
    assert said(plan)[cdi.POD_PHASE] == "Running"
    assert (said(plan)[cdi.RUNNING_CONDITION], said(plan)[cdi.RUNNING_REASON]) == ("true", "Pod is running")


def test_says_nothing_twice() -> None:
    first = decided(seen("Running", RUNNING))
    known = a_claim()
    known["metadata"]["annotations"] |= said(first)
    assert decided(import_world(known, a_pod(known, "Running", RUNNING))).actions == ()


def test_success_is_told_kept_and_cleared_away() -> None:
    plan = decided(seen("Succeeded", ended(0, '{"message":"Import Complete","preallocationApplied":true}')))
    assert told(plan) == [("ImportSucceeded", "Import Successful")]
    assert (said(plan)[cdi.POD_PHASE], said(plan)[cdi.PREALLOCATION_APPLIED]) == ("Succeeded", "true")
    assert said(plan)[cdi.RUNNING_REASON] == "Completed"
    assert ends_the_pod(plan)


def test_the_images_labels_come_before_success_and_overwrite_nothing() -> None:
    obj = a_claim()
    obj["metadata"]["labels"] = {"instancetype.kubevirt.io/default-preference": "mine"}
    message = json.dumps(
        {
            "message": "Import Complete",
            "labels": {
                "instancetype.kubevirt.io/default-preference": "theirs",
                "kubevirt.io/dynamic-credentials-support": "true",
            },
        }
    )

    plan = decided(import_world(obj, a_pod(obj, "Succeeded", ended(0, message))))

    first, *_ = plan.actions
    assert isinstance(first, Merge)
    assert first.patch == {"metadata": {"labels": {"kubevirt.io/dynamic-credentials-support": "true"}}}
    assert said(plan)[cdi.POD_PHASE] == "Succeeded"


def test_what_vmwares_library_says_of_itself_is_kept() -> None:
    message = '{"message":"Import Complete","vddkInfo":{"Version":"8.0.2","Host":"esx1"}}'
    merged = said(decided(seen("Succeeded", ended(0, message))))
    assert (merged[cdi.VDDK_VERSION], merged[cdi.VDDK_HOST]) == ("8.0.2", "esx1")


def test_a_library_that_no_node_can_pull_comes_with_the_way_out() -> None:
    obj = a_claim(VDDK_IMAGE="r/vddk:8")
    waiting = {"waiting": {"reason": "ErrImagePull", "message": 'failed to pull image "r/vddk:8"'}}

    merged = said(decided(import_world(obj, a_pod(obj, "Pending", waiting))))

    assert merged[cdi.RUNNING_REASON] == "ImagePullFailed"
    assert cdi.VDDK_FOLDER in merged[cdi.RUNNING_MESSAGE]


def test_what_can_never_work_ends_at_once() -> None:
    plan = decided(seen("Running", ended(1, FATAL)))
    assert told(plan) == [("ErrImportFailed", "the server says 404")]
    assert (said(plan)[cdi.POD_PHASE], said(plan)[cdi.IMPORT_FATAL]) == ("Failed", "true")
    assert said(plan)[cdi.RUNNING_MESSAGE] == "the server says 404"
    assert ends_the_pod(plan)


def test_what_can_never_work_ends_even_where_the_node_has_started_it_again() -> None:
    plan = decided(seen("Running", RUNNING, lastState=ended(1, FATAL), restartCount=1))
    assert said(plan)[cdi.IMPORT_FATAL] == "true"
    assert ends_the_pod(plan)


def test_no_pod_is_made_for_what_can_never_work() -> None:
    assert decided(import_world(a_claim(POD_PHASE="Failed", IMPORT_FATAL="true"))).actions == ()


def test_a_passing_failure_is_left_to_the_node_told_and_recorded() -> None:
    plan = decided(seen("Running", {"waiting": {"reason": "CrashLoopBackOff"}}, lastState=ended(1, PASSING)))
    assert told(plan) == [("ErrImportFailed", "the connection broke")]
    assert '"bytes": 42' in said(plan)[cdi.ATTEMPTS]
    assert (said(plan)[cdi.RUNNING_REASON], said(plan)[cdi.RUNNING_MESSAGE]) == (
        "Error",
        "the connection broke",
    )
    assert not ends_the_pod(plan)


def test_the_same_failure_is_told_once() -> None:
    world = seen("Running", {"waiting": {"reason": "CrashLoopBackOff"}}, lastState=ended(1, PASSING))
    known = a_claim(ATTEMPTS=said(decided(world))[cdi.ATTEMPTS])
    later = import_world(known, a_pod(known, "Running", RUNNING, lastState=ended(1, PASSING), restartCount=1))
    assert told(decided(later)) == []
    assert said(decided(later))[cdi.POD_RESTARTS] == "1"


def test_restarts_only_grow() -> None:
    plan = decided(seen("Running", RUNNING, {"POD_RESTARTS": "3"}))
    assert cdi.POD_RESTARTS not in said(plan)


def test_a_pod_that_failed_as_a_whole_makes_room_for_another() -> None:
    plan = decided(seen("Failed", ended(1, PASSING)))
    assert ends_the_pod(plan)
    assert cdi.IMPORT_FATAL not in said(plan)


def test_a_retained_pod_stays() -> None:
    keep = {"RETAIN_POD": "true"}
    assert not ends_the_pod(decided(seen("Succeeded", ended(0, '{"message":"Import Complete"}'), keep)))
    assert not ends_the_pod(decided(seen("Succeeded", None, {**keep, "POD_PHASE": "Succeeded"})))


def test_a_claim_that_leaves_takes_its_pod_along() -> None:
    obj = a_claim(RETAIN_POD="true")
    obj["metadata"]["deletionTimestamp"] = "2026-11-21T12:00:00Z"
    assert ends_the_pod(decided(import_world(obj, a_pod(obj, "Running", RUNNING))))


def test_a_pod_of_somebody_else_is_left_alone() -> None:
    pod = builders.stored(builders.pod("importer-disk"))
    assert decided(import_world(a_claim(), pod)).actions == ()


def test_an_image_that_cannot_be_pulled_is_named() -> None:
    waiting = {"waiting": {"reason": "ErrImagePull", "message": "failed to pull image: diskyard:9"}}
    plan = decided(seen("Pending", waiting))
    assert said(plan)[cdi.RUNNING_REASON] == "ImagePullFailed"
    assert said(plan)[cdi.RUNNING_MESSAGE] == "failed to pull image: diskyard:9"


def test_a_pod_that_no_node_takes_is_said() -> None:
    world = seen()
    conditions = [{"type": "PodScheduled", "status": "False", "message": "no node"}]
    pod = {**(world.pod or {}), "status": {"phase": "Pending", "conditions": conditions}}
    plan = decided(import_world(world.obj, pod))
    assert said(plan)[cdi.POD_SCHEDULABLE] == "false"
    assert said(plan)[cdi.RUNNING_REASON] == "Unschedulable"


def block(**annotations: str) -> Obj:
    """A claim that is a block device."""
    obj = a_claim(**annotations)
    obj["spec"]["volumeMode"] = "Block"
    return obj


def test_a_devices_journal_is_kept_while_its_importer_works() -> None:
    obj = block()
    plan = decided(import_world(obj, a_pod(obj, "Running", RUNNING), journal='{"offset":7}'))
    assert said(plan)[cdi.IMPORT_JOURNAL] == '{"offset":7}'
    assert plan.requeue_after


def test_a_devices_journal_comes_with_the_importers_last_words_as_well() -> None:
    obj, message = block(IMPORT_JOURNAL="old"), '{"message":"stopped","reason":"Stopped","journal":"new"}'
    lost = import_world(obj, a_pod(obj, "Failed", ended(143, message)))
    assert said(decided(lost))[cdi.IMPORT_JOURNAL] == "new"


def test_an_importer_that_was_killed_leaves_the_journal_as_it_is() -> None:
    obj = block(IMPORT_JOURNAL="old")
    assert cdi.IMPORT_JOURNAL not in said(decided(import_world(obj, a_pod(obj, "Failed", ended(137, "")))))


def test_the_next_importer_of_a_device_gets_the_journal() -> None:
    for obj, journal in ((block(IMPORT_JOURNAL="kept"), "kept"), (a_claim(IMPORT_JOURNAL="kept"), "")):
        assert importer.job(claim(obj), Config()).journal == journal


def test_a_device_that_is_done_has_no_journal() -> None:
    obj = block(IMPORT_JOURNAL="old")
    for code, message in ((0, '{"message":"Import Complete"}'), (3, FATAL)):
        plan = decided(import_world(obj, a_pod(obj, "Succeeded", ended(code, message))))
        assert said(plan)[cdi.IMPORT_JOURNAL] is None
