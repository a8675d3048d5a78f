"""A guest's screen for the viewers of this machine: a port on its loopback, and behind it a stream for each viewer."""

import shutil
import socket
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from websocket import WebSocket

VIEWERS: Final = (("remote-viewer", "vnc://127.0.0.1:{port}"), ("vncviewer", "127.0.0.1::{port}"))
"""Programs that show screens, and how each is told where."""

Opened = Callable[[], "WebSocket"]


def served(port: int, opened: Opened) -> socket.socket:
    """Listens on that port (0: any free one), and joins whoever comes with a stream of its own; close it to end."""
    listening = socket.create_server(("127.0.0.1", port))
    threading.Thread(target=_take, args=(listening, opened), name="screen", daemon=True).start()
    return listening


def viewer(port: int) -> "subprocess.Popen[bytes] | None":
    """A viewer of this machine that looks at that port; None: there is none."""
    for program, place in VIEWERS:
        if shutil.which(program):
            return subprocess.Popen([program, place.format(port=port)])
    return None


def _take(listening: socket.socket, opened: Opened) -> None:
    with suppress(OSError):
        while True:
            came, _ = listening.accept()
            threading.Thread(target=_join, args=(came, opened), name="viewer", daemon=True).start()


def _join(came: socket.socket, opened: Opened) -> None:
    import websocket

    from diskyard.errors import ApiError
    from diskyard.kube.stream import join

    with came, suppress(OSError, websocket.WebSocketException, ApiError):
        join(came, opened())
