"""Reads what containers said: for `kubectl logs`, and for termination messages.

Lines lie as container runtimes write them: `<RFC 3339> stdout F <text>`; P in place of F: a part, no newline follows.
"""

import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

TAIL_BYTES: Final = 2048
"""Of a log that stands in for a termination message, and..."""
TAIL_LINES: Final = 80
"""...lines: what a kubelet takes."""
FOLLOW_EVERY: Final = 0.1
"""Seconds between two looks at a log that is followed."""
_CHUNK: Final = 64 << 10


@dataclass(frozen=True)
class LogOptions:
    """What `kubectl logs` asks for."""

    container: str = ""
    """Empty: the only one, or the annotated default."""
    follow: bool = False
    tail: int | None = None
    """Lines from the end; None: all."""
    since: float | None = None
    """Seconds since the epoch; earlier lines are left out."""
    timestamps: bool = False
    previous: bool = False
    limit_bytes: int | None = None


@dataclass(frozen=True)
class Entry:
    """One line, or a part of one."""

    stamp: bytes
    text: bytes
    """With its newline, where it has one."""


def read(directory: Path, options: LogOptions, running: Callable[[], bool]) -> Iterator[bytes]:
    """The log of one life, as asked; with `follow`, until that life is over."""
    left = options.limit_bytes
    at_start = True
    for entry in _wanted(directory, options, running):
        if entry is None:
            yield b""
            continue
        text = entry.stamp + b" " + entry.text if options.timestamps and at_start else entry.text
        at_start = entry.text.endswith(b"\n")
        if left is not None:
            text = text[:left]
            left -= len(text)
        yield text
        if left == 0:
            return


def tail(directory: Path) -> str:
    """The last of a log: at most 80 lines and 2,048 bytes."""
    entries = deque(_entries(directory), maxlen=TAIL_LINES)
    return b"".join(entry.text for entry in entries)[-TAIL_BYTES:].decode(errors="replace")


def _wanted(directory: Path, options: LogOptions, running: Callable[[], bool]) -> Iterator[Entry | None]:
    files = _Files(directory)
    entries = (entry for entry in files.entries() if _recent(entry, options.since))
    yield from entries if options.tail is None else _last_lines(entries, options.tail)
    while options.follow:
        alive = running()  # before the last look: what is said until the end is not lost
        more = [entry for entry in files.entries() if _recent(entry, options.since)]
        yield from more
        if not more:
            if not alive:
                return
            yield None
            time.sleep(FOLLOW_EVERY)


def _last_lines(entries: Iterator[Entry], lines: int) -> Iterator[Entry]:
    kept: deque[list[Entry]] = deque(maxlen=max(lines, 0))
    line: list[Entry] = []
    for entry in entries:
        line.append(entry)
        if entry.text.endswith(b"\n"):
            kept.append(line)
            line = []
    if line:
        kept.append(line)
    for whole in kept:
        yield from whole


def _recent(entry: Entry, since: float | None) -> bool:
    return since is None or datetime.fromisoformat(entry.stamp.decode()).timestamp() >= since


def _entries(directory: Path) -> Iterator[Entry]:
    return _Files(directory).entries()


class _Files:
    """A log and its predecessor, read on from where the last reading ended, across rotation."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._position = 0
        self._inode = 0

    def entries(self) -> Iterator[Entry]:
        for path, offset in self._parts():
            yield from self._read(path, offset)

    def _parts(self) -> list[tuple[Path, int]]:
        current, older = self._directory / "log", self._directory / "log.1"
        inode = _inode(current)
        if inode and inode == self._inode:
            return [(current, self._position)]
        offset = self._position if self._inode and _inode(older) == self._inode else 0
        return [(older, offset), (current, 0)]

    def _read(self, path: Path, offset: int) -> Iterator[Entry]:
        try:
            file = path.open("rb")
        except FileNotFoundError:
            return
        with file:
            self._inode = os.fstat(file.fileno()).st_ino
            file.seek(offset)
            self._position = offset
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._position += len(line)
                stamp, _, rest = line.partition(b" ")
                _, _, rest = rest.partition(b" ")
                tag, _, text = rest.partition(b" ")
                yield Entry(stamp, text if tag == b"F" else text[:-1])


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return 0
