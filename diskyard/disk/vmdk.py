"""streamOptimized vmdk, forward only: what exports and OVAs hold is decoded while it passes.

Before each packed grain stands a marker that says where on the disk it belongs; what the tables say of it is compared
on the way (see vmdk_table). What is laid out in no usual order is left to qemu-img.
"""

from collections.abc import Iterable
from typing import Final

from diskyard.disk.codec import unzlib
from diskyard.disk.decoder import Fragmented, Piece
from diskyard.disk.extent import Range
from diskyard.disk.vmdk_format import (
    FOOTER,
    SECTOR,
    TABLE,
    Header,
    Kind,
    Marker,
    check_footer,
    damaged,
    marker,
)
from diskyard.disk.vmdk_table import Following, Foretold, Grains, Read, Tables, opened, places, tables

_PADDING: Final = 64 << 20
"""Zeros behind the end that are none of an honest image's: packed, any number of them costs nothing."""
_ANEW: Final = 16 << 20
"""Bytes that are looked at once more when an interrupted run goes on."""


class VmdkDecoder:
    """One image that the inspector has passed, and whose header is streamable."""

    def __init__(self, head: Header) -> None:
        self.size = head.size
        self.anywhere = False
        self._header = head
        self._grains: Grains = Following(head, {}, {})
        self._at = head.overhead
        self._tail = b""
        self._footer = head.directory is not None
        self._directory = 0
        self._ended = False

    def feed(self, offset: int, chunk: memoryview) -> Iterable[Piece]:
        pieces: list[Piece] = []
        while self._came < offset + len(chunk) and not self._ended:
            taken = self._taken(chunk[self._came - offset :])
            if taken is None:
                break
            mark, unit = taken
            pieces += self._pieces(mark, unit)
            self._at += mark.length
        behind = offset + len(chunk) - self._at if self._ended else 0
        if behind > _PADDING or (behind > 0 and any(chunk[max(0, self._at - offset) :])):
            raise damaged(f"something lies behind its end at {self._at}")
        return sorted(pieces, key=_guest)

    def rest(self) -> Iterable[Piece]:
        pieces: list[Piece] = []
        if any(self._tail):
            mark = self._mark(self._tail)
            if mark is None or len(self._tail) < mark.start + mark.size:
                raise damaged(f"it breaks off at {self._came}")
            pieces = self._pieces(mark, self._tail)
        if not self._footer:
            raise damaged("it has no footer")
        self._grains.complete()
        return pieces

    def missed(self) -> list[Range]:
        return []

    def catch_up(self, done: int, length: int | None, read: Read) -> None:
        """Know the tables that lie before the grains, and what a run that was interrupted at `done` had learned.

        `read(offset, length)` fetches of an image of `length` bytes. Raises Fragmented.
        """
        directory = self._header.directory
        if directory is not None:
            if directory + 4 * self._header.tables > self._header.overhead:
                raise Fragmented
            where = places(self._header, directory, read)
            if max(where.values(), default=0) + TABLE > self._header.overhead:
                raise Fragmented
            found = opened(tables(self._header, where, read))
            begin = self._begin(found, done, 0)
            self._grains = Foretold(_cut(found, begin, behind=True))
        elif done > self._header.overhead:
            begin = self._follow(done, length, read)
        else:
            return
        if done - begin > _ANEW:
            raise Fragmented
        if done > begin:
            self._at = begin
            self.feed(begin, memoryview(read(begin, done - begin)))

    def _follow(self, done: int, length: int | None, read: Read) -> int:
        """Take up what the tables at the end say of the grains that have passed; where to go on."""
        if length is None:
            raise Fragmented
        directory = check_footer(self._header, read(length - FOOTER, SECTOR))
        where = places(self._header, directory, read)
        passed = {number: place for number, place in where.items() if place + TABLE <= done}
        coming = {number: place for number, place in where.items() if number not in passed}
        found = opened(tables(self._header, coming, read))
        last = min(max(passed.values(), default=-TABLE) + TABLE, max(directory - SECTOR, 0))
        begin = self._begin(found, done, last)
        numbers = {number: place // SECTOR for number, place in passed.items()}
        self._grains = Following(self._header, _cut(found, begin, behind=False), numbers)
        return begin

    def _begin(self, found: Tables, done: int, least: int) -> int:
        """Where the last grain that begins before `done` lies, no less than `least`."""
        before = (place * SECTOR for row in found.values() for place in row if place * SECTOR < done)
        return max(self._header.overhead, least, max(before, default=0))

    @property
    def _came(self) -> int:
        """The first byte of the image that has not been looked at."""
        return self._at + len(self._tail)

    def _taken(self, more: memoryview) -> tuple[Marker, memoryview | bytes] | None:
        """The next unit, of what was kept and what has come; None where it is not all there: that is kept."""
        mark = self._mark(self._tail[:SECTOR] + bytes(more[:SECTOR]))
        missing = mark.length - len(self._tail) if mark else 0
        if mark is None or len(more) < missing:
            self._tail += bytes(more)
            return None
        unit = self._tail + bytes(more[:missing]) if self._tail else more[:missing]
        self._tail = b""
        return mark, unit

    def _mark(self, start: bytes) -> Marker | None:
        return marker(start, self._header.grain) if len(start) >= SECTOR else None

    def _pieces(self, mark: Marker, unit: memoryview | bytes) -> list[Piece]:
        content = unit[mark.start : mark.start + mark.size]
        if mark.kind is Kind.GRAIN:
            return self._grain(mark.value, content)
        if mark.kind is Kind.END:
            self._ended = True
        elif mark.kind is Kind.TABLE:
            self._grains.table(self._at // SECTOR + 1, bytes(content))
        elif mark.kind is Kind.DIRECTORY:
            self._directory = self._at + SECTOR
            self._grains.directory(bytes(content))
        elif check_footer(self._header, bytes(content)) != self._directory:
            raise damaged(f"its footer has the grain directory in another place than {self._directory}")
        else:
            self._footer = True
        return []

    def _grain(self, sector: int, packed: memoryview | bytes) -> list[Piece]:
        start, grain = sector * SECTOR, self._header.grain
        if start % grain or start >= self.size:
            raise damaged(f"a grain belongs at {start} of a disk of {self.size} bytes in grains of {grain}")
        if not self._grains.grain(start // grain, self._at // SECTOR):
            return []
        return [Piece(start, min(grain, self.size - start), packed, self._unpacked)]

    def _unpacked(self, packed: memoryview | bytes, length: int) -> bytearray:
        out = unzlib(packed, self._header.grain)
        if len(out) < length:
            raise damaged(f"a grain unpacks to {len(out)} bytes, expected {length}")
        return out[:length]


def _cut(found: Tables, begin: int, *, behind: bool) -> Tables:
    """The tables with only those grains that lie before, or behind, a place of the image."""
    for row in found.values():
        for place, sector in enumerate(row):
            if (sector * SECTOR >= begin) is not behind:
                row[place] = 0
    return {number: row for number, row in found.items() if any(row)}


def _guest(piece: Piece) -> int:
    return piece.start
