"""Admission of a guest's board: firmware, clock, features, block sizes; and what they bring along."""

from typing import Any

import pytest

from diskyard.api.rules import instance
from tests.api.asked import HERE, asked, disk, refused

FIRMWARE = "spec.domain.firmware.bootloader"
CLOCK = "spec.domain.clock"
SECTORS = {"logical": 512, "physical": 512}


@pytest.mark.parametrize(
    ("change", "field", "message"),
    [
        ({"domain.firmware": {"bootloader": {"efi": {"secureBoot": False}, "bios": {}}}}, FIRMWARE,
         f"{FIRMWARE} has both EFI and BIOS configured, but they are mutually exclusive."),
        ({"domain.firmware": {"bootloader": {"efi": {}}}}, f"{FIRMWARE}.efi",
         f"{FIRMWARE}.efi has EFI SecureBoot enabled. SecureBoot requires SMM, which is currently disabled."),
        ({"domain.clock": {"utc": {}, "timezone": "Europe/Berlin"}}, CLOCK,
         f"{CLOCK} has both utc and timezone: expected one"),
        ({"domain.clock": {"timezone": "../etc"}}, f"{CLOCK}.timezone",
         f"{CLOCK}.timezone '../etc' is no name such as Europe/Berlin"),
        ({"domain.clock": {"timer": {"pit": {"tickPolicy": "merge"}}}}, f"{CLOCK}.timer.pit.tickPolicy",
         f"{CLOCK}.timer.pit.tickPolicy has invalid value 'merge', allowed are delay, catchup, discard"),
        ({"domain.features": {"hyperv": {"spinlocks": {"spinlocks": 5}}}},
         "spec.domain.features.hyperv.spinlocks.spinlocks",
         "spec.domain.features.hyperv.spinlocks.spinlocks must be 4096 at least, found 5"),
        ({"domain.features": {"hyperv": {"vendorid": {"vendorid": "far too long a name"}}}},
         "spec.domain.features.hyperv.vendorid.vendorid",
         "spec.domain.features.hyperv.vendorid.vendorid must have 1 to 12 characters of ASCII and no comma"),
        ({"domain.cpu": {"features": [{"name": "a b"}]}}, "spec.domain.cpu.features[0].name",
         "spec.domain.cpu.features[0].name 'a b' is no name such as vmx or tsc-deadline"),
        ({"domain.cpu": {"features": [{"name": "vmx", "policy": "beg"}]}}, "spec.domain.cpu.features[0].policy",
         "CPU feature vmx uses policy beg that is not supported."),
        ({"domain.machine": {"type": "q35 evil"}}, "spec.domain.machine.type",
         "spec.domain.machine.type is not supported: q35 evil (allowed values: [q35* pc-q35*])"),
        ({"domain.chassis": {"serial": "\x1b"}}, "spec.domain.chassis.serial",
         "spec.domain.chassis.serial holds the character '\\x1b': expected text that people can read"),
        ({"domain.devices.inputs": [{"name": "i", "bus": "ps2"}]}, "spec.domain.devices.inputs[0].bus",
         "Input device can have only virtio or usb bus."),
        ({"domain.devices.inputs": [{"name": "i", "type": "mouse"}]}, "spec.domain.devices.inputs[0].type",
         "Input device can have only tablet type."),
        ({"domain.devices.video": {"type": "voodoo"}}, "spec.domain.devices.video.type",
         "spec.domain.devices.video.type has invalid value 'voodoo', allowed are vga, cirrus, virtio, ramfb, bochs"),
        ({"domain.rebootPolicy": "Explode"}, "spec.domain.rebootPolicy",
         "spec.domain.rebootPolicy has invalid value 'Explode', allowed are Reboot, Terminate"),
        ({"domain.devices.sound": {"name": "s", "model": "sb16"}}, "spec.domain.devices.sound.model",
         "spec.domain.devices.sound.model has invalid value 'sb16', allowed are ich9, ac97"),
        (disk(disk={}, blockSize={"custom": {"logical": 4096, "physical": 512}}), f"{HERE}.blockSize.custom.logical",
         "Logical size 4096 must be the same or less than the physical size of 512"),
        (disk(disk={"bus": "sata"}, blockSize={"custom": {"logical": 4096, "physical": 4096}}),
         f"{HERE}.blockSize.custom.logical", "Logical size 4096 must be 512 for SATA devices"),
        (disk(disk={}, blockSize={"custom": {"logical": 1000, "physical": 4096}}), f"{HERE}.blockSize.custom.logical",
         f"{HERE}.blockSize.custom.logical must be a power of two from 512 to 2097152, found 1000"),
        (disk(disk={"bus": "virtio"}, blockSize={"custom": {**SECTORS, "discardGranularity": 700}}),
         f"{HERE}.blockSize.custom.discardGranularity",
         "Discard granularity 700 must be multiples of logical size 512"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_the_board_is_said_with_its_field(
    change: dict[str, Any], field: str, message: str
) -> None:
    assert (field, message) in refused(change)


@pytest.mark.parametrize("field", instance.NOT_YET)
def test_what_is_not_built_is_refused_by_name(field: str) -> None:
    assert (f"spec.{field}", f"spec.{field} is not supported yet") in refused({field: {"asked": "for"}})


@pytest.mark.parametrize("field", instance.DISK_NOT_YET)
def test_what_is_not_built_of_a_disk_is_refused_by_name(field: str) -> None:
    change = {f"domain.devices.disks.0.{field}": True}

    assert (f"{HERE}.{field}", f"{HERE}.{field} is not supported yet") in refused(change)


def test_features_of_hyperv_bring_what_they_need() -> None:
    asked_ = asked({"domain.features": {"hyperv": {"synictimer": {}, "evmcs": {}}}})

    domain = instance.defaults(asked_)["spec"]["domain"]

    assert set(domain["features"]["hyperv"]) == {"synictimer", "synic", "vpindex", "evmcs", "vapic"}
    assert domain["cpu"]["features"] == [{"name": "vmx", "policy": "require"}]
