"""Keys to look at: each once, each by one worker at a time, some of them later.

`Schedule` decides with the time as an argument; `Queue` adds the lock and the waiting.
"""

import heapq
import itertools
import random
import threading
import time
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

T = TypeVar("T", bound=Hashable)

FIRST_DELAY: Final = 0.05
LONGEST_DELAY: Final = 60.0


def backoff(failures: int, chance: float) -> float:
    """Seconds to wait after so many failures in a row: doubling, within a tenth as `chance` (0 to 1) says."""
    delay: float = min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(failures - 1, 16))
    return delay * (0.9 + 0.2 * chance)


class Schedule(Generic[T]):
    """What is due when, and what is being worked on."""

    def __init__(self) -> None:
        self._due: dict[T, float] = {}
        self._heap: list[tuple[float, int, T]] = []
        self._order = itertools.count()
        self._busy: set[T] = set()
        self._again: dict[T, float] = {}

    def add(self, key: T, due: float) -> None:
        """Look at `key` at `due`, or sooner when that was said before; a busy key waits for its worker."""
        if key in self._busy:
            self._again[key] = min(due, self._again.get(key, due))
            return
        if key in self._due and self._due[key] <= due:
            return
        self._due[key] = due
        heapq.heappush(self._heap, (due, next(self._order), key))

    def take(self, now: float) -> T | None:
        """A key that is due, from here on busy; None: nothing is due."""
        self._drop_outdated()
        if not self._heap or self._heap[0][0] > now:
            return None
        key = heapq.heappop(self._heap)[2]
        del self._due[key]
        self._busy.add(key)
        return key

    def done(self, key: T) -> None:
        """The worker is through with `key`; what was added meanwhile comes in."""
        self._busy.discard(key)
        if key in self._again:
            self.add(key, self._again.pop(key))

    def __len__(self) -> int:
        return len(self._due)

    def next_due(self) -> float | None:
        """When the next key is due; None: there is none."""
        self._drop_outdated()
        return self._heap[0][0] if self._heap else None

    def _drop_outdated(self) -> None:
        while self._heap and self._due.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)


class Queue(Generic[T]):
    """A schedule that threads share. What is taken must be given back: `done`, after `retry` or `forget`."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, chance: Callable[[], float] = random.random
    ) -> None:
        self._clock = clock
        self._chance = chance
        self._schedule: Schedule[T] = Schedule()
        self._failures: dict[T, int] = {}
        self._changed = threading.Condition()
        self._closed = False

    def __len__(self) -> int:
        """How many keys are waited for, due or not."""
        return len(self._schedule)

    def add(self, key: T, after: float = 0.0) -> None:
        """Look at `key` in `after` seconds at the latest."""
        with self._changed:
            self._schedule.add(key, self._clock() + after)
            self._changed.notify()

    def retry(self, key: T) -> float:
        """Look at `key` again after a back-off that grows with each failure; the seconds."""
        with self._changed:
            self._failures[key] = self._failures.get(key, 0) + 1
            delay = backoff(self._failures[key], self._chance())
            self._schedule.add(key, self._clock() + delay)
            self._changed.notify()
        return delay

    def forget(self, key: T) -> None:
        """`key` went well: its next failure is the first."""
        with self._changed:
            self._failures.pop(key, None)

    def take(self) -> T | None:
        """The next key that is due; waits for one. None: the queue is closed."""
        with self._changed:
            while not self._closed:
                key = self._schedule.take(self._clock())
                if key is not None:
                    return key
                due = self._schedule.next_due()
                self._changed.wait(None if due is None else max(0.0, due - self._clock()))
            return None

    def done(self, key: T) -> None:
        """Give back a key that was taken."""
        with self._changed:
            self._schedule.done(key)
            self._changed.notify()

    def close(self) -> None:
        """Let every waiting `take` end."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
