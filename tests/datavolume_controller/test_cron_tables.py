"""What a DataImportCron says, and which images go: a row for each case, from the world alone (cdi-wire §7)."""

from dataclasses import replace
from typing import Any

import pytest

from datavolume_controller import cronboot, cronstatus, cronswitch
from datavolume_controller.cronworld import World
from diskyard.api import meta
from diskyard.api.boottest import BootTest, Verdict
from diskyard.api.config import Config
from diskyard.api.cron import import_cron, standing_for
from diskyard.api.meta import CLAIM, DATA_SOURCE, DATA_VOLUME, Key, Obj
from diskyard.api.names import cdi
from diskyard.kube.reconcile import Delete
from tests import builders
from tests.builders import some
from tests.datavolume_controller.test_crons import a_cron, digest, name

NOW = "2026-11-21T12:00:00Z"
TEST = BootTest("login:", 60)


def a_world(current: int = 0, desired: int = 0, said: dict[str, str] | None = None, **more: Any) -> World:
    spec = more.pop("spec", {})
    obj = builders.stored(a_cron(**spec), uid="cron-uid")
    wanted = {cdi.DESIRED_DIGEST: digest(desired)} if desired else {}
    obj["metadata"]["annotations"] = {**wanted, **(said or {})}
    if current:
        obj["status"] = {"currentImports": [{"DataVolumeName": name(current), "Digest": digest(current)}]}
    return World(obj=obj, cron=import_cron(obj), config=Config(), now=NOW, instant=NOW, **more)


def importing(phase: str, message: str = "", reason: str = "") -> Obj:
    conditions = [{"type": "Running", "status": "False", "reason": reason, "message": message}]
    return some(DATA_VOLUME, name(1), status={"phase": phase, "conditions": conditions})


def unbound(reason: str, message: str) -> Obj:
    """Its claim waits for a volume."""
    conditions = [{"type": "Bound", "status": "False", "reason": reason, "message": message}]
    return some(DATA_VOLUME, name(1), status={"phase": "Pending", "conditions": conditions})


def an_image(number: int, used: int = 0, **said: str) -> Obj:
    text = {cdi.DIGEST: digest(number), cdi.LAST_USE_TIME: f"2026-01-{used or number:02}T00:00:00Z", **said}
    return {**builders.stored(builders.claim(name(number)), annotations=text), "status": {"phase": "Bound"}}


def a_source(number: int, **said: str) -> Obj:
    labels = {cdi.CRON_LABEL: "nightly"}
    spec = standing_for(Key(name(number), "default"))
    return some(DATA_SOURCE, "debian", spec=spec, metadata={"labels": labels, "annotations": said})


WHOLE = importing("Succeeded")
PROGRESSING = {
    "nothing was begun": (a_world(), ("False", "NoImport", "No current import")),
    "it is made": (
        a_world(1, 1, dv=importing("")),
        ("False", "Pending", "Import DataVolume phase Pending"),
    ),
    "it waits for a volume": (
        a_world(1, 1, dv=importing("PendingPopulation")),
        ("False", "PendingPopulation", "Import DataVolume phase PendingPopulation"),
    ),
    "its claim is bound in a moment": (
        a_world(1, 1, dv=unbound("Pending", "PVC debian Pending")),
        ("False", "Pending", "Import DataVolume phase Pending"),
    ),
    "its storage is full": (
        a_world(1, 1, dv=unbound("ProvisioningFailed", "20Mi are not promised")),
        ("False", "Pending", "Import DataVolume phase Pending: 20Mi are not promised"),
    ),
    "its pod is to come": (
        a_world(1, 1, dv=importing("ImportScheduled")),
        ("False", "ImportScheduled", "Import is scheduled"),
    ),
    "bytes come": (
        a_world(1, 1, dv=importing("ImportInProgress")),
        ("True", "ImportProgressing", "Import is progressing"),
    ),
    "it failed": (
        a_world(1, 1, dv=importing("Failed", "no access", "Error")),
        ("False", "Failed", "Import DataVolume phase Failed: no access"),
    ),
    "it is complete": (a_world(1, 1, dv=WHOLE), ("False", "NoImport", "No current import")),
    "its DataVolume was collected": (
        a_world(1, 1, claim=an_image(1)),
        ("False", "NoImport", "No current import"),
    ),
    "somebody took it away": (a_world(1, 1), ("False", "NoImport", "No current import")),
    "it may not be cloned": (
        a_world(0, 1, denied="no right"),
        ("False", "NotAuthorized", "Not authorized to create DataVolume"),
    ),
}
UP_TO_DATE = {
    "no version is known": (a_world(), ("False", "NoDigest", "No source digest")),
    "a first version is known": (
        a_world(0, 1),
        ("False", "Outdated", "Source digest updated since last import"),
    ),
    "another version is known": (
        a_world(1, 2, dv=WHOLE),
        ("False", "Outdated", "Source digest updated since last import"),
    ),
    "it is imported": (
        a_world(1, 1, dv=importing("ImportInProgress")),
        ("False", "ImportProgressing", "Import is progressing"),
    ),
    "it is complete": (a_world(1, 1, dv=WHOLE), ("True", "UpToDate", "Latest import is up to date")),
    "it is complete and held": (
        a_world(1, 1, dv=WHOLE, data_source=a_source(2, **{cdi.HELD: name(2)})),
        ("True", "UpToDate", "Latest import is up to date; DataSource debian is held where it is"),
    ),
    "it is tried": (
        a_world(1, 1, dv=WHOLE, boot=TEST),
        ("False", "BootTestProgressing", "Boot test of the image is progressing"),
    ),
    "it does not boot": (
        a_world(1, 1, claim=an_image(1, **{cdi.BOOT_TEST: Verdict(TEST.mark, "panic").to_text()}), boot=TEST),
        (
            "False",
            "BootTestFailed",
            "DataSource debian stays where it is: see the condition BootTested",
        ),
    ),
}
LOOKED = {cdi.LAST_CRON_TIME: NOW}
POLLED = {
    "it was not looked at yet": (
        a_world(),
        ("False", "Pending", "The source was not looked at yet"),
    ),
    "it was": (a_world(said=LOOKED), ("True", "Polled", "The source was looked at")),
    "it could not be": (
        a_world(said={**LOOKED, cdi.POLL_ERROR: "AccessDenied: no access"}),
        ("False", "AccessDenied", "no access"),
    ),
    "somebody wrote what is no reason": (
        a_world(said={cdi.POLL_ERROR: "two words: x"}),
        ("False", "PollFailed", "x"),
    ),
    "it never is": (
        a_world(spec={"schedule": ""}),
        ("False", "NoSchedule", "The source is never looked at: somebody sets the digest"),
    ),
}


def _parts(found: meta.Condition) -> tuple[str, str, str]:
    return found.status, found.reason, found.message


@pytest.mark.parametrize(("world", "said"), PROGRESSING.values(), ids=PROGRESSING.keys())
def test_progressing(world: World, said: tuple[str, str, str]) -> None:
    assert _parts(cronstatus.progressing(world)) == said


@pytest.mark.parametrize(("world", "said"), UP_TO_DATE.values(), ids=UP_TO_DATE.keys())
def test_up_to_date(world: World, said: tuple[str, str, str]) -> None:
    assert _parts(cronstatus.up_to_date(world)) == said


@pytest.mark.parametrize(("world", "said"), POLLED.values(), ids=POLLED.keys())
def test_polled(world: World, said: tuple[str, str, str]) -> None:
    assert _parts(cronstatus.polled(world)) == said


PASSED = an_image(1, **{cdi.BOOT_TEST: Verdict(TEST.mark).to_text()})
OTHER = an_image(1, **{cdi.BOOT_TEST: Verdict("another test").to_text()})
BOOTED = {
    "nobody asks": (a_world(1, 1, claim=PASSED), []),
    "there is no image": (a_world(boot=TEST), [("False", "NoImage")]),
    "it is tried": (a_world(1, 1, claim=an_image(1), boot=TEST), [("False", "Testing")]),
    "it was tried otherwise": (a_world(1, 1, claim=OTHER, boot=TEST), [("False", "Testing")]),
    "it boots": (a_world(1, 1, claim=PASSED, boot=TEST), [("True", "Passed")]),
    "its guest may not be made": (
        a_world(1, 1, claim=an_image(1), boot=TEST, untested="no right"),
        [("False", "NotAuthorized")],
    ),
    "what is asked makes no sense": (a_world(1, 1, illegal="no words"), [("False", "IllegalBootTest")]),
}


@pytest.mark.parametrize(("world", "said"), BOOTED.values(), ids=BOOTED.keys())
def test_boot_tested(world: World, said: list[tuple[str, str]]) -> None:
    assert [(each.status, each.reason) for each in cronboot.booted(world)] == said


GONE = {
    "three are kept": ({}, 4, (1, 2, 3, 4), [1]),
    "as many as are asked for": ({"importsToKeep": 1}, 3, (1, 2, 3), [1, 2]),
    "none but the one in use": ({"importsToKeep": 0}, 3, (1, 2, 3), [1, 2]),
    "fewer than are kept": ({}, 2, (1, 2), []),
    "all": ({"importsToKeep": 1, "garbageCollect": "Never"}, 3, (1, 2, 3), []),
}


@pytest.mark.parametrize(("spec", "current", "there", "gone"), GONE.values(), ids=GONE.keys())
def test_which_images_go(spec: dict[str, Any], current: int, there: tuple[int, ...], gone: list[int]) -> None:
    assert _gone(a_world(current, current, spec=spec), current, there) == [name(each) for each in gone]


def test_neither_a_held_image_nor_one_that_is_tried_or_failed_has_another_deleted() -> None:
    world = a_world(3, 3, spec={"importsToKeep": 1})
    held = a_source(1, **{cdi.HELD: name(1)})
    assert _gone(world, 3, (1, 2, 3), held) == [name(2)]
    assert _gone(replace(world, boot=TEST), 3, (1, 2, 3)) == []


def _gone(world: World, current: int, there: tuple[int, ...], source: Obj | None = None) -> list[str]:
    images = tuple(an_image(each) for each in there)
    found = replace(
        world, claim=an_image(current), images=images, data_source=source or a_source(current), dv=None
    )
    actions = cronswitch.switched(found)
    return sorted(each.key.name for each in actions if isinstance(each, Delete) and each.kind == CLAIM)


def test_another_crons_data_source_is_told_once() -> None:
    world = a_world(1, 1, claim=an_image(1), data_source=a_source(1), rival="weekly")
    (told,) = cronswitch.switched(world)
    assert "already managed by DataImportCron weekly" in str(told)
    obj = {**world.obj, "status": {"conditions": [{"type": "UpToDate", "status": "True"}]}}
    assert cronswitch.switched(replace(world, obj=obj)) == ()
