"""qcow2, forward only: the image is decoded while it passes, in the order in which it lies.

The L1 table is known beforehand. When an L2 table passes, each run that it maps is noted for the chunk in which it
lies; when that chunk has come, its runs are given out. `qemu-img` writes each L2 table before the clusters that it
maps, so nothing is missed there; what had passed before its table came is noted and fetched again, or taken from what
was kept aside where the source cannot seek.
Source of the layout: QEMU, docs/interop/qcow2.rst.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from diskyard.disk.aside import Aside
from diskyard.disk.codec import inflate, unzstd
from diskyard.disk.decoder import Fragmented, Piece
from diskyard.disk.extent import Range
from diskyard.disk.qcow2_format import ZSTD, Header
from diskyard.disk.qcow2_table import Run, damaged, l2_places, runs

CHUNK: Final = 4 << 20
"""Chunks begin at its multiples: the largest cluster, and so each table, lies in one."""
_NOTED: Final = 1 << 18
"""Runs that wait for their chunk, or were missed: more are kept on the disk, with the whole image."""
_CROSSING: Final = 64
"""Compressed clusters that may cross one border of chunks; an honest image has one."""
_BEHIND: Final = 1
"""Chunks kept when they have passed, where nothing can be fetched again: `qemu-img convert -c`, with its eight writers
at once, puts tables up to some MiB behind what they map. What is farther behind is put aside."""
_GAP: Final = 256 << 10
"""Missed runs that are no further apart are fetched as one."""
_PART: Final = 1 << 20
"""Bytes of a run that are read at once from what was kept aside."""


@dataclass(frozen=True)
class _Passed:
    """A chunk that has passed, and what of it has been named."""

    start: int
    body: bytes | memoryview
    named: list[Range]

    def part(self, run: Run) -> bytes | memoryview:
        """What it holds of a run."""
        return self.body[max(0, run.host - self.start) : max(0, run.end - self.start)]


class Qcow2Decoder:
    """One image that the inspector has passed."""

    def __init__(self, header: Header, l1: bytes, length: int | None, aside: Aside | None = None) -> None:
        """`l1`: the L1 table; `length`: of the image, None where nothing of it can be fetched again: then `aside` takes
        what has passed unnamed."""
        self.size = header.size
        self.anywhere = False
        self._header = header
        self._length = length
        self._codec = unzstd if header.compression == ZSTD else inflate
        self._places, self._owners = l2_places(header, l1)
        self._noted: dict[int, list[Run]] = {}
        self._count = 0
        self._missed: list[Run] = []
        self._crossing: list[Run] = []
        self._tail = b""
        self._aside = aside
        self._behind: deque[_Passed] = deque()
        """The last chunks that have passed, the newest last; all of them end where the next one begins."""
        self._late: list[Run] = []
        """Runs in these whose table has just come."""
        self._fed = 0
        self._again_from = 0
        self._ended = False

    def feed(self, offset: int, chunk: memoryview) -> Iterable[Piece]:
        end = offset + len(chunk)
        if self._ended:
            return self._again(offset, end, chunk)
        self._fed = end
        for number in self._between(offset, end):
            at = self._places[number] - offset
            self._learn(number, chunk[at : at + self._header.cluster], offset)
        found = self._noted.pop(offset // CHUNK, [])
        self._count -= len(found)
        passed = _Passed(offset, chunk, self._named(offset, end, found) if self._length is None else [])
        pieces = [*self._crossed(offset, chunk), *self._caught(passed)]
        pieces += [
            self._piece(run, chunk[run.host - offset : run.end - offset]) for run in found if run.end <= end
        ]
        self._hold([run for run in found if run.end > end], offset, chunk)
        if self._length is None:
            self._remember(passed)
        return sorted(pieces, key=_guest)

    def rest(self) -> Iterable[Piece]:
        self._ended = True
        if self._noted or (self._places and self._places[-1] >= self._fed):
            raise damaged(f"clusters or tables lie behind its end at {self._fed}")
        for run in self._crossing:
            self._check_end(run, self._fed)
        self._missed.sort(key=_host)
        return self._crossed(self._fed, memoryview(b""))

    def missed(self) -> list[Range]:
        ranges: list[Range] = []
        for run in self._missed:
            end = min(run.end, self._length or run.end)
            last = ranges[-1] if ranges else Range(-CHUNK - _GAP, 0)
            if run.host <= last.end + _GAP and end - last.start <= CHUNK:
                ranges[-1] = Range(last.start, max(last.end, end) - last.start)
            else:
                ranges.append(Range(run.host, end - run.host))
        return [span for span in ranges if span.end > self._again_from]

    def catch_up(self, done: int, read: Callable[[int, int], bytes]) -> None:
        """Know again what a run that was interrupted at `done`, where a chunk begins or the image ends, had learned.

        Behind the image's end: of what is fetched again, all that lies before `done - length` is there.
        `read(offset, length)` fetches the tables that had passed: all else follows from them.
        """
        fed = min(done, self._length or done)
        for number in self._between(0, fed):
            self._learn(number, read(self._places[number], self._header.cluster), fed)
        start = min((run.host for run in self._crossing), default=fed)
        self._hold(self._crossing, start, memoryview(read(start, fed - start) if start < fed else b""))
        self._late = []  # what had passed before them was kept then
        self._fed, self._again_from = fed, done - fed

    def _between(self, start: int, end: int) -> range:
        """The tables that begin in a part of the image."""
        return range(bisect_left(self._places, start), bisect_left(self._places, end))

    def _learn(self, number: int, table: memoryview | bytes, done: int) -> None:
        """Note what a table maps: `done` is the first byte of the image that has not been used yet."""
        for run in runs(self._header, self._owners[number], bytes(table)):
            if self._length is not None:
                self._check_end(run, self._length)
            for part in _by_chunks(run):
                self._note(part, self._places[number] // CHUNK, done)

    def _check_end(self, run: Run, end: int) -> None:
        """Nothing where each cluster has begun before the image's end: the rest of the last one is zeros."""
        last = run.host if run.packed else (run.end - 1) // self._header.cluster * self._header.cluster
        if last >= end:
            raise damaged(f"a cluster lies at {last}, the image ends at {end}")

    def _note(self, run: Run, known_from: int, done: int) -> None:
        """A run had its turn if its table was known by then, and all of it had come."""
        chunk = run.host // CHUNK
        if chunk < known_from:
            if self._length is None:
                self._late.append(run)
            else:
                self._missed.append(run)
        elif run.host < done < run.end:
            self._crossing.append(run)
        elif run.host >= done:
            self._noted.setdefault(chunk, []).append(run)
            self._count += 1
        if self._count + len(self._missed) + len(self._late) > _NOTED or len(self._crossing) > _CROSSING:
            raise Fragmented

    def _hold(self, crossing: list[Run], offset: int, chunk: memoryview) -> None:
        """Keep what has come of the runs that the next chunk completes."""
        if len(crossing) > _CROSSING:
            raise Fragmented
        self._crossing = crossing
        start = min((run.host for run in crossing), default=offset + len(chunk))
        self._tail = bytes(chunk[start - offset :])

    def _crossed(self, offset: int, chunk: memoryview) -> list[Piece]:
        """The runs that began in the chunk before; at the end of the image, with what there is of them."""
        start = offset - len(self._tail)
        pieces = [
            self._piece(run, self._tail[run.host - start :] + bytes(chunk[: run.end - offset]))
            for run in self._crossing
        ]
        self._crossing, self._tail = [], b""
        return pieces

    def _named(self, offset: int, end: int, found: list[Run]) -> list[Range]:
        """What of a chunk has its place by now: tables, and clusters."""
        named = [Range(self._places[number], self._header.cluster) for number in self._between(offset, end)]
        return named + [Range(run.host, run.length) for run in (*found, *self._crossing)]

    def _remember(self, chunk: _Passed) -> None:
        """Keep a chunk for late tables; the oldest one makes room, and what nobody has named of it goes aside."""
        if len(self._behind) == _BEHIND:
            oldest = self._behind.popleft()
            if self._aside:
                self._aside.put(oldest.start, oldest.body, oldest.named)
            del oldest  # before the next one needs as much memory
        self._behind.append(_Passed(chunk.start, bytes(chunk.body), chunk.named))

    def _caught(self, chunk: _Passed) -> list[Piece]:
        """The runs that had passed before their table came, from what is kept. Raises Fragmented where it is not."""
        late, self._late = self._late, []
        if not late:
            return []
        held = [*self._behind, chunk]
        start, end = held[0].start, chunk.start + len(chunk.body)
        if max(run.end for run in late) > end and len(chunk.body) == CHUNK:
            raise Fragmented
        pieces, joined = [], 0
        for run in late:
            if run.end <= start:
                pieces += self._put_aside(run)
                continue
            parts = [part for each in held if (part := each.part(run))]
            if run.host < start:
                parts.insert(0, self._kept(Range(run.host, start - run.host)))
            for each in held:
                each.named.append(Range(run.host, run.length))
            joined += len(parts) > 1
            pieces.append(self._piece(run, parts[0] if len(parts) == 1 else b"".join(parts)))
            if joined > _CROSSING:
                raise Fragmented
        return pieces

    def _put_aside(self, run: Run) -> list[Piece]:
        """A run that was put aside, in pieces that are read when their turn to be written comes."""
        step = run.length if run.packed else _PART
        spans = [Range(at, min(step, run.end - at)) for at in range(run.host, run.end, step)]
        return [self._later(run, span) for span in spans]

    def _later(self, run: Run, span: Range) -> Piece:
        if self._aside is None or not self._aside.has(span):
            raise Fragmented

        def body(_: memoryview | bytes, length: int) -> bytes | bytearray:
            kept = self._kept(span)
            return self._unpacked(kept, length) if run.packed else kept

        guest = run.guest + span.start - run.host
        length = min(self._header.cluster, self.size - guest) if run.packed else span.length
        return Piece(guest, length, b"", body)

    def _kept(self, span: Range) -> bytes:
        """What was put aside. Raises Fragmented where that was not."""
        if self._aside is None or not self._aside.has(span):
            raise Fragmented
        return self._aside.read(span)

    def _again(self, offset: int, end: int, chunk: memoryview) -> list[Piece]:
        first, last = (bisect_left(self._missed, at, key=_host) for at in (offset, end))
        pieces = [
            self._piece(run, chunk[run.host - offset : run.end - offset])
            for run in self._missed[first:last]
            if run.end <= end or end == self._length
        ]
        return sorted(pieces, key=_guest)

    def _piece(self, run: Run, view: memoryview | bytes) -> Piece:
        if not run.packed:
            return Piece(run.guest, len(view), view)
        return Piece(run.guest, min(self._header.cluster, self.size - run.guest), view, self._unpacked)

    def _unpacked(self, packed: memoryview | bytes, length: int) -> bytes | bytearray:
        out = self._codec(packed, self._header.cluster)
        return out if length == len(out) else out[:length]


def _by_chunks(run: Run) -> Iterator[Run]:
    """A run of plain bytes cut at the borders of chunks; a compressed cluster stays whole."""
    while not run.packed and run.host // CHUNK != (run.end - 1) // CHUNK:
        length = CHUNK - run.host % CHUNK
        yield Run(run.guest, run.host, length)
        run = Run(run.guest + length, run.host + length, run.length - length)
    yield run


def _guest(piece: Piece) -> int:
    return piece.start


def _host(run: Run) -> int:
    return run.host
