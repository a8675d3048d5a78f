"""What libvirt 9 has no word for, said to qemu of a device that libvirt makes.

Format: https://libvirt.org/drvqemu.html#overriding-properties-of-qemu-devices.
"""

from collections.abc import Iterator
from typing import Final

from lxml.builder import ElementMaker
from lxml.etree import _Element as Element

from diskyard.api.instance import Instance, part

NAMESPACE: Final = "http://libvirt.org/schemas/domain/qemu/1.0"
_Q: Final = ElementMaker(namespace=NAMESPACE, nsmap={"qemu": NAMESPACE})


def overrides(instance: Instance) -> Iterator[Element]:
    """The size of the pieces that a guest gives back of its disks (an attribute of `blockio` since libvirt 11)."""
    found = [
        _Q.device(
            _Q.frontend(_Q.property(name="discard_granularity", type="unsigned", value=str(size))),
            alias=f"ua-{each.name}",
        )
        for each in instance.disks
        if (size := part(each.block_size, "custom").get("discardGranularity"))
    ]
    if found:
        yield _Q.override(*found)
