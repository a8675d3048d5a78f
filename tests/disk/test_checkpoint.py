"""When what was written is made durable: as often as a crash would cost much, not as often as much has passed."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from diskyard.disk.checkpoint import STEP, Checkpoint
from diskyard.disk.journal import Journal, record
from diskyard.disk.writer import FileWriter

Passing = Callable[[Checkpoint], None]


def settled(folder: Path, passing: Passing) -> tuple[int, int]:
    """How often something was made durable, and up to where it was in the end."""
    marks: list[str] = []

    def mark() -> str:
        marks.append("")
        return ""

    entry = record("here", "1", "flat")
    with (
        closing(Journal(folder / "journal")) as journal,
        closing(FileWriter(folder / "disk")) as writer,
        Checkpoint(writer, journal, entry, mark) as checkpoint,
    ):
        passing(checkpoint)
    written = Journal(folder / "journal")
    with closing(written):
        found = written.read()
    return len(marks), found.offset if found else 0


def test_what_costs_nothing_to_bring_again_is_not_waited_for(tmp_path: Path) -> None:
    def holes(checkpoint: Checkpoint) -> None:
        for number in range(1, 101):
            checkpoint.passed(number * STEP, "", 0)

    assert settled(tmp_path, holes) == (1, 100 * STEP)


def test_a_step_of_bytes_is_made_durable_at_once_wherever_it_lies(tmp_path: Path) -> None:
    def bytes_after_holes(checkpoint: Checkpoint) -> None:
        checkpoint.passed(100 * STEP, "", 0)
        for number in range(101, 111):
            checkpoint.passed(number * STEP, "")

    times, end = settled(tmp_path, bytes_after_holes)

    assert times >= 5
    assert end == 110 * STEP
