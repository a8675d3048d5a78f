"""The guest's serial port as text."""

import io
import socket
from collections.abc import Iterator
from dataclasses import dataclass
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


@dataclass
class Port:
    """A serial port's two ends: the emulator's, and the console that shares it."""

    emulator: socket.socket
    console: Console
    door: Path
    out: io.BytesIO

    def viewer(self) -> socket.socket:
        """Someone who looks."""
        found = socket.socket(socket.AF_UNIX)
        found.settimeout(60)
        found.connect(str(self.door))
        return found


@pytest.fixture
def port(tmp_path: Path) -> Iterator[Port]:
    out = io.BytesIO()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "serial"))
        listener.listen()
        console = Console(tmp_path / "serial", tmp_path / "console", out)
        emulator, _ = listener.accept()
        emulator.settimeout(60)
        with emulator:
            yield Port(emulator, console, tmp_path / "console", out)
    console.drain(60)


def heard(viewer: socket.socket, length: int) -> bytes:
    """The next bytes."""
    found = b""
    while len(found) < length and (chunk := viewer.recv(length - len(found))):
        found += chunk
    return found


def test_a_console_passes_on_everything_up_to_the_emulators_end(port: Port) -> None:
    port.emulator.sendall(b"first\r\nlast words")
    port.emulator.close()

    port.console.drain(60)

    assert port.out.getvalue() == b"first\nlast words\n"


def test_all_who_look_see_the_same_bytes_and_the_log_has_the_text(port: Port) -> None:
    with port.viewer() as one, port.viewer() as other:
        one.sendall(b"x")
        other.sendall(b"y")
        assert sorted(heard(port.emulator, 2)) == sorted(b"xy")  # both are in

        port.emulator.sendall(b"\x1b[1mbold\r\n")

        assert heard(one, 10) == heard(other, 10) == b"\x1b[1mbold\r\n"
    port.emulator.close()
    port.console.drain(60)
    assert port.out.getvalue() == b"bold\n"


def test_what_is_not_to_be_in_the_log_is_heard_all_the_same(tmp_path: Path) -> None:
    said: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "serial"))
        listener.listen()
        console = Console(tmp_path / "serial", tmp_path / "console", None, said.extend)
        emulator, _ = listener.accept()
        with emulator:
            emulator.sendall(b"password: secret\r\n")
    console.drain(60)

    assert said == [b"password: secret"]


def test_who_does_not_read_holds_up_nobody(port: Port) -> None:
    with port.viewer() as idle, port.viewer() as eager:
        idle.sendall(b"i")
        eager.sendall(b"e")
        heard(port.emulator, 2)
        line, read = b"x" * 1023 + b"\n", 0

        for _ in range(2048):
            port.emulator.sendall(line)
            read += len(heard(eager, len(line)))

        assert read == 2048 * len(line)


def test_a_viewer_that_leaves_leaves_the_others(port: Port) -> None:
    with port.viewer() as stays:
        with port.viewer() as leaves:
            leaves.sendall(b"l")
            assert heard(port.emulator, 1) == b"l"
        stays.sendall(b"s")
        assert heard(port.emulator, 1) == b"s"

        port.emulator.sendall(b"still here")

        assert heard(stays, 10) == b"still here"


def test_what_is_typed_while_the_guest_does_not_read_is_bounded(port: Port) -> None:
    with port.viewer() as viewer:
        viewer.settimeout(60)
        for _ in range(64):
            viewer.sendall(b"k" * 65536)

        port.emulator.sendall(b"alive")

        assert heard(viewer, 5) == b"alive"


def test_viewers_see_the_guests_end(port: Port) -> None:
    with port.viewer() as viewer:
        viewer.sendall(b"v")
        heard(port.emulator, 1)

        port.emulator.close()

        assert viewer.recv(1) == b""
