"""The ports of guests, as streams: `portforward/PORT[/PROTOCOL]` of machines and instances."""

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from diskyard.api import meta
from diskyard.api.meta import Obj
from diskyard.errors import BadRequest, ServerError

PORTFORWARD: Final = "portforward"
PATIENCE: Final = 5.0
"""Seconds that a guest has to take a connection."""
_KINDS: Final = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}


@dataclass(frozen=True)
class Port:
    """One of a guest's."""

    number: int
    protocol: str = "tcp"


def connected(address: str, port: Port) -> socket.socket:
    """A connection to it, for the caller to close. Raises ServerError."""
    place = (address, port.number)
    try:
        if port.protocol == "tcp":
            found = socket.create_connection(place, PATIENCE)
        else:
            found = socket.socket(socket.AF_INET, _KINDS[port.protocol])
            found.connect(place)
    except OSError as error:
        where = f"{port.protocol} {address}:{port.number}"
        raise ServerError(
            f"dialing VM: dial {where}: {error.strerror or error}: does something listen there in the guest, and do "
            "the `ports` of its interface lead to it?"
        ) from error
    return found


def wanted(tail: Sequence[str]) -> Port:
    """The port that a path ends with. Raises BadRequest."""
    if len(tail) not in (1, 2):
        raise BadRequest("expected portforward/PORT or portforward/PORT/PROTOCOL")
    protocol = tail[1].lower() if len(tail) > 1 else "tcp"
    if protocol not in _KINDS:
        raise BadRequest(f"expected protocol tcp or udp, found {tail[1][:16]!r}")
    if not (tail[0].isascii() and tail[0].isdecimal() and len(tail[0]) <= 5 and 0 < int(tail[0]) < 65536):
        raise BadRequest(f"expected a port from 1 to 65535, found {tail[0][:16]!r}")
    return Port(int(tail[0]), protocol)


def check_addressed(instance: Obj) -> None:
    """Whether its ports can be reached. Raises BadRequest."""
    interfaces = meta.status(instance).get("interfaces") or ()
    if not any(each.get("ipAddress") for each in interfaces):
        user_mode = meta.condition(instance, "UserModeNetworking") or {}
        why = user_mode.get("message") or "it has no interface on the pod network"
        raise BadRequest(f"the guest has no address at which its ports can be reached: {why}")
