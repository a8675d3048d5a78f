"""`kubectl logs`: what each of its options leaves of a log."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from standalone.node import log
from standalone.node.log import LogOptions, read

LINES = """\
2026-11-21T12:00:00.000000001Z stdout F one
2026-11-21T12:00:01.000000001Z stderr F two
2026-11-21T12:00:02.000000001Z stdout P thr
2026-11-21T12:00:02.000000002Z stdout F ee
2026-11-21T12:00:03.000000001Z stdout F four
"""
TWELVE = 1795262400.0  # 2026-11-21T12:00:00Z


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A life with a log."""
    (tmp_path / "log").write_text(LINES)
    return tmp_path


def over() -> bool:
    return False


@pytest.mark.parametrize(
    ("sentence", "options", "text"),
    [
        ("everything", LogOptions(), "one\ntwo\nthree\nfour\n"),
        ("the last two lines, parts together", LogOptions(tail=2), "three\nfour\n"),
        ("no line", LogOptions(tail=0), ""),
        ("more lines than there are", LogOptions(tail=99), "one\ntwo\nthree\nfour\n"),
        ("since a time", LogOptions(since=TWELVE + 2), "three\nfour\n"),
        ("so many bytes", LogOptions(limit_bytes=5), "one\nt"),
        ("with the time of each line", LogOptions(tail=1, timestamps=True), "2026-11-21T12:00:03.000000001Z four\n"),
        ("one time for a line of parts", LogOptions(tail=2, timestamps=True, limit_bytes=37),
         "2026-11-21T12:00:02.000000001Z three\n"),
    ],
    ids=lambda value: value if isinstance(value, str) and " " in value and "\n" not in value else "",
)  # fmt: skip
def test_gives(written: Path, sentence: str, options: LogOptions, text: str) -> None:
    assert b"".join(read(written, options, over)).decode() == text


def test_begins_with_what_was_rotated_away(written: Path) -> None:
    (written / "log.1").write_text("2026-11-21T11:00:00.000000001Z stdout F zero\n")

    assert b"".join(read(written, LogOptions(tail=5), over)).startswith(b"zero\none\n")


def test_a_log_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert b"".join(read(tmp_path, LogOptions(), over)) == b""


def test_a_line_that_is_still_being_written_is_left_for_later(written: Path) -> None:
    with (written / "log").open("a") as file:
        file.write("2026-11-21T12:00:04.000000001Z stdout F fi")

    assert b"".join(read(written, LogOptions(), over)).endswith(b"four\n")


def test_the_end_of_a_log_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "log").write_text(
        "".join(f"2026-11-21T12:00:00Z stderr F line {n:0100d}\n" for n in range(99))
    )

    assert len(log.tail(tmp_path)) == 2048
    assert log.tail(tmp_path).endswith("98\n")


def followed(directory: Path, running: threading.Event) -> Iterator[bytes]:
    return (chunk for chunk in read(directory, LogOptions(follow=True), running.is_set) if chunk)


def test_follows_until_the_container_has_ended(written: Path) -> None:
    running = threading.Event()
    running.set()
    chunks = followed(written, running)
    first = b"".join(next(chunks) for _ in range(5))

    with (written / "log").open("a") as file:
        file.write("2026-11-21T12:00:04.000000001Z stdout F five\n")
    more = next(chunks)
    running.clear()

    assert first == b"one\ntwo\nthree\nfour\n"
    assert more == b"five\n"
    assert not list(chunks)


def test_follows_across_rotation_without_losing_or_repeating_a_line(written: Path) -> None:
    running = threading.Event()
    running.set()
    chunks = followed(written, running)
    for _ in range(5):
        next(chunks)

    with (written / "log").open("a") as file:
        file.write("2026-11-21T12:00:04.000000001Z stdout F five\n")
    (written / "log").rename(written / "log.1")
    (written / "log").write_text("2026-11-21T12:00:05.000000001Z stdout F six\n")
    running.clear()

    assert b"".join(chunks) == b"five\nsix\n"


def test_gives_whoever_follows_a_chance_to_stop(written: Path) -> None:
    chunks = read(written, LogOptions(follow=True, tail=0), lambda: True)

    assert next(chunks) == b""
