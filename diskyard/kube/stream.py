"""A WebSocket of an API server joined with a socket of this machine: bytes both ways, until one side ends."""

import socket
import threading
from contextlib import suppress
from typing import Final

import websocket
from websocket import WebSocket

CHUNK: Final = 64 << 10


def join(near: socket.socket, stream: WebSocket) -> None:
    """Carry bytes until one side ends; both are closed then. Blocks."""
    stream.settimeout(None)
    with near, suppress(OSError, websocket.WebSocketException):
        threading.Thread(target=_show, args=(stream, near), name="stream-out", daemon=True).start()
        try:
            while chunk := near.recv(CHUNK):
                stream.send_binary(chunk)
        finally:
            stream.close(timeout=1)


def plain(stream: WebSocket) -> socket.socket:
    """The stream as a socket, for the caller to close; a message on one side is one on the other."""
    ours, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
    threading.Thread(target=join, args=(theirs, stream), name="stream", daemon=True).start()
    return ours


def _show(stream: WebSocket, near: socket.socket) -> None:
    with suppress(OSError, websocket.WebSocketException):
        while chunk := stream.recv():
            near.sendall(chunk if isinstance(chunk, bytes) else chunk.encode())
    with suppress(OSError):
        near.shutdown(socket.SHUT_RDWR)
