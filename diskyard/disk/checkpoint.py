"""When what was written is made durable: beside the copy, so often that a crash costs little."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import Final

from diskyard.disk.journal import Journal, Record
from diskyard.disk.writer import DiskWriter
from diskyard.errors import DiskyardError, Refused

STEP: Final = 8 << 20
"""Bytes of the source after which the next flush begins: the copy goes on meanwhile."""
_OPEN: Final = 12 << 20
"""Bytes written behind which the copy waits for a flush.

A crash costs them, what the buffers of the copy hold by then (24 MiB, 40 over eight connections), and what is in the
network, whose own buffers differ: 64 MiB are promised.
"""


class Checkpoint:
    """Makes a transfer durable in steps, and once more when it is interrupted."""

    def __init__(
        self, writer: DiskWriter, journal: Journal | None, begun: Record, mark: Callable[[], str]
    ) -> None:
        """`journal` None: nothing to resume by, so nothing is written down. `mark`: of what is flushed."""
        self._writer = writer
        self._mark = mark
        self._journal = journal
        self._record = begun
        self._offset, self.digest = begun.offset, begun.digest
        self._cost = self._durable = 0
        self._thread = ThreadPoolExecutor(1, "flush")
        self._under_way: Future[tuple[Record, int]] | None = None

    def passed(self, offset: int, digest: str, cost: int | None = None) -> None:
        """The source is written up to here; the state of its digest here; bytes to bring that again (None: all).

        Raises what an earlier flush has raised. Waits for one where a crash would cost too much otherwise.
        """
        self._cost += offset - self._offset if cost is None else cost
        self._offset, self.digest = offset, digest
        while self._journal and self._open() >= STEP:
            if self._under_way is None:
                self._under_way = self._thread.submit(self._settled, self._journal, self._reached())
            elif self._under_way.done() or self._open() >= _OPEN:
                self._take_in(self._under_way)
            else:
                break

    def __enter__(self) -> "Checkpoint":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._thread:
            if kind is None:
                self._settle()
            elif not issubclass(kind, Refused):
                with suppress(OSError, DiskyardError):
                    self._settle()

    def _open(self) -> int:
        """Bytes that a crash would cost, of those that are written."""
        return self._cost - self._durable

    def _take_in(self, settled: "Future[tuple[Record, int]]") -> None:
        self._under_way = None
        self._record, self._durable = settled.result()

    def _settle(self) -> None:
        if self._under_way:
            self._take_in(self._under_way)
        if self._journal and self._offset > self._record.offset:
            self._record, self._durable = self._settled(self._journal, self._reached())

    def _reached(self) -> tuple[Record, int]:
        """What is to be written down of what has passed by now, and what all that has cost."""
        return replace(self._record, offset=self._offset, digest=self.digest), self._cost

    def _settled(self, journal: Journal, reached: tuple[Record, int]) -> tuple[Record, int]:
        """The same, when it is on the disk and written down."""
        record, cost = reached
        self._writer.flush()
        record = replace(record, mark=self._mark() or record.mark)
        journal.write(record)
        return record, cost
