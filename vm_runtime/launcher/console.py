"""The guest's serial port: read by its launcher from the first byte, passed on line by line as text.

What a guest prints is not trusted: escape sequences and control characters are taken out, and a line has an end.
"""

import re
import select
import socket
import threading
from pathlib import Path
from typing import BinaryIO, Final

LINE_LIMIT: Final = 4096
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


class Console:
    """The one connection to the serial port's socket."""

    def __init__(self, path: Path, out: BinaryIO) -> None:
        self._out = out
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(str(path))
        self._thread = threading.Thread(target=self._relay, name="console", daemon=True)
        self._thread.start()

    def drain(self, timeout: float) -> None:
        """Wait until the guest's last words are out: the socket ends with the emulator."""
        self._thread.join(timeout)

    def _relay(self) -> None:
        lines = Lines()
        with self._socket:
            while True:
                ready, _, _ = select.select([self._socket], [], [], IDLE)
                chunk = self._read() if ready else None
                self._write(lines.feed(chunk) if chunk else lines.rest())
                if chunk == b"":
                    return

    def _read(self) -> bytes:
        try:
            return self._socket.recv(65536)
        except OSError:
            return b""

    def _write(self, lines: list[bytes]) -> None:
        if lines:
            self._out.write(b"".join(line + b"\n" for line in lines))
            self._out.flush()
