"""What a guest's probes run beside its launcher: `--ask ping`, or `--ask exec SECONDS COMMAND...` inside the guest."""

import json
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

PATIENCE: Final = 70.0
LINE_LIMIT: Final = 64 << 10


def asked(words: Sequence[str], control: Path) -> int:
    """0: the guest is well; else its command's code, or 1, with a sentence on standard error."""
    match words:
        case ["ping"]:
            answer = _answer(control, {"do": "ping"})
        case ["exec", seconds, *command] if command:
            answer = _answer(control, {"do": "run", "with": {"command": command, "seconds": float(seconds)}})
        case _:
            answer = {"error": "expected --ask ping, or --ask exec SECONDS COMMAND..."}
    said = answer.get("said") or {}
    text = answer.get("error") or said.get("text") or ""
    if text:
        print(text, file=sys.stderr)
    return 1 if "done" not in answer else int(said.get("code", 0))


def _answer(control: Path, question: dict[str, Any]) -> dict[str, Any]:
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as way:
            way.settimeout(PATIENCE)
            way.connect(str(control))
            way.sendall(json.dumps(question).encode() + b"\n")
            with way.makefile("rb") as lines:
                found: dict[str, Any] = json.loads(lines.readline(LINE_LIMIT) or b"{}")
                return found
    except (OSError, ValueError) as failure:
        return {"error": f"the launcher does not answer: {failure}"}
