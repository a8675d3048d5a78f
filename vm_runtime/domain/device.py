"""Everything else on the board: controllers, console, screen, channel, balloon, and the small devices."""

import re
from collections.abc import Iterator
from typing import Final

from lxml.builder import E
from lxml.etree import _Element as Element

from diskyard.api.instance import Instance, part, parts
from diskyard.api.meta import Obj
from diskyard.api.names import kubevirt
from diskyard.api.quantity import GIB

USB: Final = "usb"
_NAME: Final = re.compile(r"[a-zA-Z0-9_-]+")
SMALL: Final = 2 * GIB
"""Memory up to which a guest gets fewer slots."""
SLOTS: Final = {True: (8, 3), False: (16, 6)}
"""Of small guests and others: how many slots there are at least, and how many of them free (KubeVirt's "v3")."""


def controllers(instance: Instance) -> Iterator[Element]:
    """The controllers that the disks and inputs need, and those to which disks can come later."""
    if _needs_usb(instance):
        yield E.controller(type=USB, index="0", model="qemu-xhci")
    else:
        yield E.controller(type=USB, index="0", model="none")
    if _takes_more(instance) or any(disk.bus == "scsi" for disk in instance.disks):
        yield E.controller(type="scsi", index="0", model="virtio-scsi")
    yield E.controller(type="virtio-serial", index="0")
    if _takes_more(instance):
        least, free = SLOTS[instance.memory <= SMALL]
        for number in range(max(least, _slots(instance) + free)):
            yield E.controller(type="pci", index=str(number + 1), model="pcie-root-port")


def devices(instance: Instance, private_dir: str) -> Iterator[Element]:
    """What the guest has beside disks and interfaces; sockets are made in `private_dir`."""
    yield E.channel(
        E.source(mode="bind", path=f"{private_dir}/{kubevirt.AGENT_SOCKET}"),
        E.target(type="virtio", name="org.qemu.guest_agent.0"),
        type="unix",
    )
    yield from _console(instance, private_dir)
    yield from _inputs(instance)
    yield from _screen(instance, private_dir)
    yield from _sound(instance)
    yield from _watchdog(instance)
    if instance.keeps_tpm:
        yield E.tpm(E.backend(type="emulator", version="2.0", persistent_state="yes"), model="tpm-crb")
    elif instance.tpm:
        yield E.tpm(E.backend(type="emulator", version="2.0"), model="tpm-tis")
    for each in parts(instance.devices, "panicDevices"):
        yield E.panic(**({"model": str(each["model"])} if each.get("model") else {}))
    yield _balloon(instance)
    if instance.devices.get("rng") is not None:
        yield E.rng(E.backend("/dev/urandom", model="random"), model="virtio")


def _takes_more(instance: Instance) -> bool:
    return instance.devices.get("disableHotplug") is not True


def _slots(instance: Instance) -> int:
    """How many slots are taken from the start: never too few, for libvirt makes none for what comes later."""
    disks = sum(disk.bus == "virtio" for disk in instance.disks)
    controllers_and_balloon = 4
    older = 1  # a bridge for cards of the kind before PCI Express
    rng = instance.devices.get("rng") is not None
    return disks + len(instance.interfaces) + controllers_and_balloon + older + rng


def _needs_usb(instance: Instance) -> bool:
    inputs = parts(instance.devices, "inputs")
    return any(disk.bus == USB for disk in instance.disks) or any(
        each.get("bus", USB) == USB for each in inputs
    )


def _console(instance: Instance, private_dir: str) -> Iterator[Element]:
    """The serial port. Its one reader is the launcher, which also bounds what is kept of it."""
    if not instance.attached("autoattachSerialConsole"):
        return
    path = f"{private_dir}/{kubevirt.SERIAL_SOCKET}"
    source = {"mode": "bind", "path": path}
    yield E.serial(E.source(**source), E.target(type="isa-serial", port="0"), type="unix")
    yield E.console(E.source(**source), E.target(type="serial", port="0"), type="unix")


def _inputs(instance: Instance) -> Iterator[Element]:
    for each in parts(instance.devices, "inputs"):
        yield E.input(
            *_alias(each),
            type=str(each.get("type") or "tablet"),
            bus=str(each.get("bus") or USB),
        )


def _screen(instance: Instance, private_dir: str) -> Iterator[Element]:
    if not instance.attached("autoattachGraphicsDevice"):
        return
    yield E.graphics(E.listen(type="socket", socket=f"{private_dir}/{kubevirt.VNC_SOCKET}"), type="vnc")
    usual = "vga" if instance.efi is None else "bochs"  # UEFI needs none of what VGA kept from before
    model = str(part(instance.devices, "video").get("type") or usual)
    memory = {"vram": "16384"} if model in ("vga", "cirrus", "bochs") else {}
    yield E.video(E.model(type=model, heads="1", **memory))


def _sound(instance: Instance) -> Iterator[Element]:
    said = part(instance.devices, "sound")
    if said:
        yield E.sound(*_alias(said), model=str(said.get("model") or "ich9"))


def _watchdog(instance: Instance) -> Iterator[Element]:
    said = part(instance.devices, "watchdog")
    if said:
        action = part(said, "i6300esb").get("action") or "reset"
        yield E.watchdog(*_alias(said), model="i6300esb", action=str(action))


def _alias(said: Obj) -> Iterator[Element]:
    """How the instance calls a device; libvirt takes no other names than these."""
    name = str(said.get("name") or "")
    if _NAME.fullmatch(name):
        yield E.alias(name=f"ua-{name}")


def _balloon(instance: Instance) -> Element:
    found: Element
    if instance.attached("autoattachMemBalloon"):
        found = E.memballoon(E.stats(period="10"), model="virtio", freePageReporting="on")
    else:
        found = E.memballoon(model="none")
    return found
