"""A guest that is halted where it is, for a while where that is said."""

from typing import Final

from vm_runtime.launcher.hypervisor import Hypervisor
from vm_runtime.launcher.lapse import Lapse, Words

_WORDS: Final = Words("the guest goes on", "the guest stays paused")


class Pauses:
    """The guest's pauses, as its launcher is asked for them."""

    def __init__(self, hypervisor: Hypervisor) -> None:
        self._hypervisor = hypervisor
        self._lapse = Lapse(hypervisor.resume, _WORDS)

    def pause(self, seconds: float = 0.0) -> None:
        """Halt it; for so many seconds at most, where there are some. Raises GuestFailed."""
        self._lapse.end()
        self._hypervisor.pause()
        if seconds > 0:
            self._lapse.begin(seconds)

    def unpause(self) -> None:
        """Let it go on. Raises GuestFailed."""
        self._lapse.end()
        self._hypervisor.resume()
