"""DHCP for one guest: its questions parsed, its answers made (RFC 2131, 2132, 3397, 3442). Pure.

The guest is not trusted: a question is bounded and has to be its own; what is not understood has no answer.
"""

import socket
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface
from typing import Final

from vm_runtime.network.plan import Lease

SERVER_PORT: Final = 67
CLIENT_PORT: Final = 68
LONGEST: Final = 1500
"""Bytes of a question."""
LIFE: Final = 999 * 24 * 3600
"""Seconds: the address is the guest's for as long as it lives (KubeVirt's 999 days)."""
DISCOVER, OFFER, REQUEST, ACK, NAK, INFORM = 1, 2, 3, 5, 6, 8
SMALLEST: Final = 576
"""Bytes that every client takes; a client says more by option 57."""
_UDP: Final = 28
_COOKIE: Final = b"\x63\x82\x53\x63"
_HEADER: Final = struct.Struct("!BBBBIHH4s4s4s4s16s64s128s")
_NOBODY: Final = IPv4Address(0)


@dataclass(frozen=True)
class Question:
    """What a client asks."""

    kind: int
    transaction: int
    mac: str
    flags: int = 0
    client: IPv4Address = _NOBODY
    """The address that it already has."""
    wanted: IPv4Address | None = None
    server: IPv4Address | None = None
    """Whom it has chosen."""
    room: int = SMALLEST
    hardware: bytes = b""
    relay: bytes = bytes(4)
    options: Mapping[int, bytes] = field(default_factory=dict)


def question(packet: bytes) -> Question | None:
    """What a packet asks; None: nothing that we understand."""
    if not _HEADER.size + 4 < len(packet) <= LONGEST:
        return None
    (op, kind, length, _, transaction, _, flags, client, _, _, relay, hardware, _, _) = _HEADER.unpack_from(
        packet
    )
    if (op, kind, length) != (1, 1, 6) or packet[_HEADER.size : _HEADER.size + 4] != _COOKIE:
        return None
    said = dict(_options(packet[_HEADER.size + 4 :]))
    if len(said.get(53, b"")) != 1:
        return None
    room = int.from_bytes(said[57], "big") if len(said.get(57, b"")) == 2 else SMALLEST
    return Question(
        said[53][0],
        transaction,
        hardware[:6].hex(":"),
        flags,
        IPv4Address(client),
        _address(said, 50),
        _address(said, 54),
        min(max(room, SMALLEST), LONGEST),
        hardware,
        relay,
        said,
    )


def answer(asked: Question, lease: Lease) -> bytes | None:
    """What the guest is told; None: it is not our guest, or it asks for nothing that we give."""
    if asked.mac != lease.mac or asked.server not in (None, IPv4Address(lease.server)):
        return None
    mine = IPv4Interface(lease.address).ip
    match asked.kind:
        case 1:
            return _reply(asked, lease, OFFER, mine)
        case 3:
            named = asked.wanted or asked.client
            return _reply(asked, lease, ACK, mine) if named == mine else _reply(asked, lease, NAK, _NOBODY)
        case 8:
            return _reply(asked, lease, ACK, _NOBODY)
    return None


def receiver(asked: Question) -> str:
    """Where the answer goes: to the address that the client has, else to all (nothing else reaches it yet)."""
    return "255.255.255.255" if asked.client == _NOBODY else str(asked.client)


def _reply(asked: Question, lease: Lease, kind: int, address: IPv4Address) -> bytes:
    header = _HEADER.pack(
        2, 1, 6, 0, asked.transaction, 0, asked.flags, asked.client.packed, address.packed,
        IPv4Address(lease.server).packed if kind != NAK else bytes(4), asked.relay, asked.hardware,
        b"", b"",
    )  # fmt: skip
    said = _COOKIE + bytes((53, 1, kind, 54, 4)) + IPv4Address(lease.server).packed
    limit = asked.room - _UDP - len(header) - 1
    if kind != NAK:
        for number, value in _told(lease, timed=address != _NOBODY):
            if 0 < len(value) <= 255 and len(said) + 2 + len(value) <= limit:
                said += bytes((number, len(value))) + value
    return (header + said + b"\xff").ljust(300, b"\0")


def _told(lease: Lease, *, timed: bool) -> Iterator[tuple[int, bytes]]:
    """The options, the most needed first: what does not fit is left out from the end."""
    gateway = IPv4Address(lease.gateway)
    if timed:
        yield 51, LIFE.to_bytes(4, "big")
    yield 1, IPv4Interface(lease.address).network.netmask.packed
    yield 3, gateway.packed
    yield 121, b"\0" + gateway.packed  # who takes routes from here ignores option 3 (RFC 3442)
    yield 6, b"".join(IPv4Address(each).packed for each in lease.nameservers)
    yield 26, lease.mtu.to_bytes(2, "big")
    yield 12, lease.hostname.encode()[:63]
    if lease.searches:
        yield 15, lease.searches[0].encode()
    yield 119, b"".join(_name(each) for each in lease.searches)
    yield 42, b"".join(_addresses(lease.time_servers))
    yield 66, lease.boot_server.encode()
    yield 67, lease.boot_file.encode()
    yield from ((number, value.encode()) for number, value in lease.private if 224 <= number <= 254)


def _name(name: str) -> bytes:
    """A domain name as DNS writes it."""
    labels = [label.encode()[:63] for label in name.strip(".").split(".") if label]
    return b"".join(bytes((len(label),)) + label for label in labels) + b"\0"


def _addresses(names: tuple[str, ...]) -> Iterator[bytes]:
    for each in names:
        try:
            yield socket.inet_aton(each)
        except OSError:
            continue


def _options(rest: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(rest) and rest[at] != 255:
        if rest[at] == 0:
            at += 1
            continue
        if at + 1 >= len(rest):
            return
        end = at + 2 + rest[at + 1]
        if end > len(rest):
            return
        yield rest[at], rest[at + 2 : end]
        at = end


def _address(said: Mapping[int, bytes], number: int) -> IPv4Address | None:
    value = said.get(number, b"")
    return IPv4Address(value) if len(value) == 4 else None
