"""Admission of a guest's board: firmware, clock, features. The texts are KubeVirt's, where it has one. Pure."""

import re
from collections.abc import Iterator
from typing import Any, Final

from diskyard.api.instance import part, parts
from diskyard.api.kernelboot import container
from diskyard.api.meta import Obj
from diskyard.errors import Cause

REBOOTS: Final = ("Reboot", "Terminate")
SOUNDS: Final = ("ich9", "ac97")
POLICIES: Final = ("force", "require", "optional", "disable", "forbid")
"""What may be said of a processor's feature."""
INPUT_BUSES: Final = ("virtio", "usb")
VIDEOS: Final = ("vga", "cirrus", "virtio", "ramfb", "bochs")
WATCHDOGS: Final = ("poweroff", "reset", "shutdown")
PANICS: Final = ("isa", "hyperv")
IO_POLICIES: Final = ("shared", "auto")
TICKS: Final = {
    "rtc": ("delay", "catchup"),
    "pit": ("delay", "catchup", "discard"),
    "hpet": ("delay", "catchup", "merge", "discard"),
}
"""Timer -> what it may do with ticks that are late."""
TRACKS: Final = ("guest", "wall")
SPINS: Final = 4096
"""Tries that a spin lock has at least."""
VENDOR: Final = 12

_NO_XML: Final = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 has no way to write (section 2.2)."""
_FEATURE: Final = re.compile(r"[a-zA-Z0-9_.-]+")
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_ZONE: Final = re.compile(r"[A-Za-z0-9_+-]{1,32}(/[A-Za-z0-9_+-]{1,32}){0,3}")


def board_causes(spec: Obj, at: str) -> Iterator[Cause]:
    """What is wrong with the board of the spec at the path `at`."""
    domain, place = part(spec, "domain"), f"{at}.domain"
    yield from _characters(domain, place)
    yield from _cpu_features(part(domain, "cpu"), f"{place}.cpu")
    yield from _small_devices(part(domain, "devices"), f"{place}.devices")
    yield from _firmware(domain, f"{place}.firmware")
    yield from _kernel(domain, f"{place}.firmware.kernelBoot")
    yield from _clock(part(domain, "clock"), f"{place}.clock")
    yield from _hyperv(part(part(domain, "features"), "hyperv"), f"{place}.features.hyperv")
    yield from _among(domain.get("rebootPolicy"), REBOOTS, f"{place}.rebootPolicy")
    if domain.get("ioThreadsPolicy") not in (None, *IO_POLICIES):
        text = (
            f"Invalid IOThreadsPolicy ({domain['ioThreadsPolicy']}): expected one of {', '.join(IO_POLICIES)}"
        )
        yield Cause(text, f"{place}.ioThreadsPolicy")
    devices = part(domain, "devices")
    yield from _among(part(devices, "sound").get("model"), SOUNDS, f"{place}.devices.sound.model")
    for number, each in enumerate(parts(devices, "panicDevices")):
        yield from _among(each.get("model"), PANICS, f"{place}.devices.panicDevices[{number}].model")


def _characters(value: Any, at: str) -> Iterator[Cause]:
    """The domain is told to libvirt as XML, which has no way to write some characters."""
    match value:
        case dict():
            for name, each in value.items():
                yield from _characters(each, f"{at}.{name}")
        case list():
            for number, each in enumerate(value):
                yield from _characters(each, f"{at}[{number}]")
        case str() if found := _NO_XML.search(value):
            yield Cause(f"{at} holds the character {found[0]!a}: expected text that people can read", at)


def _cpu_features(cpu: Obj, at: str) -> Iterator[Cause]:
    for number, each in enumerate(parts(cpu, "features")):
        name, policy = str(each.get("name") or ""), str(each.get("policy") or "require")
        if not _FEATURE.fullmatch(name):
            text = f"{at}.features[{number}].name '{name[:64]}' is no name such as vmx or tsc-deadline"
            yield Cause(text, f"{at}.features[{number}].name")
        if policy not in POLICIES:
            text = f"CPU feature {name[:64]} uses policy {policy[:64]} that is not supported."
            yield Cause(text, f"{at}.features[{number}].policy")


def _small_devices(devices: Obj, at: str) -> Iterator[Cause]:
    for number, each in enumerate(parts(devices, "inputs")):
        place = f"{at}.inputs[{number}]"
        if each.get("bus") not in (None, "", *INPUT_BUSES):
            yield Cause("Input device can have only virtio or usb bus.", f"{place}.bus")
        if each.get("type") not in (None, "", "tablet"):
            yield Cause("Input device can have only tablet type.", f"{place}.type")
    yield from _among(part(devices, "video").get("type"), VIDEOS, f"{at}.video.type")
    watchdog = part(devices, "watchdog")
    if watchdog and not isinstance(watchdog.get("i6300esb"), dict):
        yield Cause(f"{at}.watchdog must be an i6300esb: no other is there on amd64", f"{at}.watchdog")
    action = part(watchdog, "i6300esb").get("action")
    yield from _among(action, WATCHDOGS, f"{at}.watchdog.i6300esb.action")


def _firmware(domain: Obj, at: str) -> Iterator[Cause]:
    firmware = part(domain, "firmware")
    uuid = str(firmware.get("uuid") or "")
    if uuid and not _UUID.fullmatch(uuid):
        yield Cause(f"{at}.uuid '{uuid[:64]}' is not a UUID", f"{at}.uuid")
    bootloader = part(firmware, "bootloader")
    if bootloader.get("efi") is None:
        return
    if bootloader.get("bios") is not None:
        text = f"{at}.bootloader has both EFI and BIOS configured, but they are mutually exclusive."
        yield Cause(text, f"{at}.bootloader")
    smm = part(domain, "features").get("smm")
    enabled = smm is not None and part(part(domain, "features"), "smm").get("enabled") is not False
    if part(bootloader, "efi").get("secureBoot") is not False and not enabled:
        field = f"{at}.bootloader.efi"
        text = f"{field} has EFI SecureBoot enabled. SecureBoot requires SMM, which is currently disabled."
        yield Cause(text, field)


def _kernel(domain: Obj, at: str) -> Iterator[Cause]:
    boot, said = part(part(domain, "firmware"), "kernelBoot"), container(domain)
    if boot.get("kernelArgs") and not said.get("kernelPath"):
        text = "kernel arguments cannot be provided without an external kernel"
        yield Cause(text, f"{at}.kernelArgs")
    if boot.get("container") is None:
        return
    field = f"{at}.container"
    if not said.get("image"):
        yield Cause(f"{field} must be defined with an image", f"{field}.image", "FieldValueRequired")
    if not said.get("kernelPath") and not said.get("initrdPath"):
        text = f"{field} must be defined with at least one of the following: kernelPath, initrdPath"
        yield Cause(text, field, "FieldValueRequired")
    elif not said.get("kernelPath"):
        yield Cause(
            f"{field}.initrdPath needs a kernelPath beside it", f"{field}.kernelPath", "FieldValueRequired"
        )
    for name in ("kernelPath", "initrdPath"):
        path = str(said.get(name) or "/-")
        if not path.startswith("/") or path.endswith("/") or {"", ".", ".."} & set(path[1:].split("/")):
            text = f"{field}.{name} must be an absolute path to a file without relative components"
            yield Cause(text, f"{field}.{name}")


def _clock(clock: Obj, at: str) -> Iterator[Cause]:
    zone = str(clock.get("timezone") or "")
    if zone and clock.get("utc") is not None:
        yield Cause(f"{at} has both utc and timezone: expected one", at)
    if zone and not _ZONE.fullmatch(zone):
        yield Cause(f"{at}.timezone '{zone[:64]}' is no name such as Europe/Berlin", f"{at}.timezone")
    offset = part(clock, "utc").get("offsetSeconds")
    if offset is not None and not isinstance(offset, int):
        yield Cause(f"{at}.utc.offsetSeconds must be a whole number", f"{at}.utc.offsetSeconds")
    timers = part(clock, "timer")
    for name, ticks in TICKS.items():
        timer, place = part(timers, name), f"{at}.timer.{name}"
        yield from _among(timer.get("tickPolicy"), ticks, f"{place}.tickPolicy")
        yield from _among(timer.get("track"), TRACKS, f"{place}.track")


def _hyperv(said: Obj, at: str) -> Iterator[Cause]:
    tries = part(said, "spinlocks").get("spinlocks")
    if tries is not None and (not isinstance(tries, int) or tries < SPINS):
        yield Cause(
            f"{at}.spinlocks.spinlocks must be {SPINS} at least, found {tries}", f"{at}.spinlocks.spinlocks"
        )
    if said.get("vendorid") is not None and part(said, "vendorid").get("enabled") is not False:
        vendor, field = str(part(said, "vendorid").get("vendorid") or ""), f"{at}.vendorid.vendorid"
        if not vendor or len(vendor) > VENDOR or "," in vendor or not vendor.isascii():
            yield Cause(f"{field} must have 1 to {VENDOR} characters of ASCII and no comma", field)


def _among(said: object, known: tuple[str, ...], field: str) -> Iterator[Cause]:
    if said not in (None, "") and said not in known:
        text = f"{field} has invalid value '{str(said)[:64]}', allowed are {', '.join(known)}"
        yield Cause(text, field)
