"""What is undone by itself after a while: who had it done may die before he undoes it."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from diskyard import log
from diskyard.errors import GuestFailed

LONGEST: Final = 24 * 3600.0

_log = log.logger("launcher")


@dataclass(frozen=True)
class Words:
    """What the log says of it."""

    undone: str
    kept: str


class Lapse:
    """One thing that is done to the guest, and how it is undone."""

    def __init__(self, undo: Callable[[], None], words: Words) -> None:
        """`undo` may raise GuestFailed."""
        self._undo = undo
        self._words = words
        self._timer: threading.Timer | None = None

    def begin(self, seconds: float) -> None:
        """It was done, for so many seconds at most: a second at least, a day at most."""
        self.end()
        self._timer = threading.Timer(min(max(seconds, 1.0), LONGEST), self._undo_at_last)
        self._timer.daemon = True
        self._timer.start()

    def end(self) -> None:
        """It is undone, or about to be."""
        if self._timer:
            self._timer.cancel()

    def _undo_at_last(self) -> None:
        try:
            self._undo()
        except GuestFailed as failure:
            _log.warning(self._words.kept, error=failure)
        else:
            _log.info(f"{self._words.undone}: nobody had asked for it in time")
