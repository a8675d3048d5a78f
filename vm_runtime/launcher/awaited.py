"""Words that somebody waits for on a guest's serial console, and what it said last: the test that an image boots."""

import time
from collections.abc import Callable
from typing import Final

PAUSE: Final = 2.0
"""Seconds between two times that new last words are told."""
TAIL: Final = 800
"""Characters of last words that are kept."""


class Awaited:
    """Hears lines until one holds the words; what it is told last is what was said last."""

    def __init__(
        self, words: str, tell: Callable[[bool, str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`tell` is told whether it was said, and the last words."""
        self._words = words.encode()
        self._tell = tell
        self._clock = clock
        self.said = False
        self.tail = ""
        """Its last words."""
        self._told = ""
        self._next = 0.0

    def hear(self, lines: list[bytes]) -> None:
        """Take note; with no lines, tell what was kept back."""
        if self.said:
            return
        self.said = any(self._words in line for line in lines)
        said = b"\n".join(line for line in lines if line.strip())
        self.tail = f"{self.tail}\n{said.decode(errors='replace')}".strip()[-TAIL:]
        if self.said or (self.tail != self._told and self._clock() >= self._next):
            self._told, self._next = self.tail, self._clock() + PAUSE
            self._tell(self.said, self.tail)
