"""An upload as a Source: its bytes come when its client sends them, and go on where the engine asks.

A resumable one has a shelf: what has come is read again from there, as far as it is kept. Where it is not, the client
has to send it again, and is told from which offset.
"""

import threading
from collections.abc import Callable
from typing import Final

from diskyard.errors import SourceUnavailable
from diskyard.web.bridge import Pipe
from uploadproxy.shelf import Shelf, Ticket

ORIGIN: Final = "upload:"


class SentAgain(SourceUnavailable):
    """The image has to be sent once more, from an offset that has been sent already."""

    reason = "SentAgain"


class Intake:
    """The bytes of one upload, in the order of the image. Read by one thread at a time."""

    ranged = False

    def __init__(self, pipe: Pipe, length: int | None) -> None:
        self.size = length
        self.validator: str | None = None
        self.received = 0
        """Bytes of the image that have been taken in: the client goes on from there."""
        self._pipe = pipe

    def readinto(self, buf: memoryview, offset: int) -> int | None:
        if offset != self.received:
            raise SentAgain(
                f"the image is laid out so that its start is needed again at byte {self.received}: send it once more. "
                "It will be kept beside the disk until all of it is here"
            )
        count = self._pipe.readinto(buf)
        self.received += count
        return count

    def close(self) -> None:
        """Take nothing more."""
        self._pipe.close()


class ShelvedIntake:
    """The same of an upload that can be gone on with."""

    ranged = False

    def __init__(
        self, pipe: Pipe, ticket: Ticket, shelf: Shelf, known: int, on_rewind: Callable[[], None]
    ) -> None:
        self.size: int | None = ticket.length
        self.validator: str | None = None
        """The upload's name, once its head shows that it can be gone on with when its server has ended."""
        self.received = known
        self._pipe = pipe
        self._ticket = ticket
        self._shelf = shelf
        self._on_rewind = on_rewind
        self._busy = threading.Lock()
        self._open = True
        self._look()

    def readinto(self, buf: memoryview, offset: int) -> int | None:
        if offset >= (self.size or 0):
            return 0
        with self._busy:
            if self._gone():
                return 0
            count = self._shelf.read(buf, offset, self.received)
            if count:
                return count
            if offset != self.received:
                self._shelf.rewind(offset)
                self.received = offset
                self._on_rewind()
        count = self._pipe.readinto(buf)
        with self._busy:
            if self._gone():
                return 0
            self._shelf.put(buf[:count], offset, self._ticket.length)
            self.received += count
            self._look()
        return count

    def commit(self) -> int:
        """Make durable what has been taken in; its end. Nothing may be under way in the pipe."""
        with self._busy:
            if self._open:
                self._shelf.commit(self.received)
            return self.received

    def close(self) -> None:
        """Take nothing more."""
        self._pipe.close()
        with self._busy:
            if self._open:
                self._open = False
                self._shelf.close()

    def _gone(self) -> bool:
        return not self._open

    def _look(self) -> None:
        if self.validator is None and self._shelf.plain(self._ticket.length):
            self.validator = self._ticket.id
