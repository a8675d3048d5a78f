"""Standard input as a Source: `curl ... | diskyard import - disk.img`. It passes once, and has no length."""

import os
import select
import threading
from typing import Final

from diskyard.errors import InvalidRequest, SourceUnavailable

NAME: Final = "standard input"


class PipeSource:
    """The bytes of a descriptor that is read from where it stands."""

    size: int | None = None
    validator: str | None = None
    ranged = False

    def __init__(self, fd: int = 0) -> None:
        """Raises InvalidRequest where a person sits at the other end."""
        if os.isatty(fd):
            raise InvalidRequest(
                "expected an image on standard input, found a terminal: put it behind a pipe (curl URL | diskyard "
                "import - TARGET), or name a source"
            )
        self._fd = os.dup(fd)
        self._wakes, self._wake = os.pipe2(os.O_CLOEXEC)
        self._position = 0
        self._reading = threading.Lock()
        self._closed = False

    def readinto(self, buf: memoryview, offset: int) -> int | None:
        if offset != self._position:
            raise InvalidRequest(
                f"the image is laid out so that its byte {offset} is needed again at byte {self._position}, and "
                f"{NAME} passes once: write it to a file and import that, or name its URL as the source"
            )
        with self._reading:
            if self._closed or self._wakes in select.select([self._fd, self._wakes], [], [])[0]:
                raise SourceUnavailable(f"{NAME} was closed while it was read")
            count = os.readv(self._fd, [buf])
        self._position += count
        return count

    def close(self) -> None:
        """End a read that waits in another thread."""
        if self._closed:
            return
        self._closed = True
        os.write(self._wake, b".")
        with self._reading:
            for fd in (self._fd, self._wakes, self._wake):
                os.close(fd)
