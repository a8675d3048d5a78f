"""Firmware: machine type, BIOS, and what the guest reads about itself in SMBIOS."""

from collections.abc import Iterator

from lxml.builder import E
from lxml.etree import _Element as Element

from diskyard.api.instance import Instance


def firmware(instance: Instance) -> Iterator[Element]:
    """`<sysinfo>`, `<os>` and `<features>`."""
    yield _sysinfo(instance)
    system = E.os(E.type("hvm", arch="x86_64", machine=instance.machine), E.smbios(mode="sysinfo"))
    if instance.bios_serial:
        system.append(E.bios(useserial="yes"))
    yield system
    yield E.features(E.acpi(), E.vmport(state="off"))


def _sysinfo(instance: Instance) -> Element:
    said = {
        "uuid": instance.firmware_uuid,
        "serial": instance.firmware_serial,
        "manufacturer": "KubeVirt",
        "family": "KubeVirt",
        "product": "None",
        "sku": "",
        "version": "",
    }
    entries = [E.entry(text, name=name) for name, text in said.items() if text or name != "serial"]
    found: Element = E.sysinfo(E.system(*entries), type="smbios")
    return found
