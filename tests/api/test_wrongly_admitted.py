"""What KubeVirt admits though it cannot work, or crashes on: refused here, or it works. A row for each."""

from typing import Any

import pytest

from diskyard.api.instance import instance as read
from diskyard.api.meta import Obj
from diskyard.api.rules import instance
from diskyard.api.settings import Settings
from tests import builders
from vm_runtime.domain.disk import Backing
from vm_runtime.domain.guest import Host, domain

OPEN = Settings(gates=frozenset({"HostDisk"}))


def asked(volumes: list[Obj], disks: list[Obj] | None = None, **parts: Any) -> Obj:
    """A defaulted instance with those volumes and disks; `parts` are added to its domain."""
    obj = builders.stored(builders.instance("vm", volumes=volumes))
    obj["spec"]["domain"]["devices"]["disks"] = disks or []
    obj["spec"]["domain"] |= parts
    return instance.defaults(obj)


ROOT = {"name": "root", "persistentVolumeClaim": {"claimName": "disk"}}


@pytest.mark.parametrize(
    ("obj", "field"),
    [
        (asked([{"name": "a", "persistentVolumeClaim": {"claimName": ""}}]),
         "spec.volumes[0].persistentVolumeClaim.claimName"),
        (asked([{"name": "a", "containerDisk": {"image": ""}}]), "spec.volumes[0].containerDisk.image"),
        (asked([{"name": "a", "emptyDisk": {"capacity": "-1Gi"}}]), "spec.volumes[0].emptyDisk.capacity"),
        (asked([{"name": "a", "sysprep": {}}]), "spec.volumes[0].sysprep"),
        (asked([{"name": "a", "hostDisk": {"path": "/a/b", "type": "DiskOrCreate"}}]),
         "spec.volumes[0].hostDisk.capacity"),
        (asked([ROOT], features={"hypervPassthrough": {}}), "spec.domain.features.hypervPassthrough"),
        (asked([ROOT], [{"name": "root", "lun": {"bus": "scsi"}, "serial": "S1"}]),
         "spec.domain.devices.disks[0].serial"),
        (asked([ROOT], [{"name": "root", "disk": {}, "io": "native", "cache": "writeback"}]),
         "spec.domain.devices.disks[0].io"),
    ],
)  # fmt: skip
def test_what_would_fail_later_is_refused_at_once(obj: Obj, field: str) -> None:
    assert field in [cause.field for cause in instance.causes(obj, None, OPEN)]


def test_two_seeds_are_two_discs_that_a_guest_cannot_write_over_each_other() -> None:
    seeds = [{"name": name, "cloudInitNoCloud": {"userData": name}} for name in ("a", "b")]

    assert instance.causes(asked(seeds), None) == ()


def test_a_disc_on_usb_has_its_controller_and_keeps_its_serial_number() -> None:
    obj = asked([ROOT], [{"name": "root", "cdrom": {"bus": "usb"}, "serial": "ISO-1"}])

    found = domain(read(obj), Host(False, "/p", {"root": Backing("/disk.img")}))

    assert instance.causes(obj, None) == ()
    assert '<controller type="usb" model="none"' not in found
    assert "<serial>ISO-1</serial>" in found


def test_cores_alone_make_as_many_processors() -> None:
    obj = asked([ROOT], cpu={"cores": 4})

    assert (read(obj).cpu.sockets, read(obj).cpu.count) == (1, 4)
