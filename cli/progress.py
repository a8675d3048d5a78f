"""A transfer's progress for people: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from diskyard.api.quantity import human

if TYPE_CHECKING:
    from diskyard.disk.target import Progress

EVERY: Final = 2.0
"""Seconds between two lines where there is no terminal."""

_LIMITS: Final = {"source": "source", "network": "network", "disk": "disk", "cpu": "processor"}

Show = Callable[["Progress"], None]


@contextmanager
def shown(host: str) -> Iterator[Show]:
    """What takes a transfer's progress and shows it on standard error; `host` is where the source is."""
    if not sys.stderr.isatty():
        yield Lines(host).show
        return
    with _bar(host) as show:
        yield show


class Lines:
    """One line every few seconds, and one at each change of phase."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._phase = ""
        self._begun = self._said = time.monotonic()
        self._start: int | None = None

    def show(self, progress: "Progress") -> None:
        now = time.monotonic()
        if self._start is None:
            self._start = progress.fetched
        if progress.phase == self._phase and now - self._said < EVERY:
            return
        self._phase, self._said = progress.phase, now
        waiting = progress.waiting(self._host)
        if waiting:
            print(waiting, file=sys.stderr, flush=True)
            return
        speed = (progress.fetched - self._start) / max(now - self._begun, 0.001)
        total = f" of {human(progress.total)}" if progress.total else ""
        left = f", {_left(progress, speed)} left" if progress.total and speed else ""
        line = f"{progress.phase} {progress.percent:.1f}%: {human(progress.fetched)}{total}, {human(speed)}/s{left}"
        print(line + _limit(progress), file=sys.stderr, flush=True)


def _limit(progress: "Progress") -> str:
    return f", the {_LIMITS[progress.limit]} limits" if progress.limit else ""


def _left(progress: "Progress", speed: float) -> str:
    seconds = max(0, (progress.total or 0) - progress.fetched) / speed
    return f"{int(seconds // 60)}:{int(seconds % 60):02d}"


@contextmanager
def _bar(host: str) -> Iterator[Show]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar
    from rich.progress import TransferSpeedColumn as Speed

    columns = (
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[percent]:5.1f}%"),
        DownloadColumn(binary_units=True), Speed(), TimeRemainingColumn(),
    )  # fmt: skip
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("connecting", total=None, percent=0.0)

        def show(progress: "Progress") -> None:
            bar.update(
                task,
                description=progress.waiting(host) or progress.phase + _limit(progress),
                completed=progress.fetched,
                total=progress.total,
                percent=progress.percent,
            )

        yield show
