"""The history of tries: each once, a bounded number, with what to change."""

import pytest

from datavolume_controller import attempt
from datavolume_controller.attempt import Attempt, attempts, pause, recorded, simplified, text
from diskyard.api.job import TerminationMessage

NOW = "2026-11-21T12:00:00Z"


def one(run: str = "a", time: str = NOW) -> Attempt:
    return Attempt(run, time, "SourceUnavailable", "no connection", 42, "Wait.")


def test_survives_the_way_through_an_annotation() -> None:
    assert attempts(text([one("a"), one("b")])) == (one("a"), one("b"))


@pytest.mark.parametrize("nonsense", ["", "[", "{}", "3", '["x"]', "null"])
def test_reads_nothing_from_what_is_not_ours(nonsense: str) -> None:
    assert attempts(nonsense) == ()


def test_records_the_same_try_once() -> None:
    assert recorded(recorded((), one("a")), one("a")) == (one("a"),)


def test_keeps_the_last_ten() -> None:
    kept: tuple[Attempt, ...] = ()
    for number in range(15):
        kept = recorded(kept, one(str(number)))
    assert [each.run for each in kept] == [str(number) for number in range(5, 15)]


def test_a_failure_says_what_to_change() -> None:
    said = TerminationMessage("the disk has 64 MiB, the claim takes 8 MiB", "ImageTooLarge", fatal=True)
    found = attempt.attempt("a", NOW, said, 1)
    assert found.failed
    assert found.told.endswith(
        "8 MiB. Ask for more in spec.storage.resources.requests.storage of another DataVolume."
    )


def test_advice_names_the_field_of_the_source() -> None:
    said = TerminationMessage("wrong key", "AccessDenied", fatal=True)
    found = attempt.attempt("a", NOW, said, 3, "s3")
    assert found.advice == (
        "Check the Secret that spec.source.s3.secretRef names, then annotate diskyard.io/retry."
    )


def test_nobody_is_told_to_correct_what_a_clone_cannot_change() -> None:
    said = TerminationMessage("no disk.img", "SourceMissing", fatal=True)
    assert attempt.attempt("a", NOW, said, 3, "clone").advice == "Look at what the source claim holds."


def test_success_is_recorded_too() -> None:
    found = attempt.attempt("a", NOW, TerminationMessage("Import Complete", bytes_fetched=42), 0)
    assert (found.failed, found.reason, found.bytes) == (False, "Completed", 42)


def test_a_worker_that_said_nothing_is_said_so() -> None:
    found = attempt.attempt("a", NOW, TerminationMessage(""), 137)
    assert (found.reason, "137" in found.message) == ("Error", True)


@pytest.mark.parametrize(
    ("said", "simple"),
    [
        (TerminationMessage("virtual image size 9 is larger than the reported available storage 8"), True),
        (TerminationMessage("write: no space left on device"), True),
        (TerminationMessage("whatever the words", "ImageTooLarge"), True),
        (TerminationMessage("the server says 404", "SourceMissing"), False),
    ],
)
def test_too_small_has_one_wording(said: TerminationMessage, simple: bool) -> None:
    assert simplified(said) == ("DataVolume too small to contain image" if simple else said.message)


def test_waits_after_the_last_try() -> None:
    assert pause([one(time="2026-11-21T11:59:58Z")], NOW, 5) == 3
    assert pause([one(time="2026-11-21T11:59:50Z")], NOW, 5) == 0
    assert pause([], NOW, 5) == 0


def test_a_failure_says_what_was_being_done_and_how_far_it_was() -> None:
    said = TerminationMessage(
        "the connection broke", "SourceUnavailable", phase="transferring", bytes_fetched=42
    )
    found = attempt.attempt("a", NOW, TerminationMessage.from_text(said.to_text()), 4)
    assert (found.phase, found.bytes) == ("transferring", 42)
    assert attempts(text([found])) == (found,)
