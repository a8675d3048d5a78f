"""Fills buffers from a source: over one connection while that keeps up, over more when the copy waits for bytes.

One connection costs the least where the disk or the processor is the limit. A server, or a long way, that limits
each connection is what more of them are for.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Final

from diskyard.disk.head import fill
from diskyard.disk.source import Source
from diskyard.errors import SourceUnavailable
from diskyard.log import logger

LANES: Final = (1, 4, 8)
"""Connections, step by step."""
_PERIOD: Final = 0.25
"""Seconds after which it is asked again whether the copy starves."""
_STARVING: Final = 0.5
"""Part of a period that was spent waiting for bytes."""
_ENOUGH: Final = 250e6
"""Bytes in a second with which a network is not the limit: then more connections only cost."""
_WORTH: Final = 1.5
"""How many times faster the last step must have made it, for another one."""

log = logger("disk")


class Fetcher:
    """The connections of one copy."""

    def __init__(self, source: Source, clock: Callable[[], float] = time.monotonic) -> None:
        self.end = sys.maxsize
        """Where the source has turned out to end."""
        self._source = source
        self._clock = clock
        self._pools = [ThreadPoolExecutor(1, "fetch")]
        self._turns = threading.Condition()
        self._running = 0
        self._refused = False
        self._since = clock()
        self._waited = 0.0
        self._bytes = 0
        self._speed = 0.0

    def ask(self, buf: memoryview, offset: int) -> "Future[int]":
        """Have a buffer filled from an offset: how many bytes of it came."""
        return self._pools[-1].submit(self._fill, buf, offset)

    def awaited(self, task: "Future[int]") -> int | None:
        """What a task has brought; None where it is not done after a while. Raises what the source raises."""
        begun = self._clock()
        with suppress(TimeoutError):
            task.result(_PERIOD)
        self._waited += self._clock() - begun
        if not task.done():
            return None
        count = task.result()
        self._bytes += count
        return count

    def widened(self) -> int:
        """How many connections there are now, if one more step just seemed worth it; else 0."""
        now = self._clock()
        elapsed = now - self._since
        if elapsed < _PERIOD:
            return 0
        speed, before = self._bytes / elapsed, self._speed
        starving = self._waited > _STARVING * elapsed
        self._since, self._waited, self._bytes = now, 0.0, 0
        if not starving or not self._may_widen() or not before * _WORTH <= speed < _ENOUGH:
            return 0
        self._speed = speed
        lanes = LANES[len(self._pools)]
        log.info("the source limits the speed: asking over more connections", connections=lanes)
        self._pools.append(ThreadPoolExecutor(lanes, "fetch"))
        return lanes

    def close(self) -> None:
        """Wait for the fetches that run, forget the others."""
        for pool in self._pools:
            pool.shutdown(cancel_futures=True)

    def _may_widen(self) -> bool:
        able = self._source.ranged and self._source.validator is not None
        return able and not self._refused and len(self._pools) < len(LANES)

    def _fill(self, buf: memoryview, offset: int) -> int:
        if offset >= self.end:
            return 0
        alone = self._refused or len(self._pools) == 1
        try:
            with self._turn():
                count = fill(self._source, buf, offset)
        except SourceUnavailable:
            if alone:
                raise
            if not self._refused:
                log.warning("the source does not take several connections: going on with one")
            self._refused = True
            return self._fill(buf, offset)
        if count < len(buf):
            self.end = min(self.end, offset + count)
        return count

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """All at once; after a refusal one after the other, for so a server may serve them."""
        with self._turns:
            self._turns.wait_for(lambda: not (self._refused and self._running))
            self._running += 1
        try:
            yield
        finally:
            with self._turns:
                self._running -= 1
                self._turns.notify_all()
