"""A port of this machine that leads to one of a pod, through the API server: what `kubectl port-forward` does."""

import socket
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from typing import Final

import websocket

from diskyard.errors import ApiError
from diskyard.kube.http import HttpClient
from diskyard.web.websocket import CHANNELS

_LOOPBACK: Final = "127.0.0.1"
_CHUNK: Final = 64 << 10
"""Bytes of a message."""
_BYTES, _FAILURE = 0, 1
"""The channels of the one port."""
_LEAVING: Final = 5.0


class Tunnel:
    """Listens until closed; each connection is one of its own to the pod that there is then."""

    def __init__(self, api: HttpClient, path: Callable[[], str]) -> None:
        """`path`: the pod's `portforward`, with the port. It may raise ApiError."""
        self.failure = ""
        """Why the last connection came to nothing."""
        self._api = api
        self._path = path
        self._changing = threading.Lock()
        self._ends: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listening = socket.create_server((_LOOPBACK, 0))
        self.port = int(self._listening.getsockname()[1])
        self._begin(self._serve)

    def close(self) -> None:
        """End what there is, and take nobody in any more."""
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        with self._changing:
            for each in self._ends:
                _end(each)
            threads = tuple(self._threads)
        for thread in threads:
            thread.join(_LEAVING)
        self._listening.close()

    def _begin(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, name="tunnel", daemon=True)
        with self._changing:
            self._threads = [each for each in self._threads if each.is_alive()]
            self._threads.append(thread)
            thread.start()

    def _serve(self) -> None:
        while True:
            try:
                came, _ = self._listening.accept()
            except OSError:
                return
            self._begin(partial(self._joined, came))

    def _joined(self, came: socket.socket) -> None:
        """Carry a connection there and back, until one side ends."""
        with came, suppress(OSError, websocket.WebSocketException):
            try:
                there = self._api.stream(self._path(), CHANNELS)
            except ApiError as error:
                self.failure = str(error)
                return
            with closing(there):
                there.settimeout(None)
                ends = {came, *([there.sock] if there.sock else [])}
                with self._changing:
                    self._ends |= ends
                try:
                    self._begin(partial(_up, came, there))
                    self._down(there, came)
                finally:
                    with self._changing:
                        self._ends -= ends
                    _end(came)

    def _down(self, there: websocket.WebSocket, came: socket.socket) -> None:
        """What the pod says. The first message of each channel is the port's number."""
        begun = set()
        while isinstance(message := there.recv(), bytes) and message:
            channel = message[0]
            if channel not in begun:
                begun.add(channel)
            elif channel == _BYTES:
                came.sendall(message[1:])
            elif channel == _FAILURE:
                self.failure = message[1:].decode(errors="replace")
                return


def _up(came: socket.socket, there: websocket.WebSocket) -> None:
    with suppress(OSError, websocket.WebSocketException):
        while piece := came.recv(_CHUNK):
            there.send_binary(bytes([_BYTES]) + piece)
    _end(there.sock)


def _end(sock: socket.socket | None) -> None:
    """Have both ends of it know, and whoever reads it here."""
    if sock is not None:
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
