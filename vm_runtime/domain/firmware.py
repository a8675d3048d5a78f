"""Firmware: machine type, BIOS or UEFI, and what the guest reads about itself in SMBIOS."""

from collections.abc import Iterator
from dataclasses import dataclass

from lxml.builder import E
from lxml.etree import _Element as Element

from diskyard.api.instance import Instance, part


@dataclass(frozen=True)
class Uefi:
    """A build of UEFI, and the variables that a new guest begins with."""

    code: str
    variables: str
    kept: str
    """Where this guest's own variables are."""
    secure: bool


@dataclass(frozen=True)
class Kernel:
    """A kernel that the guest begins with, whatever is on its disks."""

    path: str
    initrd: str
    """Empty: none."""
    arguments: str


def firmware(instance: Instance, uefi: Uefi | None, kernel: Kernel | None = None) -> Iterator[Element]:
    """`<sysinfo>` and `<os>`."""
    yield _sysinfo(instance)
    system = E.os(E.type("hvm", arch="x86_64", machine=instance.machine))
    if uefi:
        secure = "yes" if uefi.secure else "no"
        system.append(E.loader(uefi.code, readonly="yes", secure=secure, type="pflash"))
        system.append(E.nvram(uefi.kept, template=uefi.variables))
    if kernel:
        named = {"kernel": kernel.path, "initrd": kernel.initrd, "cmdline": kernel.arguments}
        system.extend(E(name, text) for name, text in named.items() if text)
    system.append(E.smbios(mode="sysinfo"))
    if instance.begins_paused:
        system.append(E.bootmenu(enable="yes", timeout="10000"))
    if instance.bios_serial:
        system.append(E.bios(useserial="yes"))
    yield system


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
    chassis = part(instance.domain, "chassis")
    known = [name for name in ("manufacturer", "version", "serial", "asset", "sku") if chassis.get(name)]
    if known:
        found.append(E.chassis(*(E.entry(str(chassis[name]), name=name) for name in known)))
    return found
