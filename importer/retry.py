"""A Source that survives broken connections: it asks again, a little later each time."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

from diskyard.disk.source import Source, silence
from diskyard.errors import SourceUnavailable
from diskyard.log import logger

DELAYS: Final = (0.2, 1.0, 3.0, 10.0, 30.0)
"""Seconds before each new attempt; a byte that comes starts the count again."""
_LONGEST: Final = 300.0
"""Seconds that we stay away because a server asks for it; for longer ones, whoever runs us waits."""

T = TypeVar("T")

log = logger("source")


def patiently(ask: Callable[[], T], wait: Callable[[float], object] = time.sleep) -> T:
    """The first answer of a source: where it is too busy and says so, after it was left alone for as long as it asks.

    Raises what `ask` raises: at once where nothing says that asking again soon will help.
    """
    for delay in DELAYS[1:]:
        try:
            return ask()
        except SourceUnavailable as error:
            if not 0 < error.after <= _LONGEST:
                raise
            pause = max(delay, error.after)
            log.warning("the source is too busy, asking again", seconds=pause, because=error)
            wait(pause)
    return ask()


class Retrying:
    """The same bytes as the Source inside, which must be able to prove that they still are the same."""

    def __init__(self, source: Source, *, wait: Callable[[float], object] | None = None) -> None:
        """`wait` sleeps between two attempts; without one, closing the Source ends the sleep."""
        self.size = source.size
        self.validator = source.validator
        self.ranged = source.ranged
        self._source = source
        self._closed = threading.Event()
        self._wait = wait or self._closed.wait
        self._lock = threading.Lock()
        self._active = 0

    def readinto(self, buf: memoryview, offset: int) -> int | None:
        if not (self.ranged and self.validator):
            return self._source.readinto(buf, offset)
        with self._counted():
            return self._patiently(buf, offset)

    def _patiently(self, buf: memoryview, offset: int) -> int | None:
        for delay in DELAYS:
            try:
                return self._source.readinto(buf, offset)
            except SourceUnavailable as error:
                several = self._active > 1  # whoever asked may do with fewer
                if self._closed.is_set() or several or error.after > _LONGEST:
                    raise
                pause = max(delay, error.after)
                log.warning("interrupted, asking again", at=offset, seconds=pause, because=error)
                self._wait(pause)
        return self._source.readinto(buf, offset)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        with self._lock:
            self._active += 1
        try:
            yield
        finally:
            with self._lock:
                self._active -= 1

    def silence(self) -> float | None:
        return silence(self._source)

    def close(self) -> None:
        self._closed.set()
        self._source.close()
