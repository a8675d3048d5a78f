"""A few threads at work at once, in the order in which they came: a lock lets who has just left in again at once."""

import threading
from collections import deque


class Turns:
    """So many threads may be within; the others wait in line."""

    def __init__(self, many: int) -> None:
        self._free = many
        self._line: deque[threading.Lock] = deque()
        self._looking = threading.Lock()

    @property
    def waiting(self) -> int:
        """How many stand in line."""
        return len(self._line)

    def __enter__(self) -> None:
        with self._looking:
            if self._free:
                self._free -= 1
                return
            called = threading.Lock()
            called.acquire()
            self._line.append(called)
        called.acquire()

    def __exit__(self, *_: object) -> None:
        with self._looking:
            if self._line:
                self._line.popleft().release()
            else:
                self._free += 1
