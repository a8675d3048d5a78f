"""The network that a guest has behind its pod."""

from ipaddress import IPv4Network
from typing import Final

from diskyard.api.names.kubevirt import VM_NETWORK
from diskyard.errors import InvalidRequest

LONGEST: Final = 30
"""The longest prefix that has room for a gateway and a guest."""


def inner(text: str) -> IPv4Network:
    """What a vmNetworkCIDR says; empty: the usual one. Raises InvalidRequest."""
    try:
        found = IPv4Network(text or VM_NETWORK, strict=False)
    except ValueError as wrong:
        raise InvalidRequest(f"{text[:64]!r} is no IPv4 network such as {VM_NETWORK}: {wrong}") from wrong
    if found.prefixlen > LONGEST:
        raise InvalidRequest(f"{found} has no room for a gateway and a guest: /{LONGEST} is the least")
    return found
