"""Where a machine goes already: what a guest's own network would hide from that guest. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Final

TABLE: Final = Path("/proc/net/route")
MOST: Final = 100
"""Routes that a node tells of."""


@dataclass(frozen=True)
class Route:
    """Where a machine goes by which device."""

    network: IPv4Network
    device: str

    def __str__(self) -> str:
        return f"{self.network} {self.device}"


def routes(table: str) -> tuple[Route, ...]:
    """What /proc/net/route says, without the default route."""
    return tuple(found for line in table.splitlines()[1:] if (found := _route(line)).network.prefixlen)


def text(known: Iterable[Route]) -> str:
    """As a node tells of them."""
    return ",".join(str(each) for each in tuple(known)[:MOST])


def from_text(told: str) -> tuple[Route, ...]:
    """What a node has told; what is no route of ours is left out."""
    found = []
    for each in told.split(",")[:MOST]:
        network, _, device = each.partition(" ")
        try:
            found.append(Route(IPv4Network(network), device))
        except ValueError:
            continue
    return tuple(found)


def overlapped(network: IPv4Network, known: Iterable[Route]) -> Route | None:
    """The first of the machine's networks that a network overlaps; the default route is none."""
    return next((each for each in known if each.network.prefixlen and each.network.overlaps(network)), None)


def _route(line: str) -> Route:
    device, destination, *rest = line.split()
    return Route(IPv4Network((_address(destination), str(_address(rest[5]))), strict=False), device)


def _address(number: str) -> IPv4Address:
    # The kernel prints the number as it lies in memory (net/ipv4/fib_trie.c, fib_route_seq_show).
    return IPv4Address(int.from_bytes(bytes.fromhex(number), "little"))
