"""What admission fills in when an instance is made: KubeVirt's defaults, in their order of effect. Pure."""

import copy
from decimal import ROUND_CEILING
from typing import Final

from diskyard.api import hotplug, meta, quantity
from diskyard.api.instance import CONTAINER_DISK, DEVICES, part, parts
from diskyard.api.kernelboot import container
from diskyard.api.meta import Obj
from diskyard.api.names import kubevirt
from diskyard.api.settings import UNSET, Settings
from diskyard.errors import InvalidRequest

ARCHITECTURE: Final = "amd64"
MACHINE: Final = "q35"
MODEL: Final = "host-model"
BUS: Final = "sata"
BINDING: Final = "bridge"
DEFAULT_NAME: Final = "default"
NEEDED: Final = {
    "synictimer": "synic", "synic": "vpindex", "tlbflush": "vpindex", "ipi": "vpindex", "evmcs": "vapic",
}  # fmt: skip
"""Hyper-V feature -> what it does not work without, in an order that finds all."""
TOPOLOGY: Final = "v3"


def defaults(obj: Obj, settings: Settings = UNSET) -> Obj:
    """The instance with everything filled in; the object given is left as it is."""
    found = copy.deepcopy(obj)
    metadata = found.setdefault("metadata", {})
    finalizers = metadata.get("finalizers") or []
    if kubevirt.INSTANCE_FINALIZER not in finalizers and not meta.deleting(found):
        metadata["finalizers"] = [*finalizers, kubevirt.INSTANCE_FINALIZER]
    metadata["annotations"] = {kubevirt.PCI_TOPOLOGY: TOPOLOGY, **(metadata.get("annotations") or {})}
    found["spec"] = spec_defaults(meta.spec(found), settings)
    return found


def spec_defaults(spec: Obj, settings: Settings = UNSET) -> Obj:
    """The spec with everything filled in, as a copy."""
    found = copy.deepcopy(spec)
    domain = found["domain"] = {**part(found, "domain")}
    found["architecture"] = found.get("architecture") or ARCHITECTURE
    domain["machine"] = {
        **part(domain, "machine"),
        "type": part(domain, "machine").get("type") or settings.machine or MACHINE,
    }
    _resources(domain)
    _memory(domain)
    _processors(domain, settings.cpu_model or MODEL)
    _network(found, domain, settings.binding or BINDING)
    _disks(found, domain)
    _small_devices(part(domain, "devices"))
    _images(found)
    _enlightenments(domain)
    if settings.eviction:
        found["evictionStrategy"] = found.get("evictionStrategy") or settings.eviction
    return found


def _resources(domain: Obj) -> None:
    """Processors of which only the limit is given are asked for up to it."""
    resources = part(domain, "resources")
    limit = part(resources, "limits").get("cpu")
    if limit and not part(resources, "requests").get("cpu"):
        domain["resources"] = {**resources, "requests": {**part(resources, "requests"), "cpu": limit}}


def _memory(domain: Obj) -> None:
    resources = part(domain, "resources")
    asked = part(resources, "requests").get("memory") or part(resources, "limits").get("memory")
    said = asked or part(part(domain, "memory"), "hugepages").get("pageSize")
    if said and not part(domain, "memory").get("guest"):
        domain["memory"] = {**part(domain, "memory"), "guest": said}


def _processors(domain: Obj, model: str) -> None:
    cpu = {**part(domain, "cpu")}
    if not any(cpu.get(name) for name in ("sockets", "cores", "threads")):
        resources = part(domain, "resources")
        asked = part(resources, "limits").get("cpu") or part(resources, "requests").get("cpu") or 1
        cpu |= {"sockets": _whole(asked), "cores": 1, "threads": 1}
    cpu["model"] = cpu.get("model") or model
    domain["cpu"] = cpu


def _whole(asked: str | int) -> int:
    try:
        return max(1, int(quantity.value(asked).to_integral_value(rounding=ROUND_CEILING)))
    except InvalidRequest:  # admission's rules say so, with the field
        return 1


def _network(spec: Obj, domain: Obj, binding: str) -> None:
    devices = {**part(domain, "devices")}
    domain["devices"] = devices
    bare = not parts(devices, "interfaces") and not parts(spec, "networks")
    if bare and devices.get("autoattachPodInterface") is not False:
        devices["interfaces"] = [{"name": DEFAULT_NAME, binding: {}}]
        spec["networks"] = [{"name": DEFAULT_NAME, "pod": {}}]


def _disks(spec: Obj, domain: Obj) -> None:
    devices = part(domain, "devices")
    disks = parts(devices, "disks")
    later = hotplug.moving(spec)
    taken = {str(each.get("name")) for each in (*disks, *parts(devices, "filesystems"))}
    disks += [
        {"name": each.get("name")} for each in parts(spec, "volumes") if str(each.get("name")) not in taken
    ]
    for disk in disks:
        if not any(isinstance(disk.get(kind), dict) for kind in DEVICES):
            disk["disk"] = {}
        for kind in DEVICES:
            target = disk.get(kind)
            if isinstance(target, dict):
                comes = kind != hotplug.DRIVE and disk.get("name") in later
                target["bus"] = target.get("bus") or (hotplug.BUS if comes else BUS)
        if isinstance(disk.get("cdrom"), dict):
            disk["cdrom"] = {"readonly": True, "tray": "closed", **disk["cdrom"]}
    if disks:
        devices["disks"] = disks


def _small_devices(devices: Obj) -> None:
    if devices.get("autoattachInputDevice") is True and not parts(devices, "inputs"):
        devices["inputs"] = [{"name": f"{DEFAULT_NAME}-0"}]
    for each in parts(devices, "inputs"):
        each["bus"] = each.get("bus") or "usb"
        each["type"] = each.get("type") or "tablet"
    watchdog = part(devices, "watchdog")
    if isinstance(watchdog.get("i6300esb"), dict):
        watchdog["i6300esb"]["action"] = watchdog["i6300esb"].get("action") or "reset"


def _enlightenments(domain: Obj) -> None:
    """What one of Hyper-V's features needs of the others."""
    said = part(domain, "features").get("hyperv")
    if not isinstance(said, dict):
        return
    for name, needed in NEEDED.items():
        if said.get(name) is not None and said.get(needed) is None:
            said[needed] = {}
    if said.get("evmcs") is not None:
        cpu = domain["cpu"]
        features = parts(cpu, "features")
        if all(each.get("name") != "vmx" for each in features):
            cpu["features"] = [*features, {"name": "vmx", "policy": "require"}]


def _images(spec: Obj) -> None:
    """A tag that moves is asked for each time."""
    sources = [each.get(CONTAINER_DISK) for each in parts(spec, "volumes")]
    for source in (*sources, container(part(spec, "domain"))):
        if source and isinstance(source, dict) and not source.get("imagePullPolicy"):
            name = str(source.get("image") or "").rpartition("/")[2]
            fixed = ("@" in name or ":" in name) and not name.endswith(":latest")
            source["imagePullPolicy"] = "IfNotPresent" if fixed else "Always"
