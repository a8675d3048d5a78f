"""Cron expressions as CDI's users write them, and when they come."""

from datetime import UTC, datetime, timedelta

import pytest

from diskyard.api.schedule import following, problem

NOON = datetime(2026, 11, 21, 12, 0, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["", "0 */12 * * *", "23 7/12 * * *", "30 1 * * MON-FRI", "@daily", "* * * * *"]
)
def test_is_a_schedule(text: str) -> None:
    assert not problem(text)


@pytest.mark.parametrize(
    "text", ["61 * * * *", "* * * *", "* * * * * *", "noon", "0 0 30 2 *", "x" * 300, "@never"]
)
def test_is_none(text: str) -> None:
    assert problem(text)


def test_comes_when_it_says_and_a_little_later() -> None:
    due = following("0 * * * *", NOON, "some-uid")
    assert due is not None
    assert timedelta(0) <= due - datetime(2026, 11, 21, 13, tzinfo=UTC) < timedelta(minutes=5)


def test_many_crons_do_not_come_at_once() -> None:
    assert len({following("0 0 * * *", NOON, f"uid-{n}") for n in range(50)}) > 30


def test_without_a_schedule_it_never_comes() -> None:
    assert following("", NOON, "uid") is None
