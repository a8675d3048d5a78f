"""Admission of instances: what is filled in, and what is refused, in KubeVirt's words. Pure."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from diskyard.api import meta, quantity
from diskyard.api.instance import PROBES, part, parts
from diskyard.api.meta import Obj
from diskyard.api.names.kubevirt import RESERVED_LABELS
from diskyard.api.rules.board import board_causes
from diskyard.api.rules.disks import LABEL, LABEL_TEXT, disk_causes
from diskyard.api.rules.hotplug import changes, hotplug_causes
from diskyard.api.rules.instance_defaults import ARCHITECTURE, defaults, spec_defaults
from diskyard.api.rules.networks import bridge_causes, network_causes
from diskyard.api.rules.volumes import volume_causes
from diskyard.api.settings import UNSET, Settings
from diskyard.errors import Cause, InvalidRequest

__all__ = ["causes", "defaults", "spec_causes", "spec_defaults"]

NO_MEMORY: Final = (
    "no memory requested, at least one of 'spec.domain.memory.guest', 'spec.domain.memory.hugepages.pageSize' or "
    "'spec.domain.resources.requests.memory' must be set"
)
_MACHINE: Final = re.compile(r"(pc-)?q35[A-Za-z0-9._-]*")
PAGES: Final = (2 << 20, 1 << 30)
"""Sizes of the huge pages that such processors have."""
MACHINES: Final = ("q35*", "pc-q35*")
MOST_PROCESSORS: Final = 288
"""What q35 takes without an emulated interrupt remapper (qemu's pc_q35_machine_options)."""
DNS_POLICIES: Final = ("ClusterFirst", "ClusterFirstWithHostNet", "Default")
"""Whose name servers a pod asks; a guest is told those of its node."""
STARTS: Final = ("Paused",)
EVICTIONS: Final = ("None", "LiveMigrate", "LiveMigrateIfPossible", "External")
WAYS: Final = ("exec", "guestAgentPing", "httpGet", "tcpSocket")
"""How a guest can be asked whether it is well."""
NOT_YET: Final = (
    "resourceClaims",
    "domain.cpu.dedicatedCpuPlacement", "domain.cpu.isolateEmulatorThread", "domain.cpu.numa", "domain.cpu.realtime",
    "domain.features.hyperv.tlbflush.direct", "domain.features.hyperv.tlbflush.extended",
    "domain.features.hypervPassthrough", "domain.firmware.acpi",
    "domain.ioThreads", "domain.launchSecurity",
    "domain.devices.autoattachVSOCK", "domain.devices.clientPassthrough",
    "domain.devices.downwardMetrics", "domain.devices.filesystems", "domain.devices.gpus",
    "domain.devices.hostDevices", "domain.devices.useVirtioTransitional",
)  # fmt: skip
"""Fields that ask for what we cannot do yet: refused, never ignored."""
DISK_NOT_YET: Final = ("changedBlockTracking", "lun.reservation", "tag")
INTERFACE_NOT_YET: Final = ("acpiIndex", "pciAddress", "portRanges", "state")


def causes(obj: Obj, old: Obj | None, settings: Settings = UNSET) -> Sequence[Cause]:
    """What is wrong with an instance; `old` as it is stored.

    Only the time to shut down may be changed, and volumes that come and go.
    """
    labels = label_causes(meta.labels(obj), meta.labels(old or {}), "metadata")
    if old is None:
        return (*labels, *spec_causes(meta.spec(obj), "spec", settings))
    free = "terminationGracePeriodSeconds"
    before, after = ({k: v for k, v in meta.spec(each).items() if k != free} for each in (old, obj))
    if before == after:
        return tuple(labels)
    return (*labels, *changes(before, after), *spec_causes(meta.spec(obj), "spec", settings))


def label_causes(labels: Mapping[str, str], before: Mapping[str, str], at: str) -> Iterator[Cause]:
    """Labels by which we find what is ours: nobody else writes them."""
    found = [name for name in RESERVED_LABELS if labels.get(name) != before.get(name)]
    if found:
        verb = "modification" if before else "creation"
        text = (
            f"{verb} of the following reserved kubevirt.io/ labels on a VMI object is prohibited: "
            f"{', '.join(found)}"
        )
        yield Cause(text, f"{at}.labels", "FieldValueNotSupported")


def spec_causes(spec: Obj, at: str, settings: Settings) -> Iterator[Cause]:
    """What is wrong with the spec at the path `at`, its defaults filled in."""
    yield from volume_causes(spec, at, settings.gates)
    if not settings.pod_bridge:
        yield from bridge_causes(spec, at)
    for rule in _RULES:
        yield from rule(spec, at)


def _unsupported(spec: Obj, at: str) -> Iterator[Cause]:
    yield from _asked(spec, at, NOT_YET)
    devices = part(part(spec, "domain"), "devices")
    for kind, fields in (("disks", DISK_NOT_YET), ("interfaces", INTERFACE_NOT_YET)):
        for number, each in enumerate(parts(devices, kind)):
            yield from _asked(each, f"{at}.domain.devices.{kind}[{number}]", fields)
    if spec.get("architecture") not in (None, "", ARCHITECTURE):
        text = f"{at}.architecture {spec['architecture']} is not supported yet: {ARCHITECTURE} is"
        yield Cause(text, f"{at}.architecture", "FieldValueNotSupported")


def _asked(entry: Obj, at: str, fields: Sequence[str]) -> Iterator[Cause]:
    for field in fields:
        found: Any = entry
        for step in field.split("."):
            found = found.get(step) if isinstance(found, dict) else None
        if found not in (None, False, "", [], ()):
            yield Cause(f"{at}.{field} is not supported yet", f"{at}.{field}", "FieldValueNotSupported")


def _strategy(spec: Obj, at: str) -> Iterator[Cause]:
    for name, known in (("startStrategy", STARTS), ("evictionStrategy", EVICTIONS)):
        said = spec.get(name)
        if said not in (None, *known):
            yield Cause(f"{at}.{name} is set with an unrecognized option: {said}", f"{at}.{name}")


def _memory(spec: Obj, at: str) -> Iterator[Cause]:
    domain = part(spec, "domain")
    resources = part(domain, "resources")
    places = {
        "memory.guest": part(domain, "memory").get("guest"),
        "resources.requests.memory": part(resources, "requests").get("memory"),
        "resources.limits.memory": part(resources, "limits").get("memory"),
    }
    sizes: dict[str, int] = {}
    for name, text in places.items():
        field = f"{at}.domain.{name}"
        if not text:
            continue
        try:
            sizes[name] = quantity.parse(text)
        except InvalidRequest as wrong:
            yield Cause(f"{field}: {wrong}", field)
            continue
        if sizes[name] < 1_000_000:
            yield Cause(f"{field} '{text}': must be greater than 1M.", field)
    if not any(places.values()):
        yield Cause(NO_MEMORY, f"{at}.domain.memory.guest", "FieldValueRequired")
    yield from _pages(part(part(domain, "memory"), "hugepages"), places, sizes, f"{at}.domain")
    limit = sizes.get("resources.limits.memory")
    for name, words in (("memory.guest", "must be equal to or less than the memory limit"),
                        ("resources.requests.memory", "is greater than")):  # fmt: skip
        if limit is not None and sizes.get(name, 0) > limit:
            field, bound = f"{at}.domain.{name}", f"{at}.domain.resources.limits.memory"
            text = f"{field} '{places[name]}' {words} {bound} '{places['resources.limits.memory']}'"
            yield Cause(text, field)


def _pages(said: Obj, places: Obj, sizes: Mapping[str, int], at: str) -> Iterator[Cause]:
    """The guest's memory is a whole number of huge pages."""
    text, field = said.get("pageSize"), f"{at}.hugepages.size"
    if not text:
        return
    try:
        page = quantity.parse(text)
    except InvalidRequest as wrong:
        yield Cause(f"{field}: {wrong}", field)
        return
    if page not in PAGES:
        yield Cause(f"{field} '{text}' is no size of huge pages: expected 2Mi or 1Gi", field)
        return
    for name, size in sizes.items():
        if size < page:
            words = f"must be equal to or larger than page size {field} '{text}'"
        elif size % page:
            words = f"is not a multiple of the page size {field} '{text}'"
        else:
            continue
        yield Cause(f"{at}.{name} '{places[name]}' {words}", f"{at}.{name}")


def _processors(spec: Obj, at: str) -> Iterator[Cause]:
    domain = part(spec, "domain")
    cpu, resources = part(domain, "cpu"), part(domain, "resources")
    count = 1
    for name in ("sockets", "cores", "threads"):
        said = cpu.get(name) or 1
        if not isinstance(said, int) or said < 0:
            yield Cause(f"{at}.domain.cpu.{name} must be a whole number above 0", f"{at}.domain.cpu.{name}")
            return
        count *= said
    if count > MOST_PROCESSORS:
        text = f"{at}.domain.cpu asks for {count} processors: at most {MOST_PROCESSORS} are possible"
        yield Cause(text, f"{at}.domain.cpu")
    for kind in ("requests", "limits"):
        asked = part(resources, kind).get("cpu")
        field = f"{at}.domain.resources.{kind}.cpu"
        try:
            if asked and quantity.value(asked) <= 0:
                yield Cause(f"{field} '{asked}': must be greater than 0.", field)
        except InvalidRequest as wrong:
            yield Cause(f"{field}: {wrong}", field)


def _machine(spec: Obj, at: str) -> Iterator[Cause]:
    said = str(part(part(spec, "domain"), "machine").get("type") or "")
    if said and not _MACHINE.fullmatch(said):
        field = f"{at}.domain.machine.type"
        text = f"{field} is not supported: {said} (allowed values: [{' '.join(MACHINES)}])"
        yield Cause(text, field)


def _grace(spec: Obj, at: str) -> Iterator[Cause]:
    said, field = spec.get("terminationGracePeriodSeconds"), f"{at}.terminationGracePeriodSeconds"
    if isinstance(said, int) and said < 0:
        yield Cause(f"{field} must be greater than or equal to 0", field)


def _names(spec: Obj, at: str) -> Iterator[Cause]:
    """What the guest and its pod are called, and who knows other names."""
    for field in ("hostname", "subdomain"):
        said = spec.get(field)
        if said and not LABEL.fullmatch(str(said)):
            text = f"{at}.{field} does not conform to the kubernetes DNS_LABEL rules : {LABEL_TEXT}"
            yield Cause(text, f"{at}.{field}")
    policy = spec.get("dnsPolicy")
    if policy not in (None, "", *DNS_POLICIES):
        text = f"{at}.dnsPolicy {policy} is not supported: {', '.join(DNS_POLICIES)} are"
        yield Cause(text, f"{at}.dnsPolicy", "FieldValueNotSupported")
    if spec.get("dnsConfig"):
        text = (
            f"{at}.dnsConfig is not supported yet: guests are told the name servers of their node, and networkData of "
            "a cloud-init volume can name others"
        )
        yield Cause(text, f"{at}.dnsConfig", "FieldValueNotSupported")


def _probes(spec: Obj, at: str) -> Iterator[Cause]:
    for name in PROBES:
        if spec.get(name) is None:
            continue
        asked = [way for way in WAYS if part(spec, name).get(way) is not None]
        if not asked:
            ways = ", ".join(f".{way}" for way in WAYS)
            text = f"{at}.{name}: one of {ways} must be set"
            yield Cause(text, f"{at}.{name}", "FieldValueRequired")
        if len(asked) > 1:
            yield Cause(f"{at}.{name} must have exactly one probe type set", f"{at}.{name}")


_RULES: Final[tuple[Callable[[Obj, str], Iterator[Cause]], ...]] = (
    disk_causes, hotplug_causes, _memory, _processors, _machine, board_causes, _names, _grace, _strategy,
    network_causes, _probes, _unsupported,
)  # fmt: skip
