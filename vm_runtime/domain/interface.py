"""Network interfaces: user-mode networking, the one kind that needs no privilege on the host."""

import hashlib
from collections.abc import Iterator

from lxml.builder import E
from lxml.etree import _Element as Element

from diskyard.api.instance import Instance, Interface


def interfaces(instance: Instance) -> Iterator[Element]:
    """The interfaces in their order."""
    for each in instance.interfaces:
        found = E.interface(
            E.mac(address=address(instance, each)),
            E.model(type=each.model),
            E.alias(name=f"ua-{each.name}"),
            type="user",
        )
        if each.boot_order:
            found.append(E.boot(order=str(each.boot_order)))
        else:
            found.append(E.rom(enabled="no"))
        yield found


def address(instance: Instance, interface: Interface) -> str:
    """The MAC address: as asked, else derived, so that a guest meets the same card at each start."""
    if interface.mac:
        return interface.mac.lower().replace("-", ":")
    digest = hashlib.sha256(f"{instance.firmware_uuid}/{interface.name}".encode()).digest()
    return ":".join(f"{byte:02x}" for byte in (0x02, *digest[:5]))
