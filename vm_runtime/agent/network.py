"""The privileged half of a guest's network: in its pod's namespace, before its launcher looks for it.

Made from nothing each time, so that a node that died in the midst begins again; the namespace takes it all along.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from diskyard.api.instance import Instance
from diskyard.api.names.kubevirt import QEMU_UID
from diskyard.errors import Passing
from vm_runtime.agent import links
from vm_runtime.network.plan import BRIDGE_DEVICE, POD_NIC, TAP, Connection, Lease, Plan, plan
from vm_runtime.network.rules import rules

Connections = Callable[[str], Connection | None]
"""The network of the pod with that uid; None: the host's, so that its guest reaches out in user mode."""

BRIDGE_MAC: Final = "02:00:00:00:00:00"


@dataclass(frozen=True)
class Networking:
    """Whether guests get a network of their own here, and why (not), as a sentence."""

    own: bool
    reason: str


USER_MODE: Final = Networking(own=False, reason="this node makes no networks")


def unconnected(_: str) -> None:
    """No pod has a network of its own."""


def wire(instance: Instance, connection: Connection) -> Lease | None:
    """Make the guest's end of its pod's network; what DHCP is to say. Raises Refused, Passing."""
    if not instance.interfaces:
        return None
    planned = plan(instance, instance.interfaces[0], connection)
    _make(planned)
    return planned.lease


def _make(planned: Plan) -> None:
    connection = planned.connection
    inside, mtu = connection.namespace, connection.mtu
    queued = " multi_queue" if planned.queues > 1 else ""
    for device in (TAP, BRIDGE_DEVICE):
        with suppress(Passing):  # of an earlier try
            links.ip("link", "delete", device, namespace=inside)
    links.batch(
        (
            f"link add {BRIDGE_DEVICE} type bridge stp_state 0 forward_delay 0",
            f"link set {BRIDGE_DEVICE} address {BRIDGE_MAC} mtu {mtu}",
            f"address add {planned.gateway} dev {BRIDGE_DEVICE}",
            f"tuntap add dev {TAP} mode tap user {QEMU_UID} group {QEMU_UID}{queued}",
            f"link set {TAP} mtu {mtu} master {BRIDGE_DEVICE}",
            f"link set {TAP} up",
            f"link set {BRIDGE_DEVICE} up",
            *(_bridged() if planned.bridged else ()),
        ),
        inside,
    )
    links.write(
        {
            "ipv4/ip_forward": "1",
            f"ipv4/conf/{BRIDGE_DEVICE}/route_localnet": "1",
            # The launcher, which has no capability, answers DHCP on port 67.
            "ipv4/ip_unprivileged_port_start": "0",
        },
        inside,
    )
    links.nft(rules(planned), inside)


def _bridged() -> tuple[str, ...]:
    """The pod's interface gives up its address: the guest has it now."""
    return (f"address flush dev {POD_NIC}", f"link set {POD_NIC} master {BRIDGE_DEVICE}")
