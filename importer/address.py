"""Which addresses a transfer may connect to: decided on the address itself, right before it is connected to.

A user's own URL may name a private or loopback address: that is normal in a data centre. What nobody means is
refused unless the operator allows it: the services that hand out a machine's credentials, link-local, multicast
and unspecified addresses; and, once a public server is part of the chain, a redirect to any address that is not
public. A name is resolved once for each connection, and what was checked is what is connected to.
"""

import ipaddress
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from diskyard.api.names import cdi
from diskyard.errors import InvalidRequest, SourceUnavailable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_METADATA: Final[dict[str, str]] = {
    "169.254.169.254": "a metadata service's (most clouds)",
    "169.254.170.2": "a metadata service's (AWS, containers)",
    "169.254.0.23": "a metadata service's (Tencent)",
    "fd00:ec2::254": "a metadata service's (AWS)",
    "fd20:ce::254": "a metadata service's (Google)",
    "100.100.100.200": "a metadata service's (Alibaba)",
    "192.0.0.192": "a metadata service's (Oracle)",
    "168.63.129.16": "a metadata service's (Azure)",
}
_HOLDING_IPV4: Final = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("::/96"))
"""NAT64 (RFC 6052) and IPv4-compatible (RFC 4291): an IPv4 address in the last 32 bits."""
_THIS_NETWORK: Final = ipaddress.IPv4Network("0.0.0.0/8")
"""RFC 1122: Linux takes 0.0.0.0 for itself."""


@dataclass(frozen=True)
class Policy:
    """What is allowed beyond the rules, and whether a public server has had a say in where we go."""

    allowed: tuple[Network, ...] = ()
    led: bool = False
    """Whether a public server has sent us here: only public addresses follow."""


USUAL: Final = Policy()


def networks(text: str) -> tuple[Network, ...]:
    """`10.0.0.0/8, fd00::/8` as networks; an address alone is a network of one. Raises InvalidRequest."""
    try:
        return tuple(ipaddress.ip_network(part, strict=False) for part in text.replace(",", " ").split())
    except ValueError as error:
        raise InvalidRequest(
            f"allowed addresses must look like '169.254.10.0/24, fd00::/8', found {text[:100]!r}: {error}"
        ) from error


def permitted(address: Address, policy: Policy = USUAL) -> str:
    """Why an address may not be connected to; empty where it may."""
    address = _inner(address)
    if any(address in network for network in policy.allowed):
        return ""
    kind = _never(address)
    if not kind and policy.led and not public(address):
        kind = "not public, and a public server has sent us there"
    return kind


def public(address: Address) -> bool:
    """Whether all of the internet means the same by an address."""
    address = _inner(address)
    return address.is_global and not (isinstance(address, ipaddress.IPv6Address) and address.is_site_local)


def connected(host: str, port: int, policy: Policy, timeout: float) -> socket.socket:
    """A connection to the first address of a host that is permitted and answers.

    Raises InvalidRequest where none is permitted, OSError where none answers.
    """
    failure = OSError(f"{host} has no address")
    for place in _permitted_places(host, port, policy):
        try:
            return _connected(place, timeout)
        except OSError as error:
            failure = error
    raise failure


def peer(sock: socket.socket) -> Address:
    """The address at the other end."""
    return _address(sock.getpeername())


def check(url: str, policy: Policy = USUAL) -> None:
    """Nothing where every address of a URL's host may be connected to.

    For libraries that connect by themselves (boto3, google-auth). Raises InvalidRequest, SourceUnavailable.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        places = _resolved(host, parts.port or (443 if parts.scheme == "https" else 80))
    except OSError as error:
        raise SourceUnavailable(f"cannot reach {host}: no such host ({error.strerror})") from error
    for address in (_address(place.sockaddr) for place in places):
        if permitted(address, policy):
            raise _refusal(host, address, policy)


def check_literal(host: str, policy: Policy) -> None:
    """Nothing unless a host is written as an address that may not be connected to.

    For a host that a proxy will resolve: more cannot be known of it here. Raises InvalidRequest.
    """
    for address in _literal(host):
        if permitted(address, policy):
            raise _refusal(host, address, policy)


def within(host: str, text: str) -> bool:
    """Whether a host is written as an address of the network that a text says."""
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return any(address in network for address in _literal(host))


@dataclass(frozen=True)
class _Place:
    """One address of a host, as `socket` wants it."""

    family: int
    sockaddr: tuple[Any, ...]


def _permitted_places(host: str, port: int, policy: Policy) -> list[_Place]:
    places = _resolved(host, port)
    allowed = [place for place in places if not permitted(_address(place.sockaddr), policy)]
    if not allowed:
        raise _refusal(host, _address(places[0].sockaddr), policy)
    return allowed


def _resolved(host: str, port: int) -> list[_Place]:
    """Where a host is, in the order in which to try. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [_Place(family, sockaddr) for family, _, _, _, sockaddr in found]


def _connected(place: _Place, timeout: float) -> socket.socket:
    with ExitStack() as broken:
        sock = broken.enter_context(socket.socket(place.family, socket.SOCK_STREAM))
        sock.settimeout(timeout)
        sock.connect(place.sockaddr)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        broken.pop_all()
    return sock


def _address(sockaddr: tuple[Any, ...]) -> Address:
    """The address alone, without an interface's name."""
    return ipaddress.ip_address(str(sockaddr[0]).partition("%")[0])


def _literal(host: str) -> Iterator[Address]:
    try:
        yield ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return


def _refusal(host: str, address: Address, policy: Policy) -> InvalidRequest:
    where = f"{host} has the address {address}, which" if host != str(address) else f"the address {address}"
    return InvalidRequest(
        f"{where} is {permitted(address, policy)}: such addresses are not connected to. Correct the URL, or have the "
        f"operator allow it: {cdi.ALLOW_ADDRESSES}={_inner(address)} as an annotation of the CDIConfig, or "
        "--allow-addresses on the command line"
    )


def _never(address: Address) -> str:
    if str(address) in _METADATA:
        return _METADATA[str(address)]
    if address.is_link_local:
        return "link-local"
    if address.is_multicast:
        return "a multicast address"
    if address.is_unspecified or address in _THIS_NETWORK:
        return "no host's (unspecified)"
    if isinstance(address, ipaddress.IPv4Address) and address.is_reserved:
        return "reserved or broadcast"
    return ""


def _inner(address: Address) -> Address:
    """The IPv4 address that an IPv6 address stands for: mapped, NAT64 or 6to4; else the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped or address.sixtofour:
        return address.ipv4_mapped or address.sixtofour or address
    if any(address in network for network in _HOLDING_IPV4) and int(address) & 0xFFFFFFFF > 1:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address
