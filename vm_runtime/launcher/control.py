"""The launcher's door: one JSON object a line, in and out, on a socket that only its agent can reach.

{"do": "observe"}   answered by the present report, and by each one that follows
{"do": "stop"}      shuts the guest down gracefully, as SIGTERM does
{"do": ORDER, "with": WISHES}   something else that can be done to the guest, or asked of it (an open file can come with
                    it); answered by {"done": ORDER}, with {"said": ANSWER} where there is one, or by {"error": TEXT}
"""

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final, Self

from diskyard.api.job import Report
from diskyard.errors import GuestFailed

Orders = Mapping[str, Callable[..., object]]

LINE_LIMIT: Final = 4096
SEND_TIMEOUT: Final = 2.0
"""Seconds after which an observer that does not read is let go."""


class Control:
    """The socket, and what is said on it."""

    def __init__(self, path: Path, on_stop: Callable[[], None]) -> None:
        self._path = path
        self._on_stop = on_stop
        self._orders: Orders = {}
        self._lock = threading.Lock()
        self._report = Report("Preparing")
        self._observers: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)

    def __enter__(self) -> Self:
        self._path.unlink(missing_ok=True)
        self._listener.bind(str(self._path))
        self._listener.listen()
        threading.Thread(target=self._accept, name="control", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._path.unlink(missing_ok=True)
        # To close a socket does not wake the thread that waits on it; to shut it down does.
        _shut(self._listener)
        self._listener.close()
        with self._lock:
            for client in self._observers:
                _shut(client)
            self._observers.clear()

    def take(self, orders: Orders) -> None:
        """Take these orders from now on; each returns its answer, or None, and raises GuestFailed."""
        self._orders = orders

    def publish(self, report: Report) -> None:
        """Say it to every observer, and to those to come; on return the present ones have been sent it."""
        with self._lock:
            before = self._report
            self._report = replace(
                before, state=report.state, reason=report.reason, message=report.message, since=report.since
            )
            self._tell()

    def tell_agent(self, *, connected: bool) -> None:
        """Say that the agent inside the guest has come, or gone; the rest is as it was."""
        with self._lock:
            self._report = replace(self._report, agent=connected)
            self._tell()

    def tell_console(self, said: bool, tail: str) -> None:
        """Say what the console has said of what is awaited; the rest is as it was."""
        with self._lock:
            self._report = replace(self._report, said=said, tail=tail)
            self._tell()

    def tell_plugs(self, plugged: Mapping[str, str], troubles: Mapping[str, str]) -> None:
        """Say what has come since the guest started; the rest is as it was."""
        with self._lock:
            self._report = replace(self._report, plugged=plugged, troubles=troubles)
            self._tell()

    def tell_sizes(self, sizes: Mapping[str, int], small: Mapping[str, str]) -> None:
        """Say how large disks are, and why some are smaller than their claims promise; the rest is as it was."""
        with self._lock:
            self._report = replace(self._report, sizes=sizes, small=small)
            self._tell()

    def tell_boots(self, boots: Mapping[str, str]) -> None:
        """Say what the guest begins with; the rest is as it was."""
        with self._lock:
            self._report = replace(self._report, boots=boots)
            self._tell()

    def _tell(self) -> None:
        text = self._report.to_text()
        self._observers[:] = [client for client in self._observers if _sent(client, text)]

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            client.settimeout(None)
            threading.Thread(target=self._serve, args=(client,), name="control-client", daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError):
            for line, file in _lines(client):
                try:
                    self._answer(client, line, file)
                finally:
                    if file is not None:
                        os.close(file)
        with self._lock:
            if client in self._observers:
                self._observers.remove(client)
            client.close()

    def _answer(self, client: socket.socket, line: bytes, file: int | None) -> None:
        verb, wishes = _said(line)
        if file is not None:
            wishes = {**wishes, "file": file}
        match verb:
            case "observe":
                with self._lock:
                    if _sent(client, self._report.to_text()):
                        self._observers.append(client)
            case "stop":
                self._on_stop()
            case _:
                answer = self._obeyed(verb, wishes)
                with self._lock:
                    _sent(client, json.dumps(answer))

    def _obeyed(self, verb: str, wishes: Mapping[str, object]) -> Mapping[str, object]:
        order = self._orders.get(verb)
        if order is None:
            known = ", ".join(["observe", "stop", *self._orders])
            return {"error": f"unknown request {verb!r}: expected one of {known}"}
        try:
            said = order(**wishes)
        except (GuestFailed, TypeError, ValueError) as failure:
            return {"error": str(failure)}
        return {"done": verb} if said is None else {"done": verb, "said": said}


def _said(line: bytes) -> tuple[str, Mapping[str, object]]:
    try:
        said = json.loads(line)
    except ValueError:
        return "", {}
    if not isinstance(said, dict):
        return "", {}
    wishes = said.get("with")
    return str(said.get("do", "")), wishes if isinstance(wishes, dict) else {}


def _lines(client: socket.socket) -> Iterator[tuple[bytes, int | None]]:
    """Each line, and the open file that came with it."""
    rest, files = b"", list[int]()
    while len(rest) <= LINE_LIMIT:
        chunk, got, _, _ = socket.recv_fds(client, LINE_LIMIT, 1)
        files += got
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line, files.pop(0) if files else None
        if not chunk:
            break
    for file in files:
        os.close(file)


def _sent(client: socket.socket, text: str) -> bool:
    try:
        client.settimeout(SEND_TIMEOUT)
        client.sendall(text.encode() + b"\n")
        client.settimeout(None)
    except OSError:
        return False
    return True


def _shut(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
