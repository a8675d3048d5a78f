"""A guest that is halted where it is, for a while where that is said: who halts it may die before he lets it go on."""

import threading
from typing import Final

from diskyard import log
from diskyard.errors import GuestFailed
from vm_runtime.launcher.hypervisor import Hypervisor

LONGEST: Final = 24 * 3600.0

_log = log.logger("launcher")


class Pauses:
    """The guest's pauses, as its launcher is asked for them."""

    def __init__(self, hypervisor: Hypervisor) -> None:
        self._hypervisor = hypervisor
        self._timer: threading.Timer | None = None

    def pause(self, seconds: float = 0.0) -> None:
        """Halt it; for so many seconds at most, where there are some. Raises GuestFailed."""
        self._cancel()
        self._hypervisor.pause()
        if seconds > 0:
            self._timer = threading.Timer(min(max(seconds, 1.0), LONGEST), self._resume_at_last)
            self._timer.daemon = True
            self._timer.start()

    def unpause(self) -> None:
        """Let it go on. Raises GuestFailed."""
        self._cancel()
        self._hypervisor.resume()

    def _cancel(self) -> None:
        if self._timer:
            self._timer.cancel()

    def _resume_at_last(self) -> None:
        try:
            self._hypervisor.resume()
        except GuestFailed as failure:
            _log.warning("the guest stays paused", error=failure)
        else:
            _log.info("the guest goes on: nobody had asked for it in time")
