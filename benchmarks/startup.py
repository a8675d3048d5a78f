"""`diskyard up` on an empty directory: seconds until it says `ready`, and what it then holds in memory."""

import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Start:
    seconds: float
    resident: int
    """Bytes, a second after `ready`."""


def start() -> Start:
    with tempfile.TemporaryDirectory() as work:
        begun = time.monotonic()
        command = [sys.executable, "-m", "cli", "up", "--data-dir", f"{work}/yard", "--port", "0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as yard:
            assert yard.stdout is not None
            line = yard.stdout.readline()
            seconds = time.monotonic() - begun
            assert line.startswith("ready"), f"expected a line that starts with ready, found {line!r}"
            time.sleep(1)
            resident = _resident(yard.pid)
            yard.send_signal(signal.SIGINT)
        return Start(seconds, resident)


def _resident(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024
