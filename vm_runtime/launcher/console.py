"""The guest's serial port: read by its launcher from the first byte, passed on line by line as text.

What a guest prints is not trusted: escape sequences and control characters are taken out, and a line has an end.
"""

import re
import select
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

LINE_LIMIT: Final = 4096
MOST_VIEWERS: Final = 32
TYPED_LIMIT: Final = 64 << 10
"""Bytes that wait for a guest that does not read; what is typed beyond them is lost."""
IDLE: Final = 1.0
"""Seconds after which a line without an end, such as a login prompt, is passed on."""

_ESCAPES: Final = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]*[0-~])")
_CONTROLS: Final = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")


class Lines:
    """Text in lines, out of bytes that come in any pieces."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that are complete now, without their ends; a longer one than LINE_LIMIT is cut."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        while len(self._rest) > LINE_LIMIT:
            lines.append(self._rest[:LINE_LIMIT])
            self._rest = self._rest[LINE_LIMIT:]
        return [plain(line) for line in lines]

    def rest(self) -> list[bytes]:
        """What has come of a line that has no end yet, given out as one."""
        line, self._rest = plain(self._rest), b""
        return [line] if line.strip() else []


def plain(line: bytes) -> bytes:
    """The line as a terminal may safely show it."""
    return _CONTROLS.sub(b"", _ESCAPES.sub(b"", line))


def unheard(_: list[bytes]) -> None:
    """Nobody waits for a word of it."""


class Console:
    """The one connection to the serial port's socket, shared: its lines go to the log, its bytes to all who look."""

    def __init__(
        self, port: Path, shared: Path, out: BinaryIO | None, heard: Callable[[list[bytes]], None] = unheard
    ) -> None:
        """`out`: the log, None: there is to be none of it.

        `heard` is told the lines, also none of them: with each piece, and about once a second.
        """
        self._out = out
        self._heard = heard
        self._port = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._port.connect(str(port))
        shared.unlink(missing_ok=True)
        self._door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._door.bind(str(shared))
        self._door.listen()
        self._viewers: list[socket.socket] = []
        self._typed = bytearray()
        self._thread = threading.Thread(target=self._relay, name="console", daemon=True)
        self._thread.start()

    def drain(self, timeout: float) -> None:
        """Wait until the guest's last words are out: the socket ends with the emulator."""
        self._thread.join(timeout)

    def _relay(self) -> None:
        lines = Lines()
        with self._port, self._door:
            chunk: bytes | None = None
            while chunk != b"":
                wanted = [self._port] if self._typed else []
                heard = [self._port, self._door, *self._viewers]
                ready, free, _ = select.select(heard, wanted, [], IDLE)
                chunk = _received(self._port) if self._port in ready else None
                if chunk:
                    self._write(lines.feed(chunk))
                    self._show(chunk)
                elif chunk == b"" or not (ready or free):
                    self._write(lines.rest())
                if self._door in ready:
                    self._welcome()
                for viewer in [each for each in self._viewers if each in ready]:
                    self._listen(viewer)
                if free:
                    self._type()
        for viewer in self._viewers:
            viewer.close()

    def _welcome(self) -> None:
        viewer, _ = self._door.accept()
        if len(self._viewers) >= MOST_VIEWERS:
            viewer.close()
            return
        viewer.setblocking(False)
        self._viewers.append(viewer)

    def _listen(self, viewer: socket.socket) -> None:
        keys = _received(viewer)
        if keys == b"":
            self._dismiss(viewer)
        elif keys and len(self._typed) < TYPED_LIMIT:
            self._typed += keys

    def _type(self) -> None:
        """Pass on what was typed, as fast as the guest takes it."""
        with suppress(OSError):  # the guest is gone: what is read says so
            del self._typed[: self._port.send(self._typed, socket.MSG_DONTWAIT)]

    def _show(self, chunk: bytes) -> None:
        """Whoever does not read in time is let go: no viewer holds up the guest, the log or the others."""
        for viewer in tuple(self._viewers):
            try:
                whole = viewer.send(chunk) == len(chunk)
            except OSError:
                whole = False
            if not whole:
                self._dismiss(viewer)

    def _dismiss(self, viewer: socket.socket) -> None:
        self._viewers.remove(viewer)
        viewer.close()

    def _write(self, lines: list[bytes]) -> None:
        self._heard(lines)
        if lines and self._out:
            self._out.write(b"".join(line + b"\n" for line in lines))
            self._out.flush()


def _received(end: socket.socket) -> bytes | None:
    """What has come; empty: the other side is gone; None: nothing yet."""
    try:
        return end.recv(65536)
    except BlockingIOError:
        return None
    except OSError:
        return b""
