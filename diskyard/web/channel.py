"""A connected socket in the hands of one thread: large reads and writes, with no event loop between.

What it waits for, it waits for no longer than it may, and not at all once it is cancelled by another thread. However
many there are, only a few move bytes at once, by turns: the loop beside them finds the interpreter free.
"""

import os
import select
import socket
import ssl
import threading
import time
from typing import Final

from diskyard.web.turns import Turns

_IN: Final = select.POLLIN | select.POLLHUP | select.POLLERR
_OUT: Final = _IN | select.POLLOUT
_PART: Final = 64 << 10
_turns = Turns(os.cpu_count() or 1)


class Cancelled(ConnectionAbortedError):
    """Somebody else wants this thread to stop."""


class Answered(Exception):
    """The other side speaks before it has heard all."""


class Channel:
    """Reads and writes of a non-blocking socket, TLS or plain; the socket itself stays its owner's."""

    def __init__(self, sock: socket.socket, left: int, idle: float | None = None) -> None:
        """`left`: bytes that may be read; `idle`: seconds in which the next of them has to come, None: whenever."""
        self.left = left
        self.heard = time.monotonic()
        """When bytes came last."""
        self.waited = 0.0
        """Seconds that were spent waiting for bytes."""
        self._sock = sock
        self._idle = idle
        self._early = b""
        self._open = threading.Lock()
        self._closed = self._cancelled = False
        self._woken = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poll = select.poll()
        self._poll.register(self._woken, select.POLLIN)

    def readinto(self, buf: memoryview) -> int:
        """As many bytes as are here, one at least; 0 when nothing is left.

        Raises TimeoutError, Cancelled, and ConnectionResetError where the other side is lost or ends too early.
        """
        if self._cancelled:
            raise Cancelled
        room = min(len(buf), self.left)
        done = self._remembered(buf[:room])
        while room and not (done := self._read(buf[:room], done)):
            self._wait_for_bytes()
        self.left -= done
        self.heard = time.monotonic()
        return done

    def send(self, buf: memoryview | bytes) -> None:
        """All of the bytes. Raises Answered, where the other side speaks meanwhile, Cancelled, OSError."""
        view, done = memoryview(buf), 0
        while done < len(view):
            self._listen()
            try:
                with _turns:
                    done += self._sock.send(view[done:])
            except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
                self._wait(_OUT, None)

    def cancel(self) -> None:
        """Have its thread stop; from any thread, also when it is closed."""
        with self._open:
            self._cancelled = True
            if not self._closed:
                os.eventfd_write(self._woken, 1)

    def close(self) -> None:
        """Let go of what is its own."""
        with self._open:
            if not self._closed:
                self._closed = True
                os.close(self._woken)

    def _read(self, buf: memoryview, done: int) -> int:
        """How much of `buf` is filled, once all that is here has been read."""
        try:
            with _turns:
                while done < len(buf):
                    count = self._sock.recv_into(buf[done:])
                    if not count:
                        break
                    done += count
        except (BlockingIOError, ssl.SSLWantReadError):
            return done
        except OSError as error:
            raise ConnectionResetError(
                f"the connection broke {self.left} bytes too early: {error}"
            ) from error
        if not done:
            raise ConnectionResetError(f"the connection ended {self.left} bytes too early")
        return done

    def _remembered(self, buf: memoryview) -> int:
        """Bytes that were heard while it was our turn to speak."""
        piece, self._early = self._early[: len(buf)], self._early[len(buf) :]
        buf[: len(piece)] = piece
        return len(piece)

    def _listen(self) -> None:
        """Take note where the other side speaks; TLS' own messages are none of ours."""
        try:
            self._early = self._sock.recv(_PART)
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        raise Answered

    def _wait_for_bytes(self) -> None:
        begun = time.monotonic()
        try:
            self._wait(_IN, self._idle)
        finally:
            self.waited += time.monotonic() - begun

    def _wait(self, events: int, within: float | None) -> None:
        self._poll.register(self._sock, events)
        ready = self._poll.poll(None if within is None else within * 1000)
        if any(fd == self._woken for fd, _ in ready):
            raise Cancelled
        if not ready:
            raise TimeoutError(f"no byte came for {within:g} s")
