"""Tells at once when a process ends, whoever started it: one thread, one epoll, a descriptor a process."""

import os
import select
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from diskyard.errors import Passing
from standalone.node import process


class Exits:
    """The lives that are waited for."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._lock = threading.Lock()
        self._files: dict[int, tuple[Path, Callable[[], None]]] = {}
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._epoll.register(self._wake, select.EPOLLIN)
        self._thread = threading.Thread(target=self._run, name="exits", daemon=True)
        self._thread.start()

    def watch(self, directory: Path, ended: Callable[[], None]) -> bool:
        """Call `ended` once the life of that directory is over; False: it is over, or never began."""
        with self._lock:
            if any(directory == watched for watched, _ in self._files.values()):
                return True
            try:
                file = process.opened(directory)
            except ProcessLookupError:
                return False
            self._files[file.number] = (directory, ended)
            self._epoll.register(file.number, select.EPOLLIN)
            return True

    def close(self) -> None:
        """Wait for nobody any more."""
        os.eventfd_write(self._wake, 1)
        self._thread.join(timeout=10)
        with self._lock:
            for file in self._files:
                os.close(file)
            self._files.clear()
        self._epoll.close()
        os.close(self._wake)

    def _run(self) -> None:
        while True:
            for file, _ in self._epoll.poll():
                if file == self._wake:
                    return
                with self._lock:
                    directory, ended = self._files.pop(file)
                    self._epoll.unregister(file)
                with suppress(ChildProcessError):  # the child of an earlier yard
                    os.waitid(os.P_PIDFD, file, os.WEXITED | os.WNOHANG)
                os.close(file)
                with suppress(Passing):  # the next start of that life tries again, and says so
                    process.bury(directory)
                ended()
