"""How many requests are answered at once: of more, the next are asked to come back, so that memory has a bound."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from diskyard.errors import TooManyRequests

_READING: Final = ("GET", "HEAD")


@dataclass(frozen=True)
class Most:
    """At once; Kubernetes has 400 and 200. A request that writes holds its body, 3 MiB at most."""

    reading: int = 400
    writing: int = 100
    unread: float = 60.0
    """Seconds in which a watcher takes what it is told, or is cut off."""
    paused: float = 10.0
    """Seconds after which a log's reader who takes nothing (a pager, say) goes for one who asks."""


MOST: Final = Most()


class Crowd:
    """The requests that are being answered, but for watches and followed logs, which have limits of their own."""

    def __init__(self, most: Most) -> None:
        self._most = most
        self._reading = 0
        self._writing = 0

    @contextmanager
    def joined(self, method: str) -> Iterator[None]:
        """One more while the block lasts. Raises TooManyRequests."""
        reads = method in _READING
        now, most = (self._reading, self._most.reading) if reads else (self._writing, self._most.writing)
        if now >= most:
            doing = "read" if reads else "write"
            raise TooManyRequests(
                f"too many requests, please try again later: {most} that {doing} are being answered already"
            )
        self._count(reads, 1)
        try:
            yield
        finally:
            self._count(reads, -1)

    def _count(self, reads: bool, more: int) -> None:
        if reads:
            self._reading += more
        else:
            self._writing += more
