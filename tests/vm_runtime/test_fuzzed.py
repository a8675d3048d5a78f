"""Any spec that the kind's schema lets through: refused by the rules in words, or a domain that libvirt understands."""

from typing import Any, Final

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diskyard import crds
from diskyard.api.instance import instance
from diskyard.api.meta import Obj
from diskyard.api.rules import instance as rules
from diskyard.api.settings import Settings
from diskyard.errors import InvalidRequest
from tests import builders
from tests.vm_runtime.test_domain import complaints
from vm_runtime.domain.disk import Backing
from vm_runtime.domain.firmware import Uefi
from vm_runtime.domain.guest import Host, domain

OPEN: Final = Settings(gates=frozenset({"HostDisk"}))
WORDS: Final = (
    "", "root", "default", "other", "1Gi", "2Mi", "64M", "1", "0", "-1", "virtio", "sata", "scsi", "usb", "none",
    "native", "threads", "writeback", "stop", "report", "q35", "pc-q35-7.2", "q35 evil", "host-model", "Nehalem",
    "host-passthrough", "require", "disable", "force", "reset", "poweroff", "tablet", "isa", "hyperv", "ich9", "vga",
    "e1000", "bridge", "auto", "Europe/Berlin", "delay", "catchup", "wall", "guest", "closed", "Paused", "Disk",
    "0000:00:0a.0", "02:AB:00:00:00:01", "5d307ca9-b3ef-428c-8861-06e72d69f223", "/disk.img", "10.0.2.0/24",
    "a<b>&\"'", "\x00", "\x1b[2J", "\ufffe", "ü", "x" * 300,
)  # fmt: skip
"""What people write, and what nobody should."""
NUMBERS: Final = (0, 1, 2, -1, 512, 4096, 65536, 2**31, 2**63 - 1)


def schema(path: str) -> Obj:
    """The part of the kind's schema at a path."""
    definition = next(
        each for each in crds.definitions() if each["spec"]["names"]["kind"] == "VirtualMachineInstance"
    )
    found: Obj = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for name in path.split("."):
        found = found["properties"][name]
    return found


def fitting(node: Obj, depth: int = 0) -> st.SearchStrategy[Any]:
    """Values of that schema: of an object a few fields at a time, of a list two entries at most."""
    if node.get("x-kubernetes-int-or-string"):
        return st.sampled_from(WORDS) | st.sampled_from(NUMBERS)
    known = node.get("properties") or {}
    match node.get("type"):
        case "object" if known and depth < 8:
            return st.lists(st.sampled_from(sorted(known)), max_size=3, unique=True).flatmap(
                lambda names: st.fixed_dictionaries({name: fitting(known[name], depth + 1) for name in names})
            )
        case "object":
            return st.dictionaries(st.sampled_from(WORDS), st.sampled_from(WORDS), max_size=2)
        case "array":
            return st.lists(fitting(node["items"], depth + 1), max_size=2)
        case "boolean":
            return st.booleans()
        case "integer":
            return st.sampled_from(NUMBERS)
        case _:
            return st.sampled_from(node.get("enum") or WORDS)


def of(**known: Obj) -> Obj:
    return {"type": "object", "properties": known}


YES: Final = {"type": "boolean"}
TEXT: Final = {"type": "string"}
NUMBER: Final = {"type": "integer"}
STATE: Final = of(enabled=YES)
TIMER: Final = of(present=YES, tickPolicy=TEXT, track=TEXT)
FREE: Final = {
    "domain.features": of(
        acpi=STATE, apic=of(enabled=YES, endOfInterrupt=YES), smm=STATE, pvspinlock=STATE, kvm=of(hidden=YES)
    ),
    "domain.features.hyperv": of(
        spinlocks=of(enabled=YES, spinlocks=NUMBER), vendorid=of(enabled=YES, vendorid=TEXT),
        synictimer=of(enabled=YES, direct=STATE), relaxed=STATE, evmcs=STATE, tlbflush=STATE, ipi=STATE, reset=STATE,
    ),
    "domain.clock": of(timezone=TEXT, utc=of(offsetSeconds=NUMBER)),
    "domain.clock.timer": of(rtc=TIMER, pit=TIMER, kvm=TIMER, hpet=TIMER, hyperv=TIMER),
    "domain.chassis": of(manufacturer=TEXT, version=TEXT, serial=TEXT, asset=TEXT, sku=TEXT),
}  # fmt: skip
"""Of what the kind's schema says nothing."""
PLACES: Final = (
    "domain", "domain.devices", "domain.firmware", "domain.firmware.bootloader", "domain.cpu", "domain.memory",
    "domain.devices.tpm", "domain.devices.watchdog", "domain.devices.video", "domain.devices.inputs",
    "domain.devices.sound", "domain.devices.panicDevices", "domain.devices.disks", "domain.devices.interfaces",
)  # fmt: skip
SCHEMAS: Final = {**FREE, **{path: schema(f"spec.{path}") for path in PLACES}}


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(sorted(SCHEMAS)).flatmap(lambda path: st.tuples(st.just(path), fitting(SCHEMAS[path]))),
    st.booleans(),
)
def test_any_spec_is_refused_in_words_or_becomes_a_domain(change: tuple[str, Any], accelerated: bool) -> None:
    path, value = change
    obj = builders.stored(builders.instance("vm"))
    place: Any = {**obj["spec"]}
    obj["spec"] = place
    *steps, last = path.split(".")
    for step in steps:
        place[step] = {**place.get(step, {})}
        place = place[step]
    place[last] = {**place.get(last, {}), **value} if isinstance(value, dict) else value
    obj = rules.defaults(obj)

    if not rules.causes(obj, None, OPEN):
        uefi = Uefi("/code", "/vars", "/kept", secure=True)
        try:
            found = domain(instance(obj), Host(accelerated, "/p", {"root": Backing("/disk")}, uefi))
        except InvalidRequest:
            return
        assert complaints(found) == "", (path, value)
