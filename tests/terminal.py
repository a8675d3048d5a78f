"""A command in a terminal of its own: what it shows, and what is typed into it."""

import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from tests.builders import eventually


class Terminal:
    """A running command as its user sees it."""

    def __init__(self, process: "subprocess.Popen[bytes]", ours: int) -> None:
        self._process = process
        self._ours = ours
        self.shown = ""

    def shows(self, words: str, within: float = 120) -> None:
        """Wait until these words have been shown."""
        eventually(lambda: words in self._heard(), within)

    def type(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def ended(self, within: float = 120) -> int:
        """The exit code."""

        def over() -> bool:
            self._heard()
            return self._process.poll() is not None

        eventually(over, within)
        self._heard()  # its last words may have come since
        return self._process.wait()

    def _heard(self) -> str:
        """All that was shown; it is read here, so that the command never waits for its terminal."""
        while select.select([self._ours], [], [], 0.1)[0]:
            try:
                self.shown += os.read(self._ours, 65536).decode(errors="replace")
            except OSError:  # the command has ended, and nobody holds the other end
                break
        return self.shown


DISKYARD = (sys.executable, "-m", "cli")


@contextmanager
def terminal(
    surroundings: Mapping[str, str], *arguments: str, program: Sequence[str] = DISKYARD
) -> Iterator[Terminal]:
    """The program with these arguments, ended by Ctrl-C if it still runs."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "dumb", **surroundings}
    with subprocess.Popen(
        [*program, *arguments], env=environment, stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        try:
            yield Terminal(process, ours)
        finally:
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(120)
            process.kill()
            os.close(ours)
