"""Which grains make up a vmdk disk: its tables, and the markers that must agree with them. Pure.

qemu-img believes the tables, a stream only has the markers: they are compared while they pass, so that both mean the
same disk. Tables that lie before the grains are known beforehand and struck out grain by grain; those that follow
their grains must be the ones that the markers have shown.
"""

import sys
from array import array
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from diskyard.disk.decoder import Fragmented
from diskyard.disk.vmdk_format import SECTOR, TABLE, TABLE_ENTRIES, ZEROED, Header, damaged

Read = Callable[[int, int], bytes]
"""(offset, length) -> the bytes of the image there."""
Tables = dict[int, "array[int]"]
"""Number of a table -> the sector of each of its grains; 0: a hole."""
_OPEN: Final = 4096
"""Tables that wait for their grains, or grains for their table: 2 KiB each, and 32 MiB of the disk."""
_TOGETHER: Final = 4 << 20
_EMPTY: Final = bytes(TABLE)


class Grains(Protocol):
    """What markers and tables have said of the disk so far."""

    def grain(self, number: int, sector: int) -> bool:
        """Note a grain that lies at a sector of the image; whether it is part of the disk."""

    def table(self, place: int, entries: bytes) -> None:
        """Note a table that lies at a sector of the image."""

    def directory(self, entries: bytes) -> None:
        """Note where the tables lie."""

    def complete(self) -> None:
        """Nothing where both agree at the end of the image. Raises UnsupportedImage."""


class Foretold:
    """The tables come first, as qemu-img writes them; what they do not name is none of the disk."""

    def __init__(self, tables: Tables) -> None:
        self._open = tables

    def grain(self, number: int, sector: int) -> bool:
        row, place = self._open.get(number // TABLE_ENTRIES), number % TABLE_ENTRIES
        if row is None or row[place] != sector:
            return False
        row[place] = 0
        if not any(row):
            del self._open[number // TABLE_ENTRIES]
        return True

    def table(self, place: int, entries: bytes) -> None:
        """Known already."""

    def directory(self, entries: bytes) -> None:
        """Known already."""

    def complete(self) -> None:
        for number, row in self._open.items():
            raise damaged(f"grain table {number} names sector {max(row)}, where that grain is not")


class Following:
    """Each table follows its grains, and the directory follows all: as exports and OVAs are written."""

    def __init__(self, header: Header, tables: Tables, passed: dict[int, int]) -> None:
        """`tables`: of grains whose table is still to come; `passed`: number -> sector of the tables that came."""
        self._header = header
        self._open = tables
        self._passed = passed
        self._empty: set[int] = set()
        self._settled = False

    def grain(self, number: int, sector: int) -> bool:
        group, place = divmod(number, TABLE_ENTRIES)
        row = self._open.setdefault(group, array("I", _EMPTY))
        if row[place] or group in self._passed or len(self._open) > _OPEN:
            raise Fragmented
        row[place] = sector
        return True

    def table(self, place: int, entries: bytes) -> None:
        row = rows(self._header, entries)
        if not any(row):
            self._empty.add(place)
        else:
            number = next((number for number, found in self._open.items() if found == row), None)
            if number is None:
                raise Fragmented
            del self._open[number]
            self._passed[number] = place
        if len(self._empty) > _OPEN:
            raise Fragmented

    def directory(self, entries: bytes) -> None:
        for number, place in enumerate(words(entries)[: self._header.tables]):
            if self._passed.pop(number, 0) != place and place not in self._empty:
                raise damaged(f"grain table {number} is not at sector {place}, where the directory has it")
        self._settled = True

    def complete(self) -> None:
        if not self._settled or self._open or self._passed:
            raise damaged("its grain tables and its grain directory do not name every grain")


def places(header: Header, directory: int, read: Read) -> dict[int, int]:
    """Number -> offset of each table that a directory names."""
    found = words(read(directory, 4 * header.tables))
    if len(found) < header.tables:
        raise damaged(f"the grain directory at {directory} is not all there")
    return {number: place * SECTOR for number, place in enumerate(found) if place}


def tables(header: Header, where: dict[int, int], read: Read) -> Iterator[tuple[int, "array[int]"]]:
    """The tables at these places, neighbours read together; empty ones left out."""
    order = sorted(where, key=where.__getitem__)
    while order:
        start = where[order[0]]
        ends = range(start + TABLE, start + _TOGETHER + 1, TABLE)
        near = [number for number, end in zip(order, ends, strict=False) if where[number] < end]
        block = read(start, where[near[-1]] + TABLE - start)
        for number in near:
            at = where[number] - start
            row = rows(header, block[at : at + TABLE])
            if any(row):
                yield number, row
        order = order[len(near) :]


def rows(header: Header, entries: bytes) -> "array[int]":
    """The sector of each grain of a table. Raises UnsupportedImage where one lies before the first grain."""
    row = words(entries)
    if len(row) != TABLE_ENTRIES:
        raise damaged("a grain table is not all there")
    if header.zeroed_grains:
        row = array("I", (0 if place == ZEROED else place for place in row))
    first = min(filter(None, row), default=0)
    if first and first * SECTOR < header.overhead:
        raise damaged(f"a grain lies at sector {first}, before the first one")
    return row


def words(entries: bytes) -> "array[int]":
    """The little-endian 32-bit numbers of a table or directory."""
    found = array("I", entries[: len(entries) // 4 * 4])
    if sys.byteorder == "big":
        found.byteswap()
    return found


def opened(found: Iterator[tuple[int, "array[int]"]]) -> Tables:
    """As many tables as we keep. Raises Fragmented where there are more."""
    kept: Tables = {}
    for number, row in found:
        kept[number] = row
        if len(kept) > _OPEN:
            raise Fragmented
    return kept
