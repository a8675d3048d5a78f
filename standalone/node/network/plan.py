"""Names and addresses of the pods' network: found again by whoever knows the yard's directory. Pure."""

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv4Interface, IPv4Network, NetmaskValueError
from pathlib import Path
from typing import Final

from diskyard.errors import InvalidRequest, Refused
from vm_runtime.network.routes import Route, overlapped

POOLS: Final = (IPv4Network("10.64.0.0/10"), IPv4Network("172.16.0.0/12"), IPv4Network("192.168.0.0/16"))
"""Where a network is looked for that overlaps none of the machine's."""
PREFIX: Final = 22
LEAST: Final = 28
"""The longest prefix that still has room for some guests."""
OPTION: Final = "--guest-network"


@dataclass(frozen=True)
class Plan:
    """One yard's network."""

    yard: str
    """What its names have in common: five hexadecimal digits."""
    subnet: IPv4Network
    mtu: int = 1500

    @property
    def bridge(self) -> str:
        """The device that all pods meet on."""
        return f"dy-{self.yard}"

    @property
    def table(self) -> str:
        """Of nftables."""
        return f"diskyard_{self.yard}"

    @property
    def mark(self) -> str:
        """The comment on rules that we put into others' chains."""
        return f"diskyard {self.yard}"

    @property
    def gateway(self) -> IPv4Interface:
        """The bridge's own address."""
        return IPv4Interface((self.subnet[1], self.subnet.prefixlen))

    def namespace(self, uid: str) -> str:
        """The network namespace of a pod."""
        return f"{self.bridge}-{_short(uid)}"

    def cable(self, uid: str) -> str:
        """The host's end of a pod's cable; 15 letters are the most that a device has."""
        return f"dy{self.yard}{_short(uid)}"

    def cable_to(self, namespace: str) -> str:
        """The same, by the namespace that it leads to."""
        return f"dy{self.yard}{namespace.rpartition('-')[2]}"

    def mac(self, uid: str) -> str:
        """The address of a pod's interface."""
        digest = hashlib.sha256(f"{self.yard}/{uid}".encode()).digest()
        return ":".join(f"{byte:02x}" for byte in (0x02, *digest[:5]))

    def address(self, uid: str, taken: Iterable[str]) -> str:
        """A pod's address, which no other has. Raises Refused."""
        room = self.subnet.num_addresses - 3  # the network's, the bridge's, the broadcast's
        used = frozenset(taken)
        first = int.from_bytes(hashlib.sha256(uid.encode()).digest()[:4], "big")
        for step in range(room):
            found = str(self.subnet[2 + (first + step) % room])
            if found not in used:
                return found
        raise Refused(f"all {room} addresses of {self.subnet} are taken: choose a larger one with {OPTION}")


def yard(directory: Path) -> str:
    """What tells the names of one data directory's network from those of others."""
    return hashlib.sha256(str(directory).encode()).hexdigest()[:5]


def parsed(text: str) -> IPv4Network:
    """A network that a user has chosen. Raises InvalidRequest."""
    try:
        found = IPv4Network(text)
    except (AddressValueError, NetmaskValueError, ValueError) as wrong:
        raise InvalidRequest(f"{OPTION} {text!r} is no IPv4 network such as 10.99.0.0/22: {wrong}") from wrong
    if found.prefixlen > LEAST:
        raise InvalidRequest(f"{OPTION} {text} has no room for guests: /{LEAST} is the least")
    return found


def chosen(wanted: IPv4Network, routes: Iterable[Route]) -> IPv4Network:
    """A user's choice. Raises Refused where it is taken."""
    other = overlapped(wanted, routes)
    if other:
        raise Refused(
            f"{OPTION} {wanted} overlaps {other.network} of {other.device}: choose another that nothing here uses"
        )
    return wanted


def free(name: str, routes: Iterable[Route]) -> IPv4Network:
    """A network that the machine has no route into; for one name the same, while it is free. Raises Refused."""
    known = tuple(routes)
    for pool in POOLS:
        for found in _from(name, pool):
            if overlapped(found, known) is None:
                return found
    raise Refused(f"every private network is routed somewhere here: choose one for guests with {OPTION}")


def routes(shown: Iterable[dict[str, object]], own: str) -> tuple[Route, ...]:
    """The machine's routes, of what `ip -json route show table all` says; `own`: the bridge whose do not count."""
    return tuple(_routes(shown, own))


def _routes(shown: Iterable[dict[str, object]], own: str) -> Iterator[Route]:
    for each in shown:
        said, device = str(each.get("dst") or ""), str(each.get("dev") or "")
        if said in ("", "default") or device in ("lo", own) or ":" in said:
            continue
        if each.get("type") in ("broadcast", "multicast", "local"):
            continue
        yield Route(IPv4Network(said, strict=False), device)


def servers(resolv: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """IPv4 name servers that can be reached from elsewhere than this machine, and search domains, of a resolv.conf."""
    found: list[str] = []
    searches: tuple[str, ...] = ()
    for line in resolv.splitlines():
        match line.split():
            case ["nameserver", address] if not address.startswith(("127.", "0.")):
                with suppress(ValueError):  # IPv6, or no address: passed over, as the C library does
                    found.append(str(IPv4Address(address)))
            case ["search" | "domain", *names]:
                searches = tuple(name for name in names if name != ".")
    return tuple(found), searches


def _from(name: str, pool: IPv4Network) -> Iterator[IPv4Network]:
    count = 1 << (PREFIX - pool.prefixlen)
    first = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
    for step in range(count):
        start = int(pool.network_address) + ((first + step) % count << (32 - PREFIX))
        yield IPv4Network((start, PREFIX))


def _short(uid: str) -> str:
    return hashlib.sha256(uid.encode()).hexdigest()[:8]
