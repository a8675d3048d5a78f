"""Tells at once when a process ends, whoever started it: one thread, one epoll, a descriptor a process."""

import os
import select
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from diskyard.errors import Passing
from standalone.node import process
from standalone.node.process import PidFile


class Exits:
    """The lives that are waited for."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._lock = threading.Lock()
        self._lives: dict[int, tuple[Path, PidFile, Callable[[], None]]] = {}
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._epoll.register(self._wake, select.EPOLLIN)
        self._thread = threading.Thread(target=self._run, name="exits", daemon=True)
        self._thread.start()

    def watch(self, directory: Path, ended: Callable[[], None]) -> bool:
        """Call `ended` once the life of that directory is over; False: it is over, or never began."""
        with self._lock:
            if any(directory == watched for watched, _, _ in self._lives.values()):
                return True
            try:
                self._add(directory, process.opened(directory), ended)
            except ProcessLookupError:
                return False
            return True

    def adopt(self, directory: Path, keeper: PidFile, ended: Callable[[], None]) -> None:
        """The same for a supervisor that was just started: a child, to be buried however short it lives."""
        with self._lock:
            self._add(directory, keeper, ended)

    def kill(self) -> bool:
        """Kill every process that is waited for; whether there was one."""
        with self._lock:
            for _, keeper, _ in self._lives.values():
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(keeper.number, signal.SIGKILL)
            return bool(self._lives)

    def close(self) -> None:
        """Wait for nobody any more."""
        os.eventfd_write(self._wake, 1)
        self._thread.join(timeout=10)
        with self._lock:
            for directory, keeper, _ in self._lives.values():
                # A process lets go of its locks a moment before it can be buried.
                keeper.bury(ending=not process.holder(directory))
            self._lives.clear()
        self._epoll.close()
        os.close(self._wake)

    def _add(self, directory: Path, keeper: PidFile, ended: Callable[[], None]) -> None:
        self._lives[keeper.number] = (directory, keeper, ended)
        self._epoll.register(keeper.number, select.EPOLLIN)

    def _run(self) -> None:
        while True:
            for file, _ in self._epoll.poll():
                if file == self._wake:
                    return
                with self._lock:
                    directory, keeper, ended = self._lives.pop(file)
                    self._epoll.unregister(file)
                keeper.bury()
                with suppress(Passing):  # the next start of that life tries again, and says so
                    process.bury(directory)
                ended()
