"""Imports in stages: which is next, when the disk is complete, and what everybody says of it on the way."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from datavolume_controller.progress import Scraper
from datavolume_controller.stages import advanced, begun
from diskyard.api import meta
from diskyard.api.datavolume import stages
from diskyard.api.job import ImportJob
from diskyard.api.meta import CLAIM, DATA_VOLUME, IMPORT_SOURCE, POD, Key, Obj
from diskyard.api.names import cdi
from standalone.store.objects import Objects
from tests import builders
from tests.datavolume_controller.conftest import condition, ended
from tests.datavolume_controller.test_populators import HERE, Play, said

ONE, TWO, THREE = ({"previous": a, "current": b} for a, b in (("", "s1"), ("s1", "s2"), ("s2", "s3")))
DONE = ended(0, '{"message":"Import Complete"}')
FATAL = ended(3, '{"message":"no snapshot s2","reason":"SourceMissing","fatal":true}')
SOURCE = {
    "imageio": {"url": "https://ovirt.example", "diskId": "d", "secretRef": "keys", "certConfigMap": "roots"}
}
P = cdi.CHECKPOINT


def spec(*checkpoints: Obj, final: bool = False) -> Obj:
    return {"checkpoints": list(checkpoints), "finalCheckpoint": final}


def at(current: str, previous: str = "", phase: str = "Succeeded", **more: str) -> dict[str, str]:
    """What a claim says; `s1="pod"`: that stage is copied."""
    copied = {f"{P}copied.{name}": pod for name, pod in more.items() if name.startswith("s")}
    pod = {cdi.CHECKPOINT_POD: more["pod"]} if "pod" in more else {}
    stage = {
        cdi.CHECKPOINT_CURRENT: current,
        cdi.CHECKPOINT_PREVIOUS: previous,
        cdi.CHECKPOINT_FINAL: "false",
    }
    return {cdi.POD_PHASE: phase, cdi.IMPORT_POD: "importer", **stage, **pod, **copied}


NEXT = {cdi.CHECKPOINT_CURRENT: "s2", cdi.CHECKPOINT_PREVIOUS: "s1"}
AGAIN = {cdi.POD_PHASE: "Unknown", cdi.IMPORT_POD: None}
ENDED = {
    **dict.fromkeys(
        (cdi.CHECKPOINT_CURRENT, cdi.CHECKPOINT_PREVIOUS, cdi.CHECKPOINT_FINAL, cdi.CHECKPOINT_POD)
    ),
    cdi.CHECKPOINTS_DONE: "true",
}
MOVES: dict[str, tuple[Obj, dict[str, str], Any]] = {
    "no stages": (spec(), {cdi.POD_PHASE: "Succeeded"}, {}),
    "the first one works": (spec(ONE, TWO), at("s1", phase="Running"), {}),
    "the first one is done, the second follows": (
        spec(ONE, TWO), at("s1", pod="a"), {f"{P}copied.s1": "a", **NEXT, **AGAIN},
    ),
    "the second one is the last": (
        spec(ONE, TWO, final=True), at("s1", pod="a"),
        {f"{P}copied.s1": "a", **NEXT, **AGAIN, cdi.CHECKPOINT_FINAL: "true"},
    ),
    "the first one is done, nothing follows yet": (spec(ONE), at("s1", pod="a"), {f"{P}copied.s1": "a"}),
    "and goes on waiting": (spec(ONE), at("s1", pod="a", s1="a"), {}),
    "until there is another": (spec(ONE, TWO), at("s1", pod="a", s1="a"), {**NEXT, **AGAIN}),
    "a pod counts once, whatever old words come again": (
        spec(ONE, TWO), at("s2", "s1", pod="a", s1="a"), AGAIN,
    ),
    "no pod has done it": (spec(ONE, TWO), at("s1"), AGAIN),
    "the last one is done": (
        spec(ONE, TWO, final=True), at("s2", "s1", pod="b", s1="a"), {**ENDED, f"{P}copied.s1": None},
    ),
    "the last one turns out to have been the last": (
        spec(ONE, final=True), at("s1", pod="a", s1="a"), {**ENDED, f"{P}copied.s1": None},
    ),
    "all is said": (spec(ONE, final=True), {cdi.POD_PHASE: "Succeeded", cdi.CHECKPOINTS_DONE: "true"}, {}),
    "a stage that failed is corrected": (
        spec(ONE, THREE), at("s2", "s1", phase="Failed", pod="a", s1="a"),
        {cdi.CHECKPOINT_CURRENT: "s3", cdi.CHECKPOINT_PREVIOUS: "s2"},
    ),
    "entries without a name are none": (spec({"previous": "s1"}), {cdi.POD_PHASE: "Succeeded"}, {}),
}  # fmt: skip


@pytest.mark.parametrize(("asked", "held", "wanted"), MOVES.values(), ids=MOVES.keys())
def test_a_claim_says_which_stage_it_stands_at(asked: Obj, held: dict[str, str], wanted: Any) -> None:
    assert advanced(stages(asked), held) == wanted


def test_a_claim_begins_with_the_first_stage() -> None:
    wanted = {cdi.CHECKPOINT_CURRENT: "s1", cdi.CHECKPOINT_PREVIOUS: "", cdi.CHECKPOINT_FINAL: "false"}
    assert begun(stages(spec(ONE, TWO, final=True))) == wanted
    assert begun(stages(spec())) == {}


def test_a_stage_of_any_name_has_a_pod_and_an_annotation() -> None:
    strange = {"previous": "", "current": "My snapshot / é" * 9}
    held = {cdi.CHECKPOINT_CURRENT: strange["current"], cdi.CHECKPOINT_POD: "a", cdi.POD_PHASE: "Succeeded"}

    (copied,) = (
        key for key in advanced(stages(spec(strange)), held) if key.startswith(cdi.CHECKPOINT_COPIED)
    )

    assert len(copied.partition("/")[2]) <= 63


@pytest.fixture(params=["annotations", "populator"])
def way(request: pytest.FixtureRequest) -> str:
    """The two ways of filling a claim."""
    return str(request.param)


@pytest.fixture
def play(store: Objects) -> Iterator[Play]:
    with Scraper(fetch=lambda _: "") as scraper:
        yield Play(store, scraper)


class Warm:
    """A DataVolume in stages."""

    def __init__(
        self, play: Play, way: str, *checkpoints: Obj, final: bool = False, **annotations: str
    ) -> None:
        self.play, self.store = play, play.store
        dv = builders.data_volume("disk", source=SOURCE, **spec(*checkpoints, final=final))
        annotations[cdi.USE_POPULATOR] = "true" if way == "populator" else "false"
        self.store.create(DATA_VOLUME, {**dv, "metadata": {**dv["metadata"], "annotations": annotations}})
        play.settle()

    @property
    def dv(self) -> Obj:
        return self.store.get(DATA_VOLUME, HERE)

    @property
    def pods(self) -> list[str]:
        return sorted(meta.name(each) for each in self.store.list(POD).items)

    @property
    def job(self) -> ImportJob:
        """What the newest pod is asked to do."""
        newest = max(self.store.list(POD).items, key=lambda each: int(meta.meta(each)["resourceVersion"]))
        env = meta.spec(newest)["containers"][0]["env"]
        return ImportJob.from_env({each["name"]: each["value"] for each in env if "value" in each})

    def then(self, *checkpoints: Obj, final: bool = False) -> None:
        self.store.patch(DATA_VOLUME, HERE, {"spec": spec(*checkpoints, final=final)})
        self.play.settle()

    def end(self, state: Obj, phase: str) -> None:
        """Of the newest pod."""
        newest = max(self.store.list(POD).items, key=lambda each: int(meta.meta(each)["resourceVersion"]))
        said_ = {"name": "importer", "state": state, "restartCount": 0, "ready": True}
        status = {"phase": phase, "podIP": "127.9.9.9", "containerStatuses": [said_]}
        self.store.patch(POD, meta.key(newest), {"status": status}, "status")
        self.play.settle()


def test_an_import_waits_between_stages_and_goes_on_when_another_is_asked_for(play: Play, way: str) -> None:
    warm = Warm(play, way, ONE)
    assert (warm.job.checkpoint, warm.job.previous, warm.job.final) == ("s1", "", False)
    assert warm.pods[0].endswith("-checkpoint-s1")

    warm.end(DONE, "Succeeded")

    assert (meta.phase(warm.dv), warm.pods) == ("Paused", [])
    assert condition(warm.dv, "Ready")[0] == "False"
    assert "ImportPaused: Multistage import into PVC disk is paused" in play.told("disk")
    assert (said(play.target(), cdi.CHECKPOINT_CURRENT), said(play.target(), cdi.CHECKPOINTS_DONE)) == (
        "s1",
        None,
    )

    warm.then(ONE, TWO, final=True)

    assert meta.phase(warm.dv) == "ImportScheduled"
    assert (warm.job.checkpoint, warm.job.previous, warm.job.final) == ("s2", "s1", True)

    warm.end(DONE, "Succeeded")

    assert (meta.phase(warm.dv), warm.dv["status"]["progress"], warm.pods) == ("Succeeded", "100.0%", [])
    told = [key for key in meta.annotations(play.target()) if key.startswith(P)]
    assert told == [cdi.CHECKPOINTS_DONE]
    assert meta.phase(play.target()) == "Bound"


def test_stages_that_are_known_follow_one_another_without_a_pause(play: Play, way: str) -> None:
    warm = Warm(play, way, ONE, TWO, THREE, final=True)
    seen = []
    for _ in range(3):
        seen.append((warm.job.checkpoint, warm.job.final))
        warm.end(DONE, "Succeeded")

    assert seen == [("s1", False), ("s2", False), ("s3", True)]
    assert meta.phase(warm.dv) == "Succeeded"
    assert not any(each.startswith("ImportPaused") for each in play.told("disk"))


def test_a_stage_that_fails_can_be_corrected(play: Play, way: str) -> None:
    warm = Warm(play, way, ONE, TWO, final=True)
    warm.end(DONE, "Succeeded")
    warm.end(FATAL, "Running")
    assert meta.phase(warm.dv) == "Failed"

    warm.then(ONE, {"previous": "s1", "current": "s9"}, final=True)
    assert (warm.job.checkpoint, warm.job.previous) == ("s9", "s1")
    warm.end(ended(0, '{"message":"Import Complete"}', "2026-11-21T12:05:00Z"), "Succeeded")

    assert meta.phase(warm.dv) == "Succeeded"


def test_every_stages_pod_stays_where_pods_are_to_be_retained(play: Play, way: str) -> None:
    warm = Warm(play, way, ONE, TWO, final=True, **{cdi.RETAIN_POD: "true"})
    warm.end(DONE, "Succeeded")
    warm.end(DONE, "Succeeded")

    assert meta.phase(warm.dv) == "Succeeded"
    assert [each.rpartition("-")[2] for each in warm.pods] == ["s1", "s2"]


def test_a_populators_source_gets_the_stages_that_are_added(store: Objects) -> None:
    with Scraper(fetch=lambda _: "") as scraper:
        warm = Warm(Play(store, scraper), "populator", ONE)
        (before,) = store.list(IMPORT_SOURCE).items
        warm.then(ONE, TWO, final=True)
        (after,) = store.list(IMPORT_SOURCE).items

    assert meta.uid(before) == meta.uid(after)
    assert meta.spec(before) == {
        "contentType": "kubevirt", "source": SOURCE, "targetClaim": "disk", "checkpoints": [ONE],
        "finalCheckpoint": False,
    }  # fmt: skip
    assert (meta.spec(after)["checkpoints"], meta.spec(after)["finalCheckpoint"]) == ([ONE, TWO], True)


def test_a_claim_and_a_source_made_by_hand_are_filled_in_stages(store: Objects) -> None:
    with Scraper(fetch=lambda _: "") as scraper:
        play = Play(store, scraper)
        play.claim()
        play.source(source=SOURCE, targetClaim="disk", **spec(ONE))
        play.settle()
        play.report(DONE, "Succeeded")
        waiting = said(play.target(), cdi.POD_PHASE), meta.phase(play.target())
        store.patch(IMPORT_SOURCE, Key("image", "default"), {"spec": spec(ONE, TWO, final=True)})
        play.settle()
        play.report(DONE, "Succeeded")

        assert waiting == ("Succeeded", "Pending")
        assert (meta.phase(play.target()), said(play.target(), cdi.CHECKPOINTS_DONE)) == ("Bound", "true")
        assert play.prime() is None


def ended_as(path: Path, way: str, cut: int) -> tuple[Any, range]:
    """How it ends, and which actions the stages took: those before are like any import's."""
    with Objects.open(path) as store, Scraper(fetch=lambda _: "") as scraper:
        play = Play(store, scraper, cut)
        warm = Warm(play, way, ONE)
        jobs, first = [warm.job.checkpoint], play.steps.done + 1
        warm.end(DONE, "Succeeded")
        warm.then(ONE, TWO, final=True)
        jobs.append(warm.job.checkpoint)
        warm.end(ended(0, '{"message":"Import Complete"}', "2026-11-21T12:05:00Z"), "Succeeded")
        claim = store.get(CLAIM, HERE)
        unlike = (cdi.CREATED_FOR, cdi.ATTEMPTS, cdi.PRIME)
        notes = {key: text for key, text in meta.annotations(claim).items() if key not in unlike}
        return (jobs, meta.phase(warm.dv), meta.phase(claim), notes, warm.pods), range(
            first, play.steps.done + 1
        )


def test_a_crash_behind_any_action_passes_no_stage_over(swift_path: Path, way: str) -> None:
    whole, actions = ended_as(swift_path / "whole.db", way, cut=0)
    assert whole[:2] == (["s1", "s2"], "Succeeded")

    for cut in actions:
        found, _ = ended_as(swift_path / f"{cut}.db", way, cut)
        assert found == whole, f"cut behind action {cut} of {actions.stop - 1}"
