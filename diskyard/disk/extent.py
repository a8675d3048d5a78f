"""Runs of a disk: an Extent says whether it holds data or zeros, a Range only where it is."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Range:
    """`length` bytes from `start`."""

    start: int
    length: int

    @property
    def end(self) -> int:
        """The first byte behind it."""
        return self.start + self.length


@dataclass(frozen=True, slots=True)
class Extent:
    """`length` bytes from `start` that are data, or all zero."""

    start: int
    length: int
    zero: bool

    @property
    def end(self) -> int:
        """The first byte behind it."""
        return self.start + self.length


def coalesced(extents: Iterable[Extent]) -> Iterator[Extent]:
    """Neighbours of one sort as one; empty ones left out. In: in order, no overlap. Out: the same, fewest."""
    held: Extent | None = None
    for extent in extents:
        if not extent.length:
            continue
        if held and held.zero == extent.zero and held.end == extent.start:
            held = Extent(held.start, held.length + extent.length, held.zero)
            continue
        if held:
            yield held
        held = extent
    if held:
        yield held


def clipped(extents: Iterable[Extent], within: Range) -> Iterator[Extent]:
    """The parts of extents that lie within a range."""
    for extent in extents:
        start, end = max(extent.start, within.start), min(extent.end, within.end)
        if start < end:
            yield Extent(start, end - start, extent.zero)
