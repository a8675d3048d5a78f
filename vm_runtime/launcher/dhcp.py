"""Answers the guest's DHCP questions on its bridge, for as long as it lives. A question that fails is forgotten."""

import socket
import threading
from typing import Final, Self

from diskyard import log
from diskyard.errors import GuestFailed
from vm_runtime.network import dhcp
from vm_runtime.network.plan import BRIDGE_DEVICE, Lease

_log = log.logger("launcher")

WAKE: Final = 1.0
"""Seconds between two looks at whether it is over."""


class DhcpServer:
    """A thread with a socket."""

    def __init__(self, lease: Lease, device: str = BRIDGE_DEVICE, port: int = dhcp.SERVER_PORT) -> None:
        self._lease = lease
        self._closed = threading.Event()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode() + b"\0")
            self._socket.bind(("", port))
        except OSError as failure:
            self._socket.close()
            raise GuestFailed(
                f"nobody can answer the guest's DHCP on {device}: {failure.strerror}"
            ) from failure
        self._socket.settimeout(WAKE)
        self._thread = threading.Thread(target=self._serve, name="dhcp", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while not self._closed.is_set():
            try:
                packet, _ = self._socket.recvfrom(dhcp.LONGEST + 1)
                self._answer(packet)
            except TimeoutError:
                continue
            except OSError as failure:
                _log.warning("a DHCP question had no answer", error=failure)
                self._closed.wait(WAKE)

    def _answer(self, packet: bytes) -> None:
        asked = dhcp.question(packet)
        answer = dhcp.answer(asked, self._lease) if asked else None
        if asked and answer:
            self._socket.sendto(answer, (dhcp.receiver(asked), dhcp.CLIENT_PORT))
