"""A line between a client and a proxy: it counts what goes up, and something happens at a byte of our choice."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress

_PART = 256 << 10


class Line:
    """Carries connections from a port of its own to an address, until it is closed."""

    def __init__(self, host: str, port: int) -> None:
        self.passed = 0
        """Bytes that went up, in all connections."""
        self._target = (host, port)
        self._events: list[tuple[int, Callable[[], object]]] = []
        self._changing = threading.Lock()
        self._ends: set[socket.socket] = set()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self._begin(self._serve)

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"https://127.0.0.1:{self._listening.getsockname()[1]}"

    def at(self, count: int, event: Callable[[], object]) -> None:
        """Have that happen as soon as so many bytes have gone up."""
        with self._changing:
            self._events.append((count, event))
            self._events.sort(key=lambda each: each[0])

    def cut(self) -> None:
        """End all connections that there are."""
        with self._changing:
            for end in self._ends:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Carry nothing more."""
        self._listening.shutdown(socket.SHUT_RDWR)
        self.cut()
        for thread in self._threads:
            thread.join(60)
        self._listening.close()

    def _begin(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._target, 10)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            with self._changing:
                self._ends |= {client, server}
            both = _Both(client, server)
            self._begin(lambda both=both: self._carried(both, up=True))
            self._begin(lambda both=both: self._carried(both, up=False))

    def _carried(self, both: "_Both", *, up: bool) -> None:
        source, sink = (both.client, both.server) if up else (both.server, both.client)
        with suppress(OSError):
            while piece := source.recv(_PART):
                sink.sendall(piece)
                if up:
                    self._count(len(piece))
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        if both.left():
            with self._changing:
                self._ends -= {source, sink}
            source.close()
            sink.close()

    def _count(self, more: int) -> None:
        with self._changing:
            self.passed += more
            due = [event for count, event in self._events if count <= self.passed]
            self._events = self._events[len(due) :]
        for event in due:
            event()


class _Both:
    """The two ends of one connection, and the two threads that carry it."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client = client
        self.server = server
        self._at_work = 2
        self._changing = threading.Lock()

    def left(self) -> bool:
        """One thread has ended; whether it was the last."""
        with self._changing:
            self._at_work -= 1
            return not self._at_work
