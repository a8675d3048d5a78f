"""The XML of guests: each as it is written down in tests/golden, and all as libvirt's own schema wants them.

After a change that is meant: `GOLDEN=write pytest tests/vm_runtime/test_domain.py`, then read the difference.
"""

import os
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from diskyard.api.instance import Instance, instance, letters, mac
from diskyard.api.meta import Obj
from diskyard.api.rules.instance import defaults
from diskyard.errors import InvalidRequest
from tests import builders
from vm_runtime.domain.disk import Backing, plug
from vm_runtime.domain.firmware import Uefi
from vm_runtime.domain.guest import Host, domain
from vm_runtime.launcher import firmware
from vm_runtime.launcher.place import Place

GOLDEN = Path(__file__).parents[1] / "golden"
SCHEMA = Path("/usr/share/libvirt/schemas/domain.rng")
PRIVATE = "/var/run/kubevirt-private"
FILE = Backing(f"{PRIVATE}/vmi-disks/root/disk.img", direct=True)
BLOCK = Backing("/dev/root", block=True, direct=True)
SCRATCH = "/var/run/kubevirt-ephemeral-disks/root/disk.qcow2"
EMPTY = Backing(SCRATCH, direct=True, format="qcow2")


def guest(domain_: Obj | None = None, **spec: Any) -> Instance:
    """An admitted instance; `domain_` overrides parts of its domain, `spec` fields of its spec."""
    obj = builders.stored(builders.instance("vm"), uid="11111111-2222-3333-4444-555555555555")
    wanted = {**obj["spec"], **spec}
    wanted["domain"] = {**wanted["domain"], **(domain_ or {})}
    return instance(defaults({**obj, "spec": wanted}))


def with_devices(**devices: Any) -> Instance:
    """An instance whose devices are its one disk and these."""
    return guest({"devices": {"disks": [{"name": "root", "disk": {"bus": "virtio"}}], **devices}})


def with_disk(kind: str = "disk", bus: str = "virtio", **fields: Any) -> Instance:
    """An instance with that one disk."""
    target = fields.pop("target", {})
    return guest({"devices": {"disks": [{"name": "root", kind: {"bus": bus, **target}, **fields}]}})


WINDOWS = {
    "clock": {"utc": {}, "timer": {
        "hpet": {"present": False}, "hyperv": {}, "pit": {"tickPolicy": "delay"},
        "rtc": {"tickPolicy": "catchup", "track": "guest"}, "kvm": {"present": False},
    }},
    "features": {"acpi": {}, "apic": {"endOfInterrupt": True}, "kvm": {"hidden": True}, "pvspinlock": {}, "hyperv": {
        "relaxed": {}, "vapic": {}, "spinlocks": {"spinlocks": 8191}, "synictimer": {"direct": {}}, "reset": {},
        "frequencies": {}, "reenlightenment": {}, "tlbflush": {}, "ipi": {}, "runtime": {},
        "vendorid": {"vendorid": "maker"}, "evmcs": {"enabled": False},
    }},
}  # fmt: skip


BOOT = {
    "kernelArgs": "console=ttyS0",
    "container": {"image": "example/kernel:1", "kernelPath": "/boot/vmlinuz", "initrdPath": "/boot/initrd"},
}


CASES: dict[str, tuple[Instance, bool, Backing]] = {
    "emulated": (guest(), False, FILE),
    "empty-drive": (guest({"devices": {"disks": [{"name": "drive", "cdrom": {}}]}}), False, FILE),
    "empty-drive-first": (
        guest({"devices": {"disks": [{"name": "drive", "cdrom": {"tray": "open"}, "bootOrder": 1}]}}), False, FILE,
    ),
    "large": (guest({"memory": {"guest": "4Gi"}}), True, FILE),
    "no-hotplug": (
        guest({"devices": {"disableHotplug": True, "disks": [{"name": "root", "disk": {"bus": "scsi"}}]}}), True, FILE,
    ),
    "nothing-scsi": (
        guest({"devices": {"disableHotplug": True, "disks": [{"name": "root", "disk": {"bus": "virtio"}}]}}),
        True,
        FILE,
    ),
    "inputs": (
        with_devices(inputs=[{"name": "a"}, {"name": "b", "type": "keyboard", "bus": "virtio"}]), True, FILE,
    ),
    "spinlocks": (guest({"features": {"hyperv": {"spinlocks": {}}}}), True, FILE),
    "discards": (
        with_disk(blockSize={"custom": {"logical": 512, "physical": 4096, "discardGranularity": 4096}}), True, FILE,
    ),
    "match-sata": (
        with_disk(bus="sata", blockSize={"matchVolume": {}}), True, replace(FILE, sectors=(512, 512)),
    ),
    "kvm": (guest(), True, FILE),
    "block": (with_disk(), True, BLOCK),
    "no-direct-io": (with_disk(), True, Backing(FILE.path)),
    "preallocated": (with_disk(), True, Backing(FILE.path, direct=True, preallocated=True, filled=True)),
    "filled": (with_disk(), True, Backing(FILE.path, direct=True, filled=True)),
    "sealed": (with_disk(), True, replace(FILE, sealed=True)),
    "sealed-sata": (with_disk(bus="sata"), True, replace(FILE, sealed=True)),
    "cdrom": (with_disk("cdrom", "sata", bootOrder=1, serial="ISO-1"), True, FILE),
    "cdrom-usb": (with_disk("cdrom", "usb", errorPolicy="report"), True, FILE),
    "empty-disk": (with_disk(), True, EMPTY),
    "over-a-file": (with_disk(), True, replace(EMPTY, over=FILE)),
    "over-a-device": (with_disk(), True, replace(EMPTY, over=BLOCK)),
    "lun": (with_disk("lun", "scsi"), True, BLOCK),
    "usb-disk": (with_disk(bus="usb"), True, FILE),
    "disk-wishes": (
        with_disk(serial="Ab.1", cache="none", io="threads", shareable=True, errorPolicy="report"), True, FILE,
    ),
    "topology": (
        guest({"cpu": {"cores": 4, "model": "Nehalem", "features": [{"name": "aes", "policy": "require"}]}}),
        True,
        FILE,
    ),
    "passthrough": (guest({"cpu": {"model": "host-passthrough"}}), True, FILE),
    "passthrough-emulated": (guest({"cpu": {"model": "host-passthrough"}}), False, FILE),
    "named-emulated": (guest({"cpu": {"model": "qemu64"}}), False, FILE),
    "firmware": (
        guest({"firmware": {
            "uuid": "5d307ca9-b3ef-428c-8861-06e72d69f223",
            "serial": "S-1",
            "bootloader": {"bios": {"useSerial": True}},
        }}),
        True,
        FILE,
    ),
    "bare-board": (
        with_devices(
            autoattachGraphicsDevice=False, autoattachSerialConsole=False, autoattachMemBalloon=False,
            autoattachPodInterface=False,
        ),
        True,
        FILE,
    ),
    "pci-address": (with_disk(target={"pciAddress": "0000:00:0A.0"}), True, FILE),
    "match-volume": (with_disk(blockSize={"matchVolume": {}}), True, replace(BLOCK, sectors=(512, 4096))),
    "block-size": (with_disk(blockSize={"custom": {"logical": 4096, "physical": 4096}}), True, FILE),
    "uefi": (guest({"firmware": {"bootloader": {"efi": {"secureBoot": False}}}}), True, FILE),
    "secure-boot": (
        guest({"firmware": {"bootloader": {"efi": {}}}, "features": {"smm": {"enabled": True}}}), True, FILE,
    ),
    "windows": (guest(WINDOWS), True, FILE),
    "windows-emulated": (guest(WINDOWS), False, FILE),
    "chassis": (
        guest({"chassis": {"manufacturer": "Maker", "serial": "S", "asset": "A"}, "rebootPolicy": "Terminate"}),
        True,
        FILE,
    ),
    "tpm": (with_devices(tpm={}), True, FILE),
    "tpm-kept": (with_devices(tpm={"persistent": True}), True, FILE),
    "io-threads": (
        guest({
            "ioThreadsPolicy": "auto",
            "cpu": {"cores": 2},
            "devices": {
                "blockMultiQueue": True,
                "disks": [{"name": "root", "disk": {"bus": "virtio"}, "dedicatedIOThread": True}],
            },
        }),
        True,
        FILE,
    ),
    "kernel-boot": (guest({"firmware": {"kernelBoot": BOOT}}), True, FILE),
    "huge-pages": (guest({"memory": {"guest": "128Mi", "hugepages": {"pageSize": "2Mi"}}}), True, FILE),
    "begins-paused": (guest(startStrategy="Paused"), True, FILE),
    "far-clock": (guest({"clock": {"timezone": "Europe/Berlin"}}), True, FILE),
    "small-devices": (
        with_devices(
            rng={}, sound={"name": "card"}, panicDevices=[{"model": "isa"}], inputs=[{"name": "tablet"}],
            watchdog={"name": "dog", "i6300esb": {}}, video={"type": "virtio"},
        ),
        True,
        FILE,
    ),
    "two-interfaces": (
        guest(
            {"devices": {"interfaces": [
                {"name": "default", "masquerade": {}, "bootOrder": 1},
                {"name": "more", "bridge": {}, "model": "e1000", "macAddress": "02-AB-00-00-00-01"},
            ]}},
            networks=[{"name": "default", "pod": {}}, {"name": "more", "pod": {}}],
        ),
        True,
        FILE,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_guest_has_the_xml_that_is_written_down(name: str) -> None:
    asked, accelerated, backing = CASES[name]
    path = GOLDEN / f"domain-{name}.xml"

    uefi = None
    if asked.efi is not None:
        secure = asked.efi.get("secureBoot") is not False
        uefi = Uefi(
            "/usr/share/OVMF/CODE.fd", "/usr/share/OVMF/VARS.fd", f"{PRIVATE}/uefi-variables.fd", secure
        )

    kernel = firmware.kernel(asked, Place())
    found = domain(asked, Host(accelerated, PRIVATE, {"root": backing}, uefi, kernel))

    if os.environ.get("GOLDEN") == "write":
        path.write_text(found)
    assert found == path.read_text()
    assert complaints(found) == ""


@settings(max_examples=200, deadline=None)
@given(
    device=st.sampled_from(["disk", "cdrom", "lun"]),
    bus=st.sampled_from(["virtio", "sata", "scsi", "usb"]),
    cache=st.sampled_from(["", "none", "writethrough", "writeback"]),
    io=st.sampled_from(["", "native", "threads"]),
    flags=st.tuples(*[st.booleans()] * 5),
    cores=st.integers(1, 64),
)
def test_any_guest_that_can_be_asked_for_fits_the_schema_or_is_refused(
    device: str, bus: str, cache: str, io: str, flags: tuple[bool, ...], cores: int
) -> None:
    accelerated, block, direct, shareable, readonly = flags
    disk = {
        "name": "root",
        device: {"bus": bus, "readonly": readonly},
        "cache": cache,
        "io": io,
        "shareable": shareable,
    }
    asked = guest({"devices": {"disks": [disk]}, "cpu": {"cores": cores}})

    try:
        found = domain(asked, Host(accelerated, PRIVATE, {"root": Backing("/d", block, direct)}))
    except InvalidRequest:
        found = ""

    assert found == "" or complaints(found) == ""


def test_a_lun_on_a_file_is_refused_with_the_way_out() -> None:
    with pytest.raises(InvalidRequest, match="volumeMode Block"):
        domain(with_disk("lun", "scsi"), Host(True, PRIVATE, {"root": FILE}))


def test_a_sata_disk_cannot_match_a_volume_of_larger_sectors() -> None:
    asked = with_disk(bus="sata", blockSize={"matchVolume": {"enabled": True}})

    with pytest.raises(InvalidRequest, match="Give the disk bus virtio or scsi"):
        domain(asked, Host(True, PRIVATE, {"root": replace(FILE, sectors=(4096, 4096))}))


def test_cache_none_where_direct_io_does_not_work_is_refused_in_kubevirts_words() -> None:
    with pytest.raises(InvalidRequest, match="Unable to use 'none' cache mode"):
        domain(with_disk(cache="none"), Host(True, PRIVATE, {"root": Backing("/d")}))


def test_a_guest_keeps_its_network_card_from_life_to_life() -> None:
    first, second = guest(), guest()

    assert mac(first, first.interfaces[0]) == mac(second, second.interfaces[0])
    assert mac(first, first.interfaces[0]).startswith("02:")


def test_a_guest_on_a_network_uses_the_device_that_its_node_has_made() -> None:
    asked = with_devices(interfaces=[{"name": "default", "masquerade": {}, "model": "e1000", "bootOrder": 2}])

    found = domain(asked, Host(True, PRIVATE, {"root": FILE}, mtu=1400))

    assert complaints(found) == ""
    assert '<interface type="ethernet">' in found
    assert '<target dev="tap0" managed="no"/>' in found
    assert '<mtu size="1400"/>' in found
    assert "queues" not in found


def test_a_card_with_many_queues_has_one_for_each_processor() -> None:
    asked = guest({"cpu": {"cores": 4}, "devices": {"networkInterfaceMultiqueue": True}})

    found = domain(asked, Host(True, PRIVATE, {"root": FILE}, mtu=1400))

    assert complaints(found) == ""
    assert '<driver queues="4"/>' in found
    assert "queues" not in domain(asked, Host(True, PRIVATE, {"root": FILE}))


def test_disks_without_an_order_come_behind_those_that_have_one_and_further_discs_nowhere() -> None:
    wanted: list[Obj] = [
        {"name": "drivers", "cdrom": {"bus": "sata"}},
        {"name": "root", "disk": {"bus": "virtio"}},
        {"name": "installer", "cdrom": {"bus": "sata"}, "bootOrder": 2},
        {"name": "more", "disk": {"bus": "virtio"}},
    ]
    behind = Host(True, PRIVATE, {each["name"]: FILE for each in wanted})

    found = etree.fromstring(domain(guest({"devices": {"disks": wanted}}), behind))

    orders = {
        disk.xpath("string(alias/@name)"): disk.xpath("string(boot/@order)") for disk in found.iter("disk")
    }
    assert orders == {"ua-drivers": "", "ua-root": "3", "ua-installer": "2", "ua-more": "4"}


@pytest.mark.parametrize(("number", "text"), [(0, "a"), (25, "z"), (26, "aa"), (701, "zz"), (702, "aaa")])
def test_disks_are_lettered_as_linux_does(number: int, text: str) -> None:
    assert letters(number) == text


@cache
def schema() -> etree.RelaxNG:
    return etree.RelaxNG(etree.parse(str(SCHEMA)))


def complaints(xml: str) -> str:
    """What libvirt's schema has against it."""
    if not SCHEMA.exists():
        pytest.skip(f"{SCHEMA} is not installed")
    validator = schema()
    return "" if validator.validate(etree.fromstring(xml)) else str(validator.error_log)


def test_a_disk_that_comes_later_says_its_sizes_itself() -> None:
    sizes = {"logical": 512, "physical": 4096, "discardGranularity": 65536}
    (wanted,) = with_disk(blockSize={"custom": sizes}).disks

    (blockio,) = plug(wanted, FILE, "vdb").findall("blockio")

    assert blockio.get("discard_granularity") == "65536"
    assert plug(replace(wanted, block_size={}), FILE, "vdb").find("blockio") is None
