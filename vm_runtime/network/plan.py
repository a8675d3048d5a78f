"""From a pod's network to its guest's: addresses, names of devices, and what DHCP will say. Pure."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from ipaddress import IPv4Address, IPv4Interface
from typing import Any, Final

from diskyard.api import instance as instances
from diskyard.api.instance import BRIDGE, Instance, Interface
from diskyard.api.queues import queues
from diskyard.api.subnet import inner
from diskyard.errors import Refused

POD_NIC: Final = "eth0"
BRIDGE_DEVICE: Final = "k6t-eth0"
TAP: Final = "tap0"
MOST_SERVERS: Final = 3
"""Name servers of a resolv.conf, as the C library reads it."""
MOST_SEARCHES: Final = 6
_LINK_LOCAL: Final = IPv4Interface("169.254.75.10/32")
"""The bridge's own address where it only carries the guest's frames (KubeVirt's)."""


@dataclass(frozen=True)
class Connection:
    """A pod's network, as its node made it."""

    namespace: str
    """The network namespace's name (`ip netns`)."""
    address: IPv4Interface
    gateway: IPv4Address
    mac: str
    """Of the pod's interface."""
    mtu: int
    nameservers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lease:
    """What the guest is told of its network."""

    mac: str
    """The only card that is answered."""
    address: str
    """With its prefix: `10.0.2.2/24`."""
    gateway: str
    server: str
    """Who answers."""
    mtu: int
    hostname: str
    nameservers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    boot_file: str = ""
    boot_server: str = ""
    time_servers: tuple[str, ...] = ()
    private: tuple[tuple[int, str], ...] = ()
    """Options 224 to 254, as the instance has them."""

    def to_text(self) -> str:
        """JSON, for the launcher."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_text(cls, text: str | bytes) -> "Lease":
        """What `to_text` said. Raises ValueError, TypeError, KeyError."""
        said = json.loads(text)
        lists: dict[str, Any] = {
            name: tuple(said[name]) for name in ("nameservers", "searches", "time_servers")
        }
        private = tuple((int(number), str(value)) for number, value in said["private"])
        return cls(**{**said, **lists, "private": private})


@dataclass(frozen=True)
class Plan:
    """All that is made for one guest in its pod's namespace."""

    connection: Connection
    bridged: bool
    """The guest has the pod's address itself; else it is behind it (masquerade)."""
    guest: IPv4Interface
    gateway: IPv4Interface
    """The bridge's address."""
    ports: tuple[tuple[str, int], ...]
    """(tcp or udp, number) that lead to the guest; empty: all of them."""
    lease: Lease
    queues: int = 1
    """Of the device that the guest's card is on."""


def plan(instance: Instance, interface: Interface, connection: Connection) -> Plan:
    """Raises Refused, which says what of the two networks does not fit."""
    bridged = interface.binding == BRIDGE
    guest, gateway = _bridged(connection) if bridged else _behind(interface, connection)
    options = interface.dhcp
    return Plan(
        connection,
        bridged,
        guest,
        gateway,
        interface.ports,
        Lease(
            mac=instances.mac(instance, interface),
            address=str(guest),
            gateway=str(connection.gateway if bridged else gateway.ip),
            server=str(gateway.ip),
            mtu=connection.mtu,
            hostname=instance.hostname,
            nameservers=connection.nameservers[:MOST_SERVERS],
            searches=connection.searches[:MOST_SEARCHES],
            boot_file=str(options.get("bootFileName") or ""),
            boot_server=str(options.get("tftpServerName") or ""),
            time_servers=tuple(str(each) for each in options.get("ntpServers") or ()),
            private=tuple(_private(options)),
        ),
        queues(instance, interface),
    )


def _behind(interface: Interface, connection: Connection) -> tuple[IPv4Interface, IPv4Interface]:
    network = inner(interface.cidr)
    if network.overlaps(connection.address.network):
        raise Refused(
            f"network {interface.name}: vmNetworkCIDR {network} overlaps {connection.address.network}, which the pods "
            "of this node have: choose another vmNetworkCIDR"
        )
    return IPv4Interface((network[2], network.prefixlen)), IPv4Interface((network[1], network.prefixlen))


def _bridged(connection: Connection) -> tuple[IPv4Interface, IPv4Interface]:
    return connection.address, _LINK_LOCAL


def _private(options: Mapping[str, Any]) -> list[tuple[int, str]]:
    return [
        (int(each.get("option") or 0), str(each.get("value") or ""))
        for each in options.get("privateOptions") or ()
    ]
