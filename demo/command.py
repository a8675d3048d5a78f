"""Runs one of the host's programs and turns its failure into words."""

import os
import subprocess
from pathlib import Path

from diskyard.errors import Refused


def run(*command: str | Path, cwd: Path | None = None, given: bytes = b"") -> str:
    """What the program prints; `given` is its standard input. Raises Refused with its own complaint."""
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
    try:
        done = subprocess.run(
            [str(word) for word in command],
            cwd=cwd,
            input=given,
            capture_output=True,
            check=True,
            env={**os.environ, "PATH": path, "LC_ALL": "C"},
        )
    except FileNotFoundError as error:
        raise Refused(f"the program {command[0]} is not installed: run ./packages.sh") from error
    except subprocess.CalledProcessError as error:
        complaint = error.stderr.decode(errors="replace").strip() or "it said nothing"
        raise Refused(f"{command[0]} ended with code {error.returncode}: {complaint[-500:]}") from error
    return done.stdout.decode(errors="replace")
