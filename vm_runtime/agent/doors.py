"""The ways to the guests of this node: orders to their launchers, and their serial ports and screens as streams."""

import json
import socket
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from diskyard.api.names import kubevirt
from diskyard.errors import GuestFailed, Passing
from vm_runtime.agent.mailbox import mailbox

CONSOLE: Final = "console"
VNC: Final = "vnc"
PATIENCE: Final = 10.0
"""Seconds that a launcher gets to obey."""
LINE_LIMIT: Final = 1 << 20
_SOCKETS: Final = {CONSOLE: kubevirt.CONSOLE_SOCKET, VNC: kubevirt.VNC_SOCKET}


class Doors:
    """Through the directories that the agent shares with its launchers."""

    def __init__(self, pods: Path) -> None:
        self._pods = pods

    def order(self, pod: str, verb: str, **wishes: object) -> Any:
        """Have the launcher of the pod with that uid do something; its answer. Raises GuestFailed, Passing."""
        try:
            with closing(mailbox(self._pods, pod).connect()) as connection:
                connection.settimeout(PATIENCE)
                connection.sendall(json.dumps({"do": verb, "with": wishes}).encode() + b"\n")
                with connection.makefile("rb") as lines:
                    answer = json.loads(lines.readline(LINE_LIMIT) or b"{}")
        except (OSError, ValueError) as failure:
            raise Passing(f"the guest's launcher does not answer: {failure}") from failure
        if answer.get("done") != verb:
            raise GuestFailed(str(answer.get("error") or "the guest's launcher ended"))
        return answer.get("said")

    def stream(self, pod: str, door: str) -> socket.socket:
        """A connection to the guest's `console` or `vnc`, for the caller to close. Raises Passing."""
        try:
            return mailbox(self._pods, pod).connect(_SOCKETS[door])
        except OSError as failure:
            raise Passing(f"the guest has no {door} that can be reached: {failure.strerror}") from failure
