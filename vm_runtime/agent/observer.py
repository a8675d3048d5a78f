"""Listens to launchers: one thread for each, from its pod's start to its end."""

import json
import socket
import threading
from collections.abc import Callable
from typing import Final

from diskyard import log
from diskyard.api.job import Report
from diskyard.api.meta import Key
from vm_runtime.agent.mailbox import Mailbox

LINE_LIMIT: Final = 128 << 10
RETRY: Final = 0.1
"""Seconds between two tries to reach a launcher that does not listen yet, or not any more."""

_log = log.logger("agent")


class Observer:
    """What the launchers of this node last said."""

    def __init__(self, on_report: Callable[[Key], None]) -> None:
        self._on_report = on_report
        self._lock = threading.Lock()
        self._ears: dict[str, _Ear] = {}

    def observe(self, uid: str, pod: Key, mailbox: Mailbox) -> None:
        """Listen to the launcher of the pod with that uid, from now on; `on_report` is told of `pod`."""
        with self._lock:
            if uid in self._ears:
                return
            self._ears[uid] = ear = _Ear(mailbox, lambda: self._on_report(pod))
        threading.Thread(target=ear.listen, name=f"observe-{pod.name}", daemon=True).start()

    def forget(self, uid: str) -> None:
        """Listen to it no more."""
        with self._lock:
            ear = self._ears.pop(uid, None)
        if ear:
            ear.close()

    def report(self, uid: str) -> Report | None:
        """What it last said; None: nothing yet."""
        with self._lock:
            ear = self._ears.get(uid)
        return ear.report if ear else None

    def observed(self, uid: str) -> bool:
        """Whether it is listened to."""
        with self._lock:
            return uid in self._ears

    def close(self) -> None:
        """Listen to nobody any more."""
        with self._lock:
            ears = list(self._ears.values())
            self._ears.clear()
        for ear in ears:
            ear.close()


class _Ear:
    """One launcher's."""

    def __init__(self, mailbox: Mailbox, on_report: Callable[[], None]) -> None:
        self.report: Report | None = None
        self._mailbox = mailbox
        self._on_report = on_report
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._connection: socket.socket | None = None

    def listen(self) -> None:
        while not self._closed.is_set():
            try:
                self._hear()
            except OSError:
                _log.debug("a launcher does not listen", mailbox=self._mailbox.path)
            self._closed.wait(RETRY)

    def close(self) -> None:
        self._closed.set()
        with self._lock:
            if self._connection:
                self._connection.shutdown(socket.SHUT_RDWR)

    def _hear(self) -> None:
        with self._mailbox.connect() as connection:
            with self._lock:
                self._connection = connection
            try:
                connection.sendall(json.dumps({"do": "observe"}).encode() + b"\n")
                with connection.makefile("rb") as lines:
                    while not self._closed.is_set() and (line := lines.readline(LINE_LIMIT)):
                        self._take(Report.from_text(line))
            finally:
                with self._lock:
                    self._connection = None

    def _take(self, report: Report | None) -> None:
        if report and report != self.report:
            self.report = report
            self._on_report()
