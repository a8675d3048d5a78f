"""Network interfaces: user-mode networking, the one kind that needs no privilege on the host."""

from collections.abc import Iterator

from lxml.builder import E
from lxml.etree import _Element as Element

from diskyard.api.instance import Instance, mac


def interfaces(instance: Instance) -> Iterator[Element]:
    """The interfaces in their order."""
    for each in instance.interfaces:
        found = E.interface(
            E.mac(address=mac(instance, each)),
            E.model(type=each.model),
            E.alias(name=f"ua-{each.name}"),
            type="user",
        )
        if each.boot_order:
            found.append(E.boot(order=str(each.boot_order)))
        else:
            found.append(E.rom(enabled="no"))
        yield found
