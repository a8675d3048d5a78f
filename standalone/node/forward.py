"""Passes TCP connections on from a Service's address to a pod that is ready: a thread for each way of each."""

import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

Place = tuple[str, int]
"""An address and a port."""

CONNECT: Final = 3.0
"""Seconds that a pod has to take a connection, before the next is tried."""
MOST: Final = 256
"""Connections that are passed on at a time, for each port; further ones are ended at once."""
_PAUSE: Final = 0.1
_CHUNK: Final = 64 << 10


class Forwarder:
    """The ports that are passed on. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._fronts: dict[Place, _Front] = {}

    def serve(self, fronts: Mapping[Place, tuple[Place, ...]], before: frozenset[Place]) -> dict[Place, str]:
        """Pass on what comes to these places, and no more what came to those before; what could not be, and why."""
        refused = {}
        with self._lock:
            for place in before - fronts.keys():
                front = self._fronts.pop(place, None)
                if front:
                    front.close()
            for place, behind in fronts.items():
                if place in self._fronts:
                    self._fronts[place].behind = behind
                    continue
                try:
                    self._fronts[place] = _Front(socket.create_server(place), behind)
                except OSError as error:
                    refused[place] = error.strerror or str(error)
        return refused

    def close(self) -> None:
        """Pass nothing on any more."""
        self.serve({}, frozenset(self._fronts))


class _Front:
    """One port of a Service."""

    def __init__(self, listening: socket.socket, behind: tuple[Place, ...]) -> None:
        self.behind = behind
        self._listening = listening
        self._lock = threading.Lock()
        self._open: dict[socket.socket, threading.Thread] = {}
        self._turn = 0
        self._pods: set[socket.socket] = set()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._take, name="forward", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Take nobody in any more, and end who is in."""
        with self._lock:
            self._closing.set()
            threads = tuple(self._open.values())
            for each in (*self._open, *self._pods):
                _end(each, socket.SHUT_RDWR)
        _end(self._listening, socket.SHUT_RDWR)
        for thread in (self._thread, *threads):
            thread.join(timeout=CONNECT * 2)

    def _take(self) -> None:
        with self._listening:
            while True:
                try:
                    came, _ = self._listening.accept()
                except OSError:  # shut down, or no file left for it
                    if self._closing.wait(_PAUSE):
                        return
                    continue
                with self._lock:
                    if self._closing.is_set() or len(self._open) >= MOST:
                        came.close()
                        continue
                    thread = threading.Thread(target=self._join, args=(came,), name="forwarded", daemon=True)
                    self._open[came] = thread
                thread.start()

    def _join(self, came: socket.socket) -> None:
        """Join a connection to one to a pod, until both sides have said their last word."""
        try:
            there = self._reached()
            if there is None:
                return
            with there:
                with self._lock:
                    self._pods.add(there)
                    if self._closing.is_set():
                        return
                back = threading.Thread(target=_copy, args=(there, came), name="forwarded", daemon=True)
                back.start()
                _copy(came, there)
                back.join()
        finally:
            with self._lock:
                del self._open[came]
                self._pods = {each for each in self._pods if each.fileno() >= 0}
            came.close()

    def _reached(self) -> socket.socket | None:
        """A connection to the next pod that takes one."""
        behind = self.behind
        for _ in behind:
            self._turn += 1
            with suppress(OSError):
                found = socket.create_connection(behind[self._turn % len(behind)], CONNECT)
                found.settimeout(None)
                return found
        return None


def _copy(source: socket.socket, sink: socket.socket) -> None:
    """Pass on one way; where one side fails, both are told."""
    try:
        while chunk := source.recv(_CHUNK):
            sink.sendall(chunk)
        _end(sink, socket.SHUT_WR)
    except OSError:
        _end(sink, socket.SHUT_RDWR)
        _end(source, socket.SHUT_RDWR)


def _end(connection: socket.socket, how: int) -> None:
    with suppress(OSError):
        connection.shutdown(how)
