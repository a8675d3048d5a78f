"""Boot tests of golden images without guests: only what boots is pointed at, and nothing is left of a test."""

from pathlib import Path
from typing import Any

import pytest

from datavolume_controller import admission
from datavolume_controller.crons import Crons
from datavolume_controller.datasources import DataSources
from diskyard.api import meta
from diskyard.api.boottest import Verdict, boot_test
from diskyard.api.meta import CLAIM, IMPORT_CRON, INSTANCE, Key, Obj
from diskyard.api.names import cdi, kubevirt
from diskyard.errors import InvalidRequest
from diskyard.kube.access import Access
from standalone.store.objects import Objects
from tests.builders import eventually
from tests.datavolume_controller.conftest import condition
from tests.datavolume_controller.steps import Steps
from tests.datavolume_controller.test_crons import CRON, Play, a_cron, digest, name

SAYS = {cdi.BOOT_SAYS: "login:", cdi.BOOT_WITHIN: "2m"}
TEMPLATE = "domain: {devices: {disks: [{name: image, disk: {bus: sata}}]}, memory: {guest: 128Mi}}"


def tried(**said: str) -> Obj:
    found = a_cron()
    found["metadata"]["annotations"] = {**SAYS, **said}
    return found


class Trial(Play):
    """The test plays the guest, too."""

    def guest(self) -> Obj:
        (found,) = self.store.list(INSTANCE).items
        return found

    def guests(self) -> list[Obj]:
        return list(self.store.list(INSTANCE).items)

    def says(self, status: str, tail: str = "", phase: str = "Running") -> None:
        told = {"type": "ConsoleSaid", "status": status, "reason": "Said", "message": tail}
        patch = {"status": {"phase": phase, "conditions": [told]}}
        self.store.patch(INSTANCE, meta.key(self.guest()), patch, "status")
        self.settle()

    def boots(self, number: int) -> None:
        self.version(number)
        self.says("True", "vm login:")

    def fails(self, number: int, tail: str = "Kernel panic") -> None:
        self.version(number)
        self.says("False", tail, "Failed")

    def verdict(self, number: int) -> Verdict | None:
        claim = self.store.get(CLAIM, Key(name(number), "default"))
        return Verdict.from_text(meta.annotations(claim).get(cdi.BOOT_TEST, ""))


@pytest.fixture
def trial(store: Objects) -> Trial:
    return Trial(store, cron=tried())


def test_a_new_image_is_tried_before_anybody_gets_it(trial: Trial) -> None:
    trial.version(1)
    assert trial.points_at() == ""
    assert trial.said("UpToDate") == ("False", "BootTestProgressing")
    assert trial.said("BootTested") == ("False", "Testing")
    guest = trial.guest()
    assert meta.annotations(guest)[kubevirt.CONSOLE_AWAITS] == "login:"
    (volume,) = guest["spec"]["volumes"]
    claim = {"claimName": name(1), "readOnly": True}
    assert volume == {"name": "image", "ephemeral": {"persistentVolumeClaim": claim}}
    trial.says("True", "vm login:")
    assert trial.points_at() == name(1)
    assert trial.said("BootTested") == ("True", "Passed")
    assert trial.guests() == []


def test_what_does_not_boot_leaves_the_last_good_image_and_says_what_it_said(trial: Trial) -> None:
    trial.boots(1)
    trial.look()
    trial.fails(2)
    assert trial.points_at() == name(1)
    assert trial.guests() == []
    assert trial.said("UpToDate") == ("False", "BootTestFailed")
    (told,) = trial.told("BootTestFailed")
    assert f"{name(1)} keeps serving. Its console ended with:\nKernel panic" in told
    assert condition(trial.cron(), "BootTested")[2] == told
    trial.look()
    trial.boots(3)
    assert trial.points_at() == name(3)
    assert trial.images() == [name(1), name(3)]


def test_who_says_nothing_in_time_has_failed(store: Objects) -> None:
    trial = Trial(store, cron=tried(**{cdi.BOOT_WITHIN: "1"}))
    trial.version(1)
    eventually_over(trial)
    assert trial.said("BootTested") == ("False", "Failed")
    assert "took longer than 1 s" in condition(trial.cron(), "BootTested")[2]


def eventually_over(trial: Trial) -> None:
    def over() -> bool:
        trial.settle()
        return not trial.guests()

    eventually(over)


def test_another_version_waits_until_the_test_is_over(trial: Trial) -> None:
    trial.version(1)
    trial.look()
    trial.finds(2)
    assert trial.images() == [name(1)]
    trial.says("True")
    assert trial.points_at() == name(1)
    trial.imported(2)
    trial.says("True")
    assert trial.points_at() == name(2)


def test_another_test_is_another_try(trial: Trial) -> None:
    trial.boots(1)
    trial.look()
    trial.fails(2)
    said = {"metadata": {"annotations": {cdi.BOOT_SAYS: "Welcome"}}}
    trial.store.patch(IMPORT_CRON, CRON, said)
    trial.settle()
    assert meta.annotations(trial.guest())[kubevirt.CONSOLE_AWAITS] == "Welcome"
    trial.says("True")
    assert trial.points_at() == name(2)


def test_who_asks_for_no_test_any_more_gets_the_image_at_once(trial: Trial) -> None:
    trial.version(1)
    gone = dict.fromkeys(SAYS)
    trial.store.patch(IMPORT_CRON, CRON, {"metadata": {"annotations": gone}})
    trial.settle()
    assert (trial.points_at(), trial.guests()) == (name(1), [])
    assert trial.said("BootTested") == ("", "")


@pytest.mark.parametrize("allowed", [True, False])
def test_a_guest_that_somebody_describes_takes_the_right_to_make_guests(
    store: Objects, allowed: bool
) -> None:
    def may(_: Any, access: Access) -> bool:
        return allowed and access.resource == INSTANCE.plural

    trial = Trial(store, cron=tried(**{cdi.BOOT_GUEST: TEMPLATE}))
    trial.steps = Steps(store, [Crons(lambda _: may), DataSources()])
    trial.version(1)
    if not allowed:
        assert trial.guests() == []
        assert trial.said("BootTested") == ("False", "NotAuthorized")
        return
    assert trial.guest()["spec"]["domain"]["devices"]["disks"] == [{"name": "image", "disk": {"bus": "sata"}}]


@pytest.mark.parametrize("boots", [True, False])
def test_a_crash_behind_any_action_tries_an_image_once_in_the_end(swift_path: Path, boots: bool) -> None:
    cron = tried(**{cdi.DESIRED_DIGEST: digest(1)})
    cron["spec"]["schedule"] = ""

    def played(file: str, cut: int) -> tuple[Any, int]:
        with Objects.open(swift_path / file) as store:
            trial = Trial(store, cron=cron)
            begun = trial.steps.done
            trial.steps.cut = begun + cut if cut else 0
            trial.imported(1)
            trial.says(str(boots), "last words", "Running" if boots else "Failed")
            end = (trial.points_at(), trial.verdict(1), trial.said("BootTested"), trial.guests())
            return end, trial.steps.done - begun

    whole, actions = played("whole.db", 0)
    assert whole[0] == (name(1) if boots else "")
    for cut in range(1, actions + 1):
        assert played(f"{cut}.db", cut)[0] == whole, f"cut behind action {cut} of {actions}"


WRONG = {
    "a time alone": ({cdi.BOOT_SAYS: ""}, "expected words"),
    "two lines": ({cdi.BOOT_SAYS: "a\nb"}, "one line"),
    "no time": ({cdi.BOOT_WITHIN: "soon"}, "such as 90s or 5m, found 'soon'"),
    "days": ({cdi.BOOT_WITHIN: "900m"}, "up to an hour"),
    "no YAML": ({cdi.BOOT_GUEST: "a: ["}, "is not YAML"),
    "no guest": ({cdi.BOOT_GUEST: "volumes: []"}, "a domain in it, found volumes"),
    "an alias": ({cdi.BOOT_GUEST: "domain: &a {x: *a}"}, "aliases"),
}


@pytest.mark.parametrize(("said", "text"), WRONG.values(), ids=WRONG.keys())
def test_what_asks_for_no_test_is_refused(store: Objects, said: dict[str, str], text: str) -> None:
    causes = admission.causes(store, IMPORT_CRON, tried(**said), None)
    assert text in " ".join(each.message for each in causes)
    assert admission.causes(store, IMPORT_CRON, tried(**said), tried())
    with pytest.raises(InvalidRequest):
        boot_test({**SAYS, **said})
