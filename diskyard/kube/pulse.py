"""A sign of life: said at once, then again and again on a thread of its own, until closed."""

import threading
from collections.abc import Callable

from diskyard import log
from diskyard.errors import ApiError

_log = log.logger("pulse")


class Pulse:
    """Calls `beat` every so many seconds; a server that does not answer is tried again at the next."""

    def __init__(self, name: str, every: float, beat: Callable[[], None]) -> None:
        self._name = name
        self._every = every
        self._beat = beat
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """The first beat, here; the others on the thread. Raises ApiError."""
        self._beat()
        self._thread.start()

    def close(self) -> None:
        """Say no more."""
        self._closed.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while not self._closed.wait(self._every):
            try:
                self._beat()
            except ApiError as error:
                _log.warning("could not give a sign of life", who=self._name, error=error)
