"""Admission of an instance's disks. The texts are KubeVirt's, where it has one. Pure."""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from diskyard.api.instance import CLAIM_KINDS, DEVICES, device, part, parts
from diskyard.api.meta import Obj
from diskyard.errors import Cause

MOST: Final = 256
"""Characters of a serial number."""
SECTOR: Final = 512
LARGEST_SECTOR: Final = 2097152
BUSES: Final = ("virtio", "scsi", "sata", "usb")
CACHES: Final = ("none", "writethrough", "writeback")
IO_MODES: Final = ("native", "threads")
ERROR_POLICIES: Final = ("stop", "ignore", "report", "enospace")

LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
LABEL_TEXT: Final = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
    "with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
PCI: Final = re.compile(r"([0-9a-fA-F]{4}):([0-9a-fA-F]{2}):([0-9a-fA-F]{2})\.([0-7])")
"""Domain, bus, slot and function of a device."""

_SERIAL: Final = re.compile(r"[A-Za-z0-9_.+-]+")


def disk_causes(spec: Obj, at: str) -> Iterator[Cause]:
    """What is wrong with the disks of the spec at the path `at`."""
    path = f"{at}.domain.devices.disks"
    devices = part(part(spec, "domain"), "devices")
    disks = parts(devices, "disks")
    volumes = {str(each.get("name")): each for each in parts(spec, "volumes")}
    yield from duplicates(disks, path)
    yield from boot_orders(devices, at)
    for number, disk in enumerate(disks):
        place = f"{path}[{number}]"
        yield from misnamed(disk, place)
        yield from _target(disk, place)
        yield from _serial(disk, place)
        yield from _choices(disk, place)
        yield from _block_size(disk, place)
        yield from _volume(disk, volumes, place)


def duplicates(entries: Sequence[Obj], path: str) -> Iterator[Cause]:
    """Names that two entries share."""
    first: dict[str, int] = {}
    for number, each in enumerate(entries):
        other = first.setdefault(str(each.get("name")), number)
        if other != number:
            text = f"{path}[{other}] and {path}[{number}] must not have the same Name."
            yield Cause(text, f"{path}[{number}].name", "FieldValueDuplicate")


def boot_orders(devices: Obj, at: str) -> Iterator[Cause]:
    """Boot orders of disks and interfaces: each above zero, no two alike."""
    seen: set[int] = set()
    for kind in ("disks", "interfaces"):
        for number, each in enumerate(parts(devices, kind)):
            order = each.get("bootOrder")
            field = f"{at}.domain.devices.{kind}[{number}].bootOrder"
            if order is None:
                continue
            if not isinstance(order, int) or order < 1:
                yield Cause(f"{field} must have a boot order > 0, if supplied", field)
            elif order in seen:
                yield Cause(f"Boot order for {field} already set for a different device.", field)
            else:
                seen.add(order)


def misnamed(entry: Obj, place: str) -> Iterator[Cause]:
    """A name that is no DNS label."""
    if not LABEL.fullmatch(str(entry.get("name") or "")):
        yield Cause(LABEL_TEXT, f"{place}.name")


def _target(disk: Obj, place: str) -> Iterator[Cause]:
    kinds = [kind for kind in DEVICES if disk.get(kind) is not None]
    if len(kinds) > 1:
        yield Cause(f"{place} can only have a single target type defined", place)
        return
    kind = kinds[0] if kinds else "disk"
    target = part(disk, kind)
    bus, field = str(target.get("bus") or ""), f"{place}.{kind}.bus"
    if bus == "ide":
        yield Cause("IDE bus is not supported", field)
    elif bus and bus not in BUSES:
        text = f"{field} is set with an unrecognized bus {bus}, must be one of: [{' '.join(BUSES)}]"
        yield Cause(text, field)
    elif bus == "virtio" and kind == "cdrom":
        yield Cause("Bus type virtio is invalid for CD-ROM device", field)
    elif bus == "sata" and kind == "disk" and target.get("readonly"):
        yield Cause("sata hard-disks do not support read-only.", field)
    elif bus in ("sata", "usb", "virtio") and kind == "lun":
        # qemu passes SCSI commands through its SCSI controller alone.
        yield Cause(f"a lun is only possible with bus scsi, found {bus}", field)
    slot = str(target.get("pciAddress") or "")
    if slot and bus != "virtio":
        text = f"disk {place} - setting a PCI address is only possible with bus type virtio."
        yield Cause(text, f"{place}.{kind}.pciAddress")
    elif slot and not PCI.fullmatch(slot):
        text = f"disk {place} has malformed PCI address ({slot[:64]}): expected one such as 0000:00:0a.0"
        yield Cause(text, f"{place}.{kind}.pciAddress")
    if disk.get("dedicatedIOThread") and bus in ("sata", "usb"):
        yield Cause(f"IOThreads are not supported for disks on a {bus} bus", f"{place}.dedicatedIOThread")


def _serial(disk: Obj, place: str) -> Iterator[Cause]:
    serial, field = str(disk.get("serial") or ""), f"{place}.serial"
    if not serial:
        return
    if len(serial) > MOST:
        yield Cause(f"{field} must be less than or equal to {MOST} in length, if specified", field)
    if not _SERIAL.fullmatch(serial):
        text = f"{field} must be made up of the following characters [A-Za-z0-9_.+-], if specified"
        yield Cause(text, field)
    if disk.get("lun") is not None:
        yield Cause(f"{field} cannot be set for a lun: it shows the serial number of its device", field)


def _choices(disk: Obj, place: str) -> Iterator[Cause]:
    cache, io, policy = (str(disk.get(name) or "") for name in ("cache", "io", "errorPolicy"))
    if cache and cache not in CACHES:
        yield Cause(f"{place}.cache has invalid value {cache}", f"{place}.cache")
    if io and io not in IO_MODES:
        text = f"Disk IO mode for {place}.io is not supported. Supported modes are: native, threads."
        yield Cause(text, f"{place}.io")
    if io == "native" and cache in ("writethrough", "writeback"):
        yield Cause(f"{place}.io native needs cache none, found {cache}", f"{place}.io")
    if policy and policy not in ERROR_POLICIES:
        yield Cause(f'{place}.errorPolicy has invalid value "{policy}"', f"{place}.errorPolicy")
    if disk.get("shareable") and cache not in ("", "none"):
        yield Cause(f"a sharable disk requires cache = none got: {cache}", f"{place}.cache")


def _block_size(disk: Obj, place: str) -> Iterator[Cause]:
    said, at = part(disk, "blockSize"), f"{place}.blockSize"
    custom = part(said, "custom")
    if not custom:
        return
    if part(said, "matchVolume").get("enabled") is not False and said.get("matchVolume") is not None:
        yield Cause("Block size matching can't be enabled together with a custom value", f"{at}.custom")
    sizes = {name: custom.get(name) for name in ("logical", "physical")}
    for name, size in sizes.items():
        if not isinstance(size, int) or not SECTOR <= size <= LARGEST_SECTOR or size & (size - 1):
            text = (
                f"{at}.custom.{name} must be a power of two from {SECTOR} to {LARGEST_SECTOR}, found {size}"
            )
            yield Cause(text, f"{at}.custom.{name}")
            return
    logical, physical = int(str(sizes["logical"])), int(str(sizes["physical"]))
    if logical > physical:
        text = f"Logical size {logical} must be the same or less than the physical size of {physical}"
        yield Cause(text, f"{at}.custom.logical")
    if part(disk, device(disk)).get("bus") == "sata" and logical != SECTOR:
        yield Cause(f"Logical size {logical} must be 512 for SATA devices", f"{at}.custom.logical")
    granularity = custom.get("discardGranularity")
    if granularity is not None and (not isinstance(granularity, int) or granularity % logical):
        text = f"Discard granularity {granularity} must be multiples of logical size {logical}"
        yield Cause(text, f"{at}.custom.discardGranularity")


def _volume(disk: Obj, volumes: dict[str, Obj], place: str) -> Iterator[Cause]:
    volume = volumes.get(str(disk.get("name")))
    if volume is None:
        if disk.get("cdrom") is None:  # a drive may be empty
            yield Cause(f"{place}.Name '{disk.get('name')}' not found.", f"{place}.name")
    elif disk.get("lun") is not None and not any(volume.get(kind) is not None for kind in CLAIM_KINDS):
        text = f"{place}.lun can only be mapped to a DataVolume or PersistentVolumeClaim volume."
        yield Cause(text, f"{place}.lun")
    elif part(volume, "persistentVolumeClaim").get("readOnly") and not _reads_only(disk):
        text = (
            f"{place} is on a claim that is only read: it must be a cdrom, or readonly on bus virtio or scsi"
        )
        yield Cause(text, place)


def _reads_only(disk: Obj) -> bool:
    return disk.get("cdrom") is not None or bool(part(disk, device(disk)).get("readonly"))
