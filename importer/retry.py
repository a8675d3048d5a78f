"""A Source that survives broken connections: it asks again, a little later each time."""

import time
from collections.abc import Callable
from typing import Final

from diskyard.disk.source import Source
from diskyard.errors import SourceUnavailable
from diskyard.log import logger

DELAYS: Final = (0.2, 1.0, 3.0, 10.0, 30.0)
"""Seconds before each new attempt; a byte that comes starts the count again."""

log = logger("source")


class Retrying:
    """The same bytes as the Source inside, which must be able to prove that they still are the same."""

    def __init__(self, source: Source, *, wait: Callable[[float], None] = time.sleep) -> None:
        self.size = source.size
        self.validator = source.validator
        self.ranged = source.ranged
        self._source = source
        self._wait = wait

    def readinto(self, buf: memoryview, offset: int) -> int | None:
        if not (self.ranged and self.validator):
            return self._source.readinto(buf, offset)
        for delay in DELAYS:
            try:
                return self._source.readinto(buf, offset)
            except SourceUnavailable as error:
                log.warning("interrupted, asking again", at=offset, seconds=delay, because=error)
                self._wait(delay)
        return self._source.readinto(buf, offset)

    def close(self) -> None:
        self._source.close()
