"""The guest's serial port as text."""

import io
import socket
from pathlib import Path

import pytest

from vm_runtime.launcher.console import LINE_LIMIT, Console, Lines, plain


@pytest.mark.parametrize(
    ("chunks", "lines"),
    [
        ([b"one\r\ntwo\r\n"], [b"one", b"two"]),
        ([b"o", b"n", b"e\r", b"\ntw", b"o\n"], [b"one", b"two"]),
        ([b"no end"], []),
        ([b"\n\n"], [b"", b""]),
        ([b"x" * (LINE_LIMIT + 5) + b"\n"], [b"x" * (LINE_LIMIT + 5)]),
        ([b"x" * (LINE_LIMIT + 5)], [b"x" * LINE_LIMIT]),
    ],
)
def test_bytes_in_any_pieces_become_lines(chunks: list[bytes], lines: list[bytes]) -> None:
    found = Lines()

    assert [line for chunk in chunks for line in found.feed(chunk)] == lines


def test_what_has_no_end_yet_comes_out_when_asked_for() -> None:
    lines = Lines()
    lines.feed(b"login: ")

    assert lines.rest() == [b"login: "]
    assert lines.rest() == []


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b"\x1b[2J\x1b[1;1Hboot", b"boot"),
        (b"\x1b]0;title\x07name", b"name"),
        (b"\x1b(Bplain\r", b"plain"),
        (b"bell\x07 back\x08", b"bell back"),
        ("grüße".encode(), "grüße".encode()),
        (b"tab\tstays", b"tab\tstays"),
    ],
)
def test_what_could_harm_a_terminal_is_taken_out(line: bytes, text: bytes) -> None:
    assert plain(line) == text


def test_a_console_passes_on_everything_up_to_the_emulators_end(tmp_path: Path) -> None:
    out = io.BytesIO()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "serial"))
        listener.listen()
        console = Console(tmp_path / "serial", out)
        emulator, _ = listener.accept()
        with emulator:
            emulator.sendall(b"first\r\nlast words")

    console.drain(10)

    assert out.getvalue() == b"first\nlast words\n"
