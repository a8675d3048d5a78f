"""The ports of guests, as streams: `portforward/PORT[/PROTOCOL]` of machines and instances."""

import socket
from collections.abc import Sequence
from typing import Final

from diskyard.api import meta
from diskyard.api.meta import Obj
from diskyard.errors import BadRequest, ServerError

PORTFORWARD: Final = "portforward"
PATIENCE: Final = 5.0
"""Seconds that a guest has to take a connection."""
_KINDS: Final = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}


def connected(instance: Obj, tail: Sequence[str]) -> socket.socket:
    """A connection to the port that a path ends with, for the caller to close. Raises BadRequest, ServerError."""
    number, protocol = _port(tail)
    address = _address(instance)
    try:
        if protocol == "tcp":
            found = socket.create_connection((address, number), PATIENCE)
        else:
            found = socket.socket(socket.AF_INET, _KINDS[protocol])
            found.connect((address, number))
    except OSError as error:
        raise ServerError(
            f"dialing VM: dial {protocol} {address}:{number}: {error.strerror or error}: does something listen there "
            "in the guest, and do the `ports` of its interface lead to it?"
        ) from error
    return found


def _port(tail: Sequence[str]) -> tuple[int, str]:
    if len(tail) not in (1, 2):
        raise BadRequest("expected portforward/PORT or portforward/PORT/PROTOCOL")
    protocol = tail[1].lower() if len(tail) > 1 else "tcp"
    if protocol not in _KINDS:
        raise BadRequest(f"expected protocol tcp or udp, found {tail[1][:16]!r}")
    if not (tail[0].isascii() and tail[0].isdecimal() and len(tail[0]) <= 5 and 0 < int(tail[0]) < 65536):
        raise BadRequest(f"expected a port from 1 to 65535, found {tail[0][:16]!r}")
    return int(tail[0]), protocol


def _address(instance: Obj) -> str:
    interfaces = meta.status(instance).get("interfaces") or ()
    found = next((str(each["ipAddress"]) for each in interfaces if each.get("ipAddress")), "")
    if not found:
        user_mode = meta.condition(instance, "UserModeNetworking") or {}
        why = user_mode.get("message") or "it has no interface on the pod network"
        raise BadRequest(f"the guest has no address at which its ports can be reached: {why}")
    return found
