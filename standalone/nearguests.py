"""The guests of this node: orders, consoles and screens by its agent, ports at the addresses that it gave."""

import socket
from typing import Any

from diskyard.errors import Passing
from standalone.node.node import Node
from standalone.wire import ports
from standalone.wire.ports import Port
from vm_runtime.agent.doors import Doors


class NearGuests:
    """By the uid of their launcher's pod."""

    def __init__(self, node: Node, doors: Doors) -> None:
        self._node = node
        self._doors = doors

    def order(self, pod: str, verb: str, **wishes: object) -> Any:
        """Have the launcher do something; its answer. Raises GuestFailed, Passing."""
        return self._doors.order(pod, verb, **wishes)

    def stream(self, pod: str, door: str) -> socket.socket:
        """A connection to the guest's console or screen, for the caller to close. Raises Passing."""
        return self._doors.stream(pod, door)

    def port(self, pod: str, port: Port) -> socket.socket:
        """A connection to one of the guest's ports, for the caller to close. Raises ServerError, Passing."""
        known = self._node.connection(pod)
        if known is None:
            raise Passing("the guest has no address on its node")
        return ports.connected(str(known.address.ip), port)
