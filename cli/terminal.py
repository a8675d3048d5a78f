"""A guest's console in this terminal: keys as they are typed, until Ctrl-] or the guest's end."""

import os
import select
import sys
import termios
import threading
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO, Final

if TYPE_CHECKING:
    from websocket import WebSocket

LEAVE: Final = b"\x1d"
"""Ctrl-]."""


def joined(stream: "WebSocket") -> int:
    """Carry bytes both ways; 0 once the user has left, or the guest has ended."""
    keys, out = sys.stdin.fileno(), sys.stdout.buffer
    ended, end = os.pipe()
    stream.settimeout(None)
    listener = threading.Thread(target=_show, args=(stream, out, end), daemon=True)
    with _raw(keys):
        listener.start()
        while True:
            ready, _, _ = select.select([keys, ended], [], [])
            if ended in ready:
                break
            typed = os.read(keys, 4096)
            before, left, _ = typed.partition(LEAVE)
            if before:
                stream.send_binary(before)
            if left or not typed:
                break
    stream.close(timeout=1)
    return 0


def _show(stream: "WebSocket", out: BinaryIO, end: int) -> None:
    import websocket

    with suppress(websocket.WebSocketException, OSError):
        while chunk := stream.recv():
            out.write(chunk if isinstance(chunk, bytes) else chunk.encode())
            out.flush()
    os.close(end)


@contextmanager
def _raw(terminal: int) -> Iterator[None]:
    """Keys come one by one and are not shown, where there is a terminal."""
    if not os.isatty(terminal):
        yield
        return
    before = termios.tcgetattr(terminal)
    tty.setraw(terminal, termios.TCSADRAIN)  # what has been typed already is kept
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
