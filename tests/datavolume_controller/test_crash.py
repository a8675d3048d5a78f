"""A crash behind any action of any plan: looking again from there ends as if nothing had happened."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from datavolume_controller.progress import Scraper
from diskyard.api import meta
from diskyard.api.meta import CLAIM, DATA_VOLUME, POD, STORAGE_PROFILE
from diskyard.api.names import cdi
from standalone.store.objects import Objects
from tests.builders import data_volume
from tests.datavolume_controller.conftest import RUNNING, Node, ended, prepared
from tests.datavolume_controller.steps import Steps, of_volumes

FATAL = '{"message":"the server says 404","reason":"SourceMissing","fatal":true}'
DONE = '{"message":"Import Complete","labels":{"instancetype.kubevirt.io/default-preference":"debian"}}'
PASSING = '{"message":"the connection broke","reason":"SourceUnavailable"}'


def failure(node: Node, steps: Steps) -> None:
    node.report(ended(1, FATAL), "Running")
    steps.settle()


def second_try(node: Node, steps: Steps) -> None:
    node.report(RUNNING)
    steps.settle()
    node.report({"waiting": {"reason": "CrashLoopBackOff"}}, lastState=ended(1, PASSING))
    steps.settle()
    node.report(RUNNING, restarts=1, lastState=ended(1, PASSING))
    steps.settle()
    node.report(ended(0, DONE, "2026-11-21T12:01:00Z"), "Succeeded", 1)
    steps.settle()


def outcome(store: Objects) -> Any:
    """All that a user can see in the end, without what differs from run to run."""
    dv = store.get(DATA_VOLUME, meta.Key("disk", "default"))
    claim = store.get(CLAIM, meta.Key("disk", "default"))
    conditions = [
        {key: text for key, text in each.items() if not key.startswith("last")}
        for each in dv["status"]["conditions"]
    ]
    unlike = (cdi.CREATED_FOR, cdi.ATTEMPTS)
    said = {key: text for key, text in meta.annotations(claim).items() if key not in unlike}
    tries = meta.annotations(claim).get(cdi.ATTEMPTS, "").count('"run"')
    pods = [meta.name(each) for each in store.list(POD).items]
    profiles = [each["status"]["claimPropertySets"] for each in store.list(STORAGE_PROFILE).items]
    told = Node(store).told("DataVolume") | Node(store).told("PersistentVolumeClaim")
    labels = meta.labels(dv), meta.labels(claim)
    return {**dv["status"], "conditions": conditions}, labels, said, tries, pods, profiles, told


def played(path: Path, play: Callable[[Node, Steps], None], cut: int) -> tuple[Any, int]:
    with Objects.open(path) as store, Scraper(fetch=lambda _: "") as scraper:
        prepared(store)
        node, steps = Node(store), Steps(store, of_volumes(scraper), cut)
        node.apply(data_volume("disk"))
        steps.settle()
        node.bind()
        steps.settle()
        play(node, steps)
        return outcome(store), steps.done


@pytest.mark.parametrize("play", [failure, second_try], ids=lambda each: each.__name__)
def test_a_crash_behind_any_action_changes_nothing_in_the_end(
    swift_path: Path, play: Callable[[Node, Steps], None]
) -> None:
    whole, actions = played(swift_path / "whole.db", play, cut=0)

    for cut in range(1, actions + 1):
        found, _ = played(swift_path / f"{cut}.db", play, cut)
        assert found == whole, f"cut behind action {cut} of {actions}"
