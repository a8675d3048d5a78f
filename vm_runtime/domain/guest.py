"""The whole domain: from an instance and its host's facts to libvirt's XML. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from lxml import etree
from lxml.builder import E

from diskyard.api.instance import Instance, part
from diskyard.api.names import derived
from diskyard.errors import GuestFailed
from vm_runtime.domain import (
    clock,
    cpu,
    device,
    disk,
    features,
    firmware,
    interface,
    memory,
    override,
    threads,
)
from vm_runtime.domain.disk import Backing
from vm_runtime.domain.firmware import Kernel, Uefi


@dataclass(frozen=True)
class Host:
    """What the domain's place gives it."""

    accelerated: bool
    """KVM works here; otherwise the guest is emulated."""
    private_dir: str
    """Where the sockets of this guest are."""
    backings: Mapping[str, Backing]
    """What lies behind each volume, by the volume's name."""
    uefi: Uefi | None = None
    """For a guest that boots by it."""
    kernel: Kernel | None = None
    """For a guest that begins with one."""
    mtu: int = 0
    """Of the network that the pod has; 0: it has none, and the guest reaches out in user mode."""


def domain(instance: Instance, host: Host) -> str:
    """The domain's XML. Format: https://libvirt.org/formatdomain.html."""
    root = E.domain(
        E.name(derived.domain(instance.namespace, instance.name)),
        E.uuid(instance.firmware_uuid),
        E.memory(str(instance.memory), unit="b"),
        *memory.backing(instance),
        *cpu.processors(instance.cpu, accelerated=host.accelerated),
        *threads.iothreads(instance),
        *firmware.firmware(instance, host.uefi, host.kernel),
        features.features(part(instance.domain, "features"), accelerated=host.accelerated),
        *clock.clock(part(instance.domain, "clock")),
        E.on_poweroff("destroy"),
        E.on_reboot("destroy" if instance.domain.get("rebootPolicy") == "Terminate" else "restart"),
        E.on_crash("destroy"),
        E.devices(
            *device.controllers(instance),
            *disk.disks(instance, host.backings),
            *interface.interfaces(instance, host.mtu),
            *device.devices(instance, host.private_dir),
        ),
        *override.overrides(instance),
        type="kvm" if host.accelerated else "qemu",
    )
    return etree.tostring(root, pretty_print=True, encoding="unicode")


def drive(xml: str, name: str, path: str = "", *, block: bool = False) -> tuple[str, str]:
    """A domain's disc drive with that disc in it (none: empty), and what it is called there.

    All else is as it was: libvirt changes nothing of a drive but what lies in it. Raises GuestFailed.
    """
    for found in etree.fromstring(xml).iterfind("devices/disk[@device='cdrom']"):
        alias, target = found.find("alias"), found.find("target")
        if alias is None or target is None or alias.get("name") != f"ua-{name}":
            continue
        for gone in (*found.findall("source"), *found.findall("backingStore")):
            found.remove(gone)
        if "tray" in target.attrib:
            del target.attrib["tray"]
        if path:
            found.append(E.source(dev=path) if block else E.source(file=path))
        found.set("type", "block" if path and block else "file")
        return etree.tostring(found, encoding="unicode"), target.get("dev", "")
    raise GuestFailed(f"the guest has no disc drive {name}: it gets one when it is started again")


def target_of(xml: str, name: str) -> str:
    """What the disk that the instance calls `name` is called in a domain; empty: it has none."""
    for found in etree.fromstring(xml).iterfind("devices/disk"):
        alias, target = found.find("alias"), found.find("target")
        if alias is not None and target is not None and alias.get("name") == f"ua-{name}":
            return str(target.get("dev", ""))
    return ""


def devices_of(xml: str) -> set[str]:
    """What the disks of a domain are called in it: `vda` ..."""
    return {each.get("dev", "") for each in etree.fromstring(xml).iterfind("devices/disk/target")}


def aliases(xml: str) -> dict[str, str]:
    """What the instance calls the disks and interfaces of a domain, as `block.N.alias` and `net.N.alias`."""
    devices = etree.fromstring(xml).find("devices")
    found = {}
    for place, tag in (("block", "disk"), ("net", "interface")):
        for number, each in enumerate(devices.iterfind(tag) if devices is not None else ()):
            alias = each.find("alias")
            if alias is not None:
                found[f"{place}.{number}.alias"] = alias.get("name", "").removeprefix("ua-")
    return found
