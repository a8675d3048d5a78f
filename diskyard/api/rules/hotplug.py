"""Admission of volumes that come and go while their guest runs, in KubeVirt's words. Pure."""

from collections.abc import Iterator

from diskyard.api.hotplug import BUSES, DRIVE, moving, without
from diskyard.api.instance import device, part
from diskyard.api.meta import Obj
from diskyard.errors import Cause


def hotplug_causes(spec: Obj, at: str) -> Iterator[Cause]:
    """What is wrong with such volumes of the spec at the path `at`."""
    for name, (_, disk) in moving(spec).items():
        kind = device(disk)
        field, bus = f"{at}.domain.devices.disks", str(part(disk, kind).get("bus") or "")
        if kind != DRIVE and bus not in BUSES:
            text = f"hotplugged Disk {name} requires bus to be 'scsi' or 'virtio'. [{bus}] is not permitted."
            yield Cause(text, field)


def changes(old: Obj, new: Obj) -> Iterator[Cause]:
    """What may not be changed of an instance that is there: all but its volumes that come and go."""
    before, after = moving(old), moving(new)
    if {**old, **_rest(old)} != {**new, **_rest(new)}:
        yield Cause("update of VMI object is restricted", "spec")
        return
    for name in before.keys() & after.keys():
        if before[name] != after[name]:
            yield Cause(f"hotplug volume {name}, changed", "spec.volumes")


def _rest(spec: Obj) -> Obj:
    """All of a spec that stays."""
    kept = without(spec, set(moving(spec)))
    domain = part(spec, "domain")
    devices = {**part(domain, "devices"), **part(kept["domain"], "devices")}
    return {"volumes": kept["volumes"], "domain": {**domain, "devices": devices}}
