"""Disks: which file or device, on which bus, in which order, how cached."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count

from lxml.builder import E
from lxml.etree import _Element as Element

from diskyard.api.instance import Disk, Instance, part, targets
from diskyard.api.meta import Obj
from diskyard.api.rules.disks import PCI, SECTOR
from diskyard.errors import InvalidRequest
from vm_runtime.domain.threads import NO_THREADS, Threads, threads


@dataclass(frozen=True)
class Backing:
    """What lies behind a volume. Its format is never guessed from what a guest wrote: only what we make is qcow2."""

    path: str
    block: bool = False
    direct: bool = False
    """O_DIRECT works there."""
    preallocated: bool = False
    """It is to keep all its blocks."""
    filled: bool = False
    """It has all its blocks, so that nothing written there waits for new ones."""
    sealed: bool = False
    """Nobody writes to it: a disc that we made, or an image that others read too."""
    format: str = "raw"
    over: "Backing | None" = None
    """What it lies over: read from there what was not written here."""
    sectors: tuple[int, int] = (0, 0)
    """Bytes that it reads and writes at least, and those that it does at once; 0: not known."""
    small: str = ""
    """Why it is smaller than its claim promises."""


def disks(instance: Instance, backings: Mapping[str, Backing]) -> Iterator[Element]:
    """The disks in their order. Raises InvalidRequest where a wish does not fit what lies behind."""
    names, shared = targets(instance.disks), threads(instance)
    for each in _in_turn(instance):
        behind = backings.get(each.name)
        yield disk(each, behind, names[each.name], shared) if behind else _empty(each, names[each.name])


def _in_turn(instance: Instance) -> Iterator[Disk]:
    """The disks; where one of them has a bootOrder, those without come behind, but discs do not.

    The firmware looks at nothing that has no order as soon as one has. An installer with `bootOrder: 1` would then
    never hand over to the disk that it has written.
    """
    ordered = any(each.boot_order for each in instance.disks)
    taken = [
        *(each.boot_order or 0 for each in instance.disks),
        *(each.boot_order or 0 for each in instance.interfaces),
    ]
    later = count(max(taken, default=0) + 1)
    for each in instance.disks:
        behind = ordered and not each.boot_order and each.device != "cdrom"
        yield replace(each, boot_order=next(later)) if behind else each


def disk(wanted: Disk, backing: Backing, target: str, shared: Threads = NO_THREADS) -> Element:
    """One disk, to be seen as `target`."""
    if wanted.device == "lun" and not backing.block:
        raise InvalidRequest(
            f"disk {wanted.name} is a lun, which passes SCSI commands to a block device, and its claim is a "
            "file system: give the claim volumeMode Block, or make it a disk"
        )
    found: Element = E.disk(
        E.driver(**_driver(wanted, backing), **shared.driver(wanted)),
        E.source(dev=backing.path) if backing.block else E.source(file=backing.path),
        E.target(**_target(wanted, target)),
        E.alias(name=f"ua-{wanted.name}"),
        type="block" if backing.block else "file",
        device=wanted.device,
    )
    sizes = _block_sizes(wanted, backing)
    if sizes:
        found.append(E.blockio(**sizes))
    if backing.format != "raw":
        found.insert(2, _lower(backing.over))
    if wanted.readonly or (backing.sealed and wanted.bus != "sata"):  # qemu refuses such SATA disks
        found.append(E.readonly())
    if wanted.shareable:
        found.append(E.shareable())
    if wanted.serial and wanted.device != "lun":
        found.append(E.serial(wanted.serial))
    if address := PCI.fullmatch(wanted.slot):
        found.append(E.address(type="pci", **_address(address)))
    if wanted.boot_order:
        found.append(E.boot(order=str(wanted.boot_order)))
    return found


def plug(wanted: Disk, backing: Backing, target: str, shared: Threads = NO_THREADS) -> Element:
    """One disk that comes while the guest runs, when no override is looked at.

    The size of the pieces that it gives back is therefore said as libvirt says it; 9.0 does not yet, and drops it.
    """
    found = disk(wanted, backing, target, shared)
    blockio, size = found.find("blockio"), part(wanted.block_size, "custom").get("discardGranularity")
    if size and blockio is not None:
        blockio.set("discard_granularity", str(size))
    return found


def _address(found: re.Match[str]) -> dict[str, str]:
    parts = zip(("domain", "bus", "slot", "function"), found.groups(), strict=True)
    return {name: f"0x{digits.lower()}" for name, digits in parts}


def _empty(drive: Disk, target: str) -> Element:
    """A drive without a disc: what is said of its cache fits whatever will be in it, so nothing is."""
    found: Element = E.disk(
        E.driver(name="qemu", type="raw"),
        E.target(**_target(drive, target)),
        E.readonly(),
        E.alias(name=f"ua-{drive.name}"),
        type="file",
        device=drive.device,
    )
    if drive.boot_order:
        found.append(E.boot(order=str(drive.boot_order)))
    return found


def _lower(backing: Backing | None) -> Element:
    """What the overlay lies over, said outright: libvirt then looks into no header. Nothing: the end of the chain."""
    found: Element = E.backingStore()
    if backing:
        found.set("type", "block" if backing.block else "file")
        found.append(E.format(type=backing.format))
        found.append(E.source(dev=backing.path) if backing.block else E.source(file=backing.path))
    return found


def _driver(wanted: Disk, backing: Backing) -> dict[str, str]:
    cache = _cache(wanted, backing)
    driver = {"name": "qemu", "type": backing.format, "cache": cache}
    native = cache == "none" and (backing.block or backing.filled)
    if wanted.io or native:
        driver["io"] = wanted.io or "native"
    driver["error_policy"] = wanted.error_policy or "stop"
    if wanted.device != "cdrom" and not backing.preallocated and not backing.sealed:
        driver["discard"] = "unmap"
    return driver


def _cache(wanted: Disk, backing: Backing) -> str:
    if wanted.shareable and wanted.cache not in ("", "none"):
        raise InvalidRequest(
            f"a sharable disk requires cache = none got: {wanted.cache} (disk {wanted.name})"
        )
    wish = wanted.cache or ("none" if backing.direct or wanted.shareable else "writethrough")
    if wish == "none" and not backing.direct:
        raise InvalidRequest(
            f"Unable to use 'none' cache mode, file system where {backing.path} is stored does not support "
            f"direct I/O (disk {wanted.name})"
        )
    return wish


def _block_sizes(wanted: Disk, backing: Backing) -> dict[str, str]:
    named = {"logical": "logical_block_size", "physical": "physical_block_size"}
    said = part(wanted.block_size, "custom") or _matched(wanted, backing)
    return {called: str(said[name]) for name, called in named.items() if said.get(name)}


def _matched(wanted: Disk, backing: Backing) -> Obj:
    """The sizes of what lies behind, where the disk is to have them. Raises InvalidRequest."""
    match = part(wanted.block_size, "matchVolume")
    logical, physical = backing.sectors
    if wanted.block_size.get("matchVolume") is None or match.get("enabled") is False or not logical:
        return {}
    if wanted.bus == "sata" and logical != SECTOR:
        raise InvalidRequest(
            f"disk {wanted.name} is to match its volume, whose logical size is {logical}: it must be {SECTOR} for "
            "SATA devices. Give the disk bus virtio or scsi"
        )
    return {"logical": logical, "physical": physical}


def _target(wanted: Disk, name: str) -> dict[str, str]:
    target = {"dev": name, "bus": wanted.bus}
    return {**target, "tray": wanted.tray} if wanted.tray else target
