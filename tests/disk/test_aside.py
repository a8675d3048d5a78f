"""What is put aside of a stream: at least what nobody has named, and it is read as it came."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diskyard.disk.aside import GRAIN, Aside
from diskyard.disk.extent import Range
from diskyard.errors import ImageTooLarge

CHUNK = 16 * GRAIN
BODY = os.urandom(CHUNK)
SPANS = st.builds(Range, st.integers(0, CHUNK - 1), st.integers(1, 5 * GRAIN))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(named=st.lists(SPANS, max_size=8), asked=SPANS)
def test_what_nobody_has_named_is_kept_as_it_came(tmp_path: Path, named: list[Range], asked: Range) -> None:
    asked = Range(asked.start, min(asked.end, CHUNK) - asked.start)
    known = {at for span in named for at in range(span.start, span.end)}
    aside = Aside(tmp_path)
    try:
        aside.put(7 * CHUNK, BODY, [Range(7 * CHUNK + span.start, span.length) for span in named])
        span = Range(7 * CHUNK + asked.start, asked.length)
        unnamed = known.isdisjoint(range(asked.start, asked.end))
        held = aside.has(span)
        right = not held or aside.read(span) == BODY[asked.start : asked.end]
    finally:
        aside.close()

    assert held or not unnamed
    assert right


def test_nothing_is_kept_of_what_is_named(tmp_path: Path) -> None:
    aside = Aside(tmp_path)

    aside.put(0, BODY, [Range(0, CHUNK // 2), Range(CHUNK // 2, CHUNK)])

    assert (aside.taken, aside.has(Range(0, 1)), list(tmp_path.iterdir())) == (0, False, [])


def test_no_more_is_kept_than_may_be(tmp_path: Path) -> None:
    aside = Aside(tmp_path, most=CHUNK)
    aside.put(0, BODY, [])

    with pytest.raises(ImageTooLarge, match=f"{CHUNK + 1} bytes of it .* and {CHUNK} may be"):
        aside.put(CHUNK, BODY[:1], [])

    aside.close()


def test_it_leaves_nothing_in_the_folder_whoever_is_killed(tmp_path: Path) -> None:
    aside = Aside(tmp_path)

    aside.put(0, BODY, [])
    left = list(tmp_path.iterdir())
    aside.close()

    assert (aside.taken, left) == (CHUNK, [])
