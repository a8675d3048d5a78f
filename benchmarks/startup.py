"""`diskyard up` on an empty directory: seconds until it says `ready`, and what it then holds in memory.

Its modules are compiled first, as pip does when it installs them: who measures from a checkout, with
PYTHONDONTWRITEBYTECODE set as in many containers, would else time the compiler at every start (0.6 of 1.6 s).
"""

import compileall
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).parents[1]
_ELSEWHERE: Final = re.compile(r"/(\.\w+|tests|benchmarks)/")


@dataclass(frozen=True)
class Start:
    seconds: float
    resident: int
    """Bytes, a second after `ready`."""


def start() -> Start:
    _compile()
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


@cache
def _compile() -> None:
    compileall.compile_dir(_ROOT, rx=_ELSEWHERE, quiet=1)


def _resident(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024
