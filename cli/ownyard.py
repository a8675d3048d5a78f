"""`diskyard up` as a child: in a session of its own, so that Ctrl-C reaches its parent alone."""

import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, TextIO

from diskyard.errors import DiskyardError
from standalone.directory import Directory

PATIENCE: Final = 90
"""Seconds that guests and yard get to end."""
AGAIN: Final = 10
"""Seconds between two Ctrl-C; to a yard that stops already, another one says nothing."""
_MOST: Final = 2000
"""Characters of its words that an error repeats."""


@contextmanager
def own_yard(directory: Path) -> Iterator[Directory]:
    """A yard on the directory that is ready; afterwards it and its pods have ended. Raises DiskyardError."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "cli", "up", "--data-dir", str(directory), "--port", "0"]
    with tempfile.TemporaryFile("w+") as log:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )
        ready = False
        try:
            _await_ready(child, log)
            ready = True
            yield Directory(directory)
        finally:
            code = _stop(child, log)
            if ready and code not in (0, 130, -signal.SIGINT):
                raise DiskyardError(f"diskyard up ended with code {code}: {_said(log)}")


def _await_ready(child: "subprocess.Popen[str]", log: TextIO) -> None:
    assert child.stdout
    for line in child.stdout:
        if line.startswith("ready"):
            return
    raise DiskyardError(f"diskyard up ended with code {child.wait()}: {_said(log)}")


def _said(log: TextIO) -> str:
    log.seek(0)
    return log.read().strip()[-_MOST:]


def _interrupted(child: "subprocess.Popen[str]") -> int:
    """Its code after Ctrl-C, pressed again where one was lost: Python drops one that comes in an import's callback."""
    for _ in range(PATIENCE // AGAIN - 1):
        child.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            return child.wait(AGAIN)
    return child.wait(AGAIN)


def _stop(child: "subprocess.Popen[str]", log: TextIO) -> int:
    """End the yard and its pods, whatever happens; its code. A second Ctrl-C must not cut that short."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        try:
            return _interrupted(child)
        except subprocess.TimeoutExpired as error:
            child.kill()
            raise DiskyardError(
                f"diskyard up (process {child.pid}) had not ended {PATIENCE} seconds after Ctrl-C and was killed; "
                f"what it started may still run. Its words: {_said(log)}"
            ) from error
        finally:
            if child.stdout:
                child.stdout.close()
    finally:
        signal.signal(signal.SIGINT, before)
