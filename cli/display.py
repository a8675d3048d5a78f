"""What a long command says: steps, a progress bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from diskyard.api.progress import Figures
from diskyard.api.quantity import human

console = Console(highlight=False, soft_wrap=True)


def step(text: str) -> None:
    """Begin a step: a line that says what happens now."""
    console.print(f"[bold cyan]==>[/] [bold]{escape(text)}[/]")


def say(text: str) -> None:
    """A line that belongs to the step, exactly as it is."""
    console.print(f"    {text}" if text else "", markup=False)


class Meter(Protocol):
    """Shows how an import goes."""

    def show(self, phase: str, figures: Figures | None) -> None: ...


@contextmanager
def meter() -> Iterator[Meter]:
    """A bar on a terminal, a line at each change elsewhere."""
    if not sys.stdout.isatty():
        yield _Lines()
        return
    columns = (
        TextColumn("    {task.description:<16}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        yield _Bar(progress)


class _Bar:
    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("Pending", total=None, rate="")
        self._total: int | None = None

    def show(self, phase: str, figures: Figures | None) -> None:
        self._progress.update(self._task, description=phase)
        if figures:
            self._total = figures.total
            rate = f"{human(figures.rate)}/s" if figures.rate else ""
            self._progress.update(self._task, total=figures.total, completed=figures.fetched, rate=rate)
        elif phase == "Succeeded":
            self._progress.update(self._task, total=self._total or 1, completed=self._total or 1)


class _Lines:
    def __init__(self) -> None:
        self._last = ""
        self._begun = time.monotonic()

    def show(self, phase: str, figures: Figures | None) -> None:
        words = [phase]
        if figures:
            words.append(human(figures.fetched) + (f" of {human(figures.total)}" if figures.total else ""))
            words += [f"{human(figures.rate)}/s"] if figures.rate else []
            words += [f"{figures.seconds_left} s left"] if figures.seconds_left is not None else []
        line = ", ".join(words)
        if line != self._last:
            self._last = line
            say(f"{time.monotonic() - self._begun:5.1f} s  {line}")
