"""A yard of one's own ends when its owner is stopped, at whatever moment that is."""

import signal
import subprocess
import sys
from pathlib import Path

OWNER = """
import signal, sys
from pathlib import Path
from cli.ownyard import own_yard

signal.signal(signal.SIGALRM, signal.default_int_handler)
signal.setitimer(signal.ITIMER_REAL, 0.05)
with own_yard(Path(sys.argv[1])):
    print("ready")
"""


def test_a_yard_that_was_stopped_while_it_began_is_no_error(tmp_path: Path) -> None:
    owner = [sys.executable, "-c", OWNER, str(tmp_path / "yard")]

    done = subprocess.run(owner, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (-signal.SIGINT, ""), done.stderr
