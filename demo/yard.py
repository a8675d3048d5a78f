"""`diskyard up` as a child of the demo: in a session of its own, so that Ctrl-C reaches the demo alone."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from demo.display import step
from diskyard.errors import DiskyardError

PATIENCE: Final = 90
"""Seconds that guests and yard get to end."""


@dataclass(frozen=True)
class Yard:
    """A yard that is ready."""

    directory: Path

    @property
    def kubeconfig(self) -> Path:
        """How to reach it."""
        return self.directory / "kubeconfig"


@contextmanager
def yard(directory: Path) -> Iterator[Yard]:
    """A yard on the directory; afterwards nothing of it runs, and the directory is gone."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    log = directory.with_suffix(".log")
    command = [sys.executable, "-m", "cli", "up", "--data-dir", str(directory), "--port", "0"]
    with log.open("w") as errors:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
    try:
        _await_ready(child, log)
        yield Yard(directory)
    finally:
        step("Shut down what runs, and stop the yard")
        _stop(child, log)
        shutil.rmtree(directory, ignore_errors=True)
        log.unlink()


def _await_ready(child: "subprocess.Popen[str]", log: Path) -> None:
    assert child.stdout
    for line in child.stdout:
        if line.startswith("ready"):
            return
    raise DiskyardError(f"diskyard up ended with code {child.wait()}: {log.read_text().strip()[-2000:]}")


def _stop(child: "subprocess.Popen[str]", log: Path) -> None:
    """End the yard and its pods, whatever happens; a second Ctrl-C must not cut that short."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        child.send_signal(signal.SIGINT)
        try:
            code = child.wait(PATIENCE)
        except subprocess.TimeoutExpired as error:
            child.kill()
            raise DiskyardError(
                f"diskyard up (process {child.pid}) had not ended {PATIENCE} seconds after Ctrl-C and was killed; "
                f"what it started may still run. Its words are in {log}"
            ) from error
        finally:
            if child.stdout:
                child.stdout.close()
        if code not in (0, 130, -signal.SIGINT):
            raise DiskyardError(f"diskyard up ended with code {code}: {log.read_text().strip()[-2000:]}")
    finally:
        signal.signal(signal.SIGINT, before)
