"""networkInterfaceMultiqueue: as many queues of a network card as the guest has processors. Pure."""

from typing import Final

from diskyard.api.instance import Instance, Interface

MOST: Final = 256
"""What the kernel gives a tap device (drivers/net/tun.c, MAX_TAP_QUEUES)."""


def queues(instance: Instance, interface: Interface) -> int:
    """Of a card on a network of its own; one in user mode has one."""
    many = instance.devices.get("networkInterfaceMultiqueue") is True and interface.model == "virtio"
    return min(instance.cpu.count, MOST) if many else 1
