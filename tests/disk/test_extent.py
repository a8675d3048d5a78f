"""Runs of a disk, put together and cut: whatever they are, every byte stays of its sort."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from diskyard.disk.extent import Extent, Range, clipped, coalesced

SORTS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 7), st.booleans()), max_size=30)
"""Of each run: bytes that nothing is said of before it, its length, whether it is zero."""


def extents(sorts: list[tuple[int, int, bool]]) -> list[Extent]:
    place, found = 0, []
    for gap, length, zero in sorts:
        found.append(Extent(place + gap, length, zero))
        place += gap + length
    return found


def told(extents: list[Extent]) -> dict[int, bool]:
    """What is said of each byte."""
    return {place: each.zero for each in extents for place in range(each.start, each.end)}


@given(sorts=SORTS)
def test_put_together_they_are_the_fewest_that_say_the_same(sorts: list[tuple[int, int, bool]]) -> None:
    found = list(coalesced(extents(sorts)))

    assert told(found) == told(extents(sorts))
    assert all(each.length for each in found)
    assert all(one.end < next_one.start or one.zero != next_one.zero for one, next_one in pairwise(found))


@given(sorts=SORTS, start=st.integers(0, 150), length=st.integers(0, 150))
def test_cut_to_a_range_they_say_the_same_of_it_and_nothing_else(
    sorts: list[tuple[int, int, bool]], start: int, length: int
) -> None:
    found = list(clipped(extents(sorts), Range(start, length)))

    whole = told(extents(sorts))
    assert told(found) == {place: zero for place, zero in whole.items() if start <= place < start + length}
    assert all(each.length for each in found)
