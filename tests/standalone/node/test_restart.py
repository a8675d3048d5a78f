"""When a container runs again, as a table."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from standalone.node.process import End, Life
from standalone.node.restart import Next, following

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def life(number: int = 0, backoff: float = 0, code: int | None = None, lasted: float = 1) -> Life:
    """A life that began at noon; without a code it still runs."""
    end = None if code is None else End(code, "", NOON + timedelta(seconds=lasted))
    return Life(number, backoff, NOON, end)


def after(number: int, backoff: float, seconds: float) -> Next:
    return Next(number, backoff, NOON + timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("sentence", "policy", "lives", "expected"),
    [
        ("a running container needs nothing", "Always", [life()], None),
        ("one that must never run again is over", "Never", [life(code=1)], None),
        ("one that succeeded is over", "OnFailure", [life(code=0)], None),
        ("the first failure is tried again at once", "OnFailure", [life(code=1)], after(1, 10, 1)),
        ("a service that ended well runs again", "Always", [life(code=0)], after(1, 10, 1)),
        ("the second waits 10 seconds", "OnFailure", [life(1, 10, 1)], after(2, 20, 11)),
        ("the third waits 20", "OnFailure", [life(2, 20, 1)], after(3, 40, 21)),
        ("no pause is longer than 5 minutes", "OnFailure", [life(9, 300, 1)], after(10, 300, 301)),
        (
            "after 10 good minutes the count begins again",
            "Always",
            [life(9, 300, 1, 601)],
            after(10, 10, 601),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and " " in value else "",
)
def test_following(sentence: str, policy: str, lives: Sequence[Life], expected: Next | None) -> None:
    assert following(policy, lives) == expected


def test_a_container_that_never_ran_begins_now() -> None:
    first = following("Never", [])

    assert first
    assert (first.number, first.backoff) == (0, 0)
    assert first.at < NOON


def test_a_life_that_was_ordered_and_never_began_is_begun() -> None:
    again = following("Never", [Life(3, 40, None, None)])

    assert again
    assert (again.number, again.backoff) == (3, 40)
