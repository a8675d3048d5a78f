"""Network interfaces: on a device that the node's agent made, or in user mode, which needs no privilege."""

from collections.abc import Iterator

from lxml.builder import E
from lxml.etree import _Element as Element

from diskyard.api.instance import Instance, mac
from diskyard.api.queues import queues
from vm_runtime.network.plan import TAP


def interfaces(instance: Instance, mtu: int = 0) -> Iterator[Element]:
    """The interfaces in their order; `mtu`: of the device that they are on, 0 for user mode."""
    for each in instance.interfaces:
        found = E.interface(
            E.mac(address=mac(instance, each)),
            *((E.target(dev=TAP, managed="no"),) if mtu else ()),
            E.model(type=each.model),
            *((E.driver(queues=str(count)),) if mtu and (count := queues(instance, each)) > 1 else ()),
            *((E.mtu(size=str(mtu)),) if mtu else ()),
            E.alias(name=f"ua-{each.name}"),
            type="ethernet" if mtu else "user",
        )
        if each.boot_order:
            found.append(E.boot(order=str(each.boot_order)))
        else:
            found.append(E.rom(enabled="no"))
        yield found
