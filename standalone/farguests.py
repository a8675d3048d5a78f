"""The guests of another node, reached by way of the API server, which shows that node its own certificate."""

import socket
from typing import Any
from urllib.parse import quote

from diskyard.api.names import kubevirt
from diskyard.kube.http import HttpClient
from diskyard.kube.stream import plain
from standalone.wire.ports import Port


class FarGuests:
    """As standalone.nearguests gives those of this node."""

    def __init__(self, client: HttpClient, node: str) -> None:
        self._client = client
        self._root = f"/api/v1/nodes/{quote(node, safe='')}/proxy/guests"

    def order(self, pod: str, verb: str, **wishes: object) -> Any:
        """Have the launcher of the pod with that uid do something; its answer. Raises ApiError."""
        return self._client.order(f"{self._root}/{quote(pod)}/{quote(verb)}", dict(wishes)).get("said")

    def stream(self, pod: str, door: str) -> socket.socket:
        """A connection to the guest's console or screen, for the caller to close. Raises ApiError."""
        return self._opened(pod, door)

    def port(self, pod: str, port: Port) -> socket.socket:
        """A connection to one of the guest's ports, for the caller to close. Raises ApiError."""
        return self._opened(pod, f"portforward/{port.number}/{port.protocol}")

    def _opened(self, pod: str, rest: str) -> socket.socket:
        path = f"{self._root}/{quote(pod)}/{quote(rest)}"
        return plain(self._client.stream(path, kubevirt.STREAM_PROTOCOL))
