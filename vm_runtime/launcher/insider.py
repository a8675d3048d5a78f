"""Orders that the agent inside the guest carries out: what it knows, and its file systems frozen and thawed."""

import base64
import time
from typing import Any, Final

from diskyard.errors import GuestFailed
from vm_runtime.launcher import agent
from vm_runtime.launcher.hypervisor import Hypervisor
from vm_runtime.launcher.lapse import Lapse, Words

THAW: Final = 300.0
"""Seconds after which file systems that nobody thaws are thawed (KubeVirt's)."""
LONGEST_RUN: Final = 60.0
GLANCE: Final = 0.1
"""Seconds between two looks at whether a command inside has ended."""
MOST: Final = 4096
"""Bytes of its words that are passed on."""
_WORDS: Final = Words("the guest's file systems are thawed", "the guest's file systems stay frozen")


class Insider:
    """The guest's agent, as its launcher asks it."""

    def __init__(self, hypervisor: Hypervisor) -> None:
        self._hypervisor = hypervisor
        self._frozen = Lapse(hypervisor.thaw, _WORDS)

    def system(self) -> dict[str, Any]:
        """guestosinfo. Raises GuestFailed."""
        about, frozen = (
            self._hypervisor.ask_agent("guest-info"),
            self._hypervisor.ask_agent("guest-fsfreeze-status"),
        )
        return agent.system(self._hypervisor.guest(), about, frozen if frozen == "frozen" else "")

    def users(self) -> list[dict[str, Any]]:
        """Who is logged in. Raises GuestFailed."""
        return list(agent.users(self._hypervisor.guest()))

    def filesystems(self) -> list[dict[str, Any]]:
        """What is mounted. Raises GuestFailed."""
        return list(agent.filesystems(self._hypervisor.guest()))

    def ping(self) -> None:
        """Have it answer; in a paused guest nothing can, and nothing is wrong. Raises GuestFailed."""
        if not self._hypervisor.paused():
            self._hypervisor.ask_agent("guest-ping")

    def run(self, command: list[str], seconds: float) -> dict[str, Any]:
        """Have a command run inside; its exit code and the beginning of what it said. Raises GuestFailed."""
        asked = {"path": command[0], "arg": command[1:], "capture-output": True}
        begun = self._hypervisor.ask_agent("guest-exec", **asked)
        deadline = time.monotonic() + min(seconds, LONGEST_RUN)
        while not (found := self._hypervisor.ask_agent("guest-exec-status", pid=begun["pid"])).get("exited"):
            if time.monotonic() > deadline:
                raise GuestFailed(f"{command[0]} did not end within {seconds:g} s inside the guest")
            time.sleep(GLANCE)
        said = base64.b64decode(found.get("out-data") or found.get("err-data") or "")
        return {"code": int(found.get("exitcode", 1)), "text": said[:MOST].decode(errors="replace")}

    def freeze(self, seconds: float = THAW) -> None:
        """Freeze the file systems, for so many seconds at most. Raises GuestFailed."""
        self._frozen.end()
        self._hypervisor.freeze()
        self._frozen.begin(seconds)

    def unfreeze(self) -> None:
        """Thaw them. Raises GuestFailed."""
        self._frozen.end()
        self._hypervisor.thaw()
