"""Admission of machines and instances: KubeVirt's defaults, and its words for what is refused."""

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diskyard.api.instance import instance as read
from diskyard.api.meta import Obj
from diskyard.api.names import kubevirt
from diskyard.api.rules import instance, machine
from tests import builders
from tests.api.asked import HERE, asked, card, disk, kernel, refused

BOOT = "spec.domain.firmware.kernelBoot"
CARD = "spec.domain.devices.interfaces[0]"
LABEL = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
    "with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
TWICE = {"domain.devices.disks": [{"name": "root", "disk": {}}] * 2}
ORDERS = {
    "volumes": [{"name": n, "dataVolume": {"name": n}} for n in ("a", "b")],
    "domain.devices.disks": [{"name": n, "disk": {}, "bootOrder": 1} for n in ("a", "b")],
}


@pytest.mark.parametrize(
    ("change", "field", "message"),
    [
        (TWICE, "spec.domain.devices.disks[1].name",
         f"{HERE} and spec.domain.devices.disks[1] must not have the same Name."),
        (disk(disk={}, cdrom={}), HERE, f"{HERE} can only have a single target type defined"),
        (disk(disk={}, bootOrder=0), f"{HERE}.bootOrder", f"{HERE}.bootOrder must have a boot order > 0, if supplied"),
        (ORDERS, "spec.domain.devices.disks[1].bootOrder",
         "Boot order for spec.domain.devices.disks[1].bootOrder already set for a different device."),
        (disk(disk={"bus": "ide"}), f"{HERE}.disk.bus", "IDE bus is not supported"),
        (disk(cdrom={"bus": "virtio"}), f"{HERE}.cdrom.bus", "Bus type virtio is invalid for CD-ROM device"),
        (disk(disk={"bus": "sata", "readonly": True}), f"{HERE}.disk.bus",
         "sata hard-disks do not support read-only."),
        (disk(disk={"bus": "fdc"}), f"{HERE}.disk.bus",
         f"{HERE}.disk.bus is set with an unrecognized bus fdc, must be one of: [virtio scsi sata usb]"),
        (disk(lun={"bus": "sata"}), f"{HERE}.lun.bus", "a lun is only possible with bus scsi, found sata"),
        (disk(disk={}, serial="a b"), f"{HERE}.serial",
         f"{HERE}.serial must be made up of the following characters [A-Za-z0-9_.+-], if specified"),
        (disk(disk={}, serial="a" * 257), f"{HERE}.serial",
         f"{HERE}.serial must be less than or equal to 256 in length, if specified"),
        (disk(disk={}, cache="fast"), f"{HERE}.cache", f"{HERE}.cache has invalid value fast"),
        (disk(disk={}, io="fast"), f"{HERE}.io",
         f"Disk IO mode for {HERE}.io is not supported. Supported modes are: native, threads."),
        (disk(disk={}, errorPolicy="cry"), f"{HERE}.errorPolicy", f'{HERE}.errorPolicy has invalid value "cry"'),
        (disk(disk={}, shareable=True, cache="writeback"), f"{HERE}.cache",
         "a sharable disk requires cache = none got: writeback"),
        ({"domain.devices.disks": [{"name": "root", "disk": {}}, {"name": "x", "disk": {}}]},
         "spec.domain.devices.disks[1].name", "spec.domain.devices.disks[1].Name 'x' not found."),
        (disk(disk={"bus": "sata", "pciAddress": "0000:00:0a.0"}), f"{HERE}.disk.pciAddress",
         f"disk {HERE} - setting a PCI address is only possible with bus type virtio."),
        (disk(disk={"bus": "virtio", "pciAddress": "10"}), f"{HERE}.disk.pciAddress",
         f"disk {HERE} has malformed PCI address (10): expected one such as 0000:00:0a.0"),
        (disk(disk={"bus": "sata"}, dedicatedIOThread=True), f"{HERE}.dedicatedIOThread",
         "IOThreads are not supported for disks on a sata bus"),
        ({"volumes": [{"name": "root", "emptyDisk": {"capacity": "1Gi"}}], **disk(lun={"bus": "scsi"})},
         f"{HERE}.lun", f"{HERE}.lun can only be mapped to a DataVolume or PersistentVolumeClaim volume."),
        ({"domain.devices.disks": [{"name": "Root_1", "disk": {}}]}, f"{HERE}.name", LABEL),
        (disk(disk={}, blockSize={"custom": {"logical": 512, "physical": 512}, "matchVolume": {}}),
         f"{HERE}.blockSize.custom", "Block size matching can't be enabled together with a custom value"),
        ({"utilityVolumes": [{"name": "u"}]}, "spec.utilityVolumes",
         "cannot create VMI with utility volumes in spec, utility volumes can only be added via hotplug"),
        (card({"name": "default", "multus": {"networkName": "n"}}, masquerade={}), f"{CARD}.name",
         "Masquerade interface only implemented with pod network"),
        ({"evictionStrategy": "Never"}, "spec.evictionStrategy",
         "spec.evictionStrategy is set with an unrecognized option: Never"),
        ({"startStrategy": "Later"}, "spec.startStrategy",
         "spec.startStrategy is set with an unrecognized option: Later"),
        ({"domain.resources": {}}, "spec.domain.memory.guest", instance.NO_MEMORY),
        ({"domain.memory": {"guest": "12Mb"}}, "spec.domain.memory.guest",
         "spec.domain.memory.guest: '12Mb' is not a quantity: expected a number with a suffix such as 512Mi, 10Gi "
         "or 6G"),
        ({"domain.memory": {"guest": "10"}}, "spec.domain.memory.guest",
         "spec.domain.memory.guest '10': must be greater than 1M."),
        ({"domain.resources": {"requests": {"memory": "10"}}}, "spec.domain.resources.requests.memory",
         "spec.domain.resources.requests.memory '10': must be greater than 1M."),
        ({"domain.resources": {"requests": {"memory": "2Gi"}, "limits": {"memory": "1Gi"}}},
         "spec.domain.resources.requests.memory",
         "spec.domain.resources.requests.memory '2Gi' is greater than spec.domain.resources.limits.memory '1Gi'"),
        ({**disk(disk={}, bootOrder=1), **card(bridge={}, bootOrder=1)}, f"{CARD}.bootOrder",
         f"Boot order for {CARD}.bootOrder already set for a different device."),
        ({"domain.memory": {"guest": "2Gi"}, "domain.resources": {"limits": {"memory": "1Gi"}}},
         "spec.domain.memory.guest",
         "spec.domain.memory.guest '2Gi' must be equal to or less than the memory limit "
         "spec.domain.resources.limits.memory '1Gi'"),
        ({"domain.machine": {"type": "pc"}}, "spec.domain.machine.type",
         "spec.domain.machine.type is not supported: pc (allowed values: [q35* pc-q35*])"),
        ({"domain.cpu": {"sockets": 500}}, "spec.domain.cpu",
         "spec.domain.cpu asks for 500 processors: at most 288 are possible"),
        ({"domain.firmware": {"uuid": "me"}}, "spec.domain.firmware.uuid",
         "spec.domain.firmware.uuid 'me' is not a UUID"),
        ({"domain.firmware": {"kernelBoot": {"kernelArgs": "x"}}}, f"{BOOT}.kernelArgs",
         "kernel arguments cannot be provided without an external kernel"),
        (kernel(kernelPath="/k"), f"{BOOT}.container.image", f"{BOOT}.container must be defined with an image"),
        (kernel(image="i"), f"{BOOT}.container",
         f"{BOOT}.container must be defined with at least one of the following: kernelPath, initrdPath"),
        (kernel(image="i", initrdPath="/i"), f"{BOOT}.container.kernelPath",
         f"{BOOT}.container.initrdPath needs a kernelPath beside it"),
        (kernel(image="i", kernelPath="/../k"), f"{BOOT}.container.kernelPath",
         f"{BOOT}.container.kernelPath must be an absolute path to a file without relative components"),
        ({"domain.memory": {"guest": "129M", "hugepages": {"pageSize": "2Mi"}}}, "spec.domain.memory.guest",
         "spec.domain.memory.guest '129M' is not a multiple of the page size spec.domain.hugepages.size '2Mi'"),
        ({"domain.memory": {"guest": "64Mi", "hugepages": {"pageSize": "1Gi"}},
          "domain.resources": {"requests": {"memory": "1Gi"}}}, "spec.domain.memory.guest",
         "spec.domain.memory.guest '64Mi' must be equal to or larger than page size spec.domain.hugepages.size '1Gi'"),
        ({"domain.memory": {"hugepages": {"pageSize": "3Mi"}}}, "spec.domain.hugepages.size",
         "spec.domain.hugepages.size '3Mi' is no size of huge pages: expected 2Mi or 1Gi"),
        ({"domain.devices.gpus": [{"name": "g"}]}, "spec.domain.devices.gpus",
         "spec.domain.devices.gpus is not supported yet"),
        (card(masquerade={}, bridge={}), CARD,
         "logical interface default has more than one binding: bridge, masquerade"),
        (card(sriov={}), f"{CARD}.sriov", f"{CARD}.sriov is not supported yet: bridge and masquerade are"),
        (card({"name": "other", "pod": {}}, bridge={}), f"{CARD}.name", f"{CARD}.name 'default' not found."),
        (card({"name": "default", "multus": {"networkName": "n"}}, bridge={}), "spec.networks[0].multus",
         "spec.networks[0].multus is not supported yet: pod is"),
        (card(bridge={}, model="3c501"), f"{CARD}.model",
         f"interface {CARD}.name uses model 3c501 that is not supported."),
        (card(bridge={}, macAddress="no"), f"{CARD}.macAddress",
         f"interface {CARD}.name has malformed MAC address (no)."),
        (card(bridge={}, macAddress="02:00:00:00:00:00"), f"{CARD}.macAddress",
         f"interface {CARD}.name has MAC address (02:00:00:00:00:00) that is reserved."),
        (card(bridge={}, macAddress="03:00:00:00:00:01"), f"{CARD}.macAddress",
         f"interface {CARD}.name has MAC address (03:00:00:00:00:01) of a group, which no card can have."),
        (card(masquerade={}, ports=[{"name": "web"}]), f"{CARD}.ports[0]", "Port field is mandatory."),
        (card(masquerade={}, ports=[{"port": 70000}]), f"{CARD}.ports[0]",
         "Port field must be in range 0 < x < 65536."),
        (card(masquerade={}, ports=[{"port": 80, "protocol": "SCTP"}]), f"{CARD}.ports[0].protocol",
         "Unknown protocol, only TCP or UDP allowed"),
        (card(masquerade={}, ports=[{"name": "a_b", "port": 80}]), f"{CARD}.ports[0].name",
         "Invalid name of the port: a_b"),
        (card(masquerade={}, ports=[{"name": "a", "port": 80}, {"name": "a", "port": 81}]), f"{CARD}.ports",
         "Duplicate name of the port: a"),
        (card(masquerade={}, dhcpOptions={"ntpServers": ["here"]}), f"{CARD}.dhcpOptions.ntpServers",
         "NTP servers must be a list of valid IPv4 addresses."),
        (card(masquerade={}, dhcpOptions={"privateOptions": [{"option": 12, "value": "x"}]}),
         f"{CARD}.dhcpOptions.privateOptions",
         "provided DHCPPrivateOptions are out of range, must be in range 224 to 254"),
        (card({"name": "default", "pod": {"vmNetworkCIDR": "10.0.2.0/31"}}, masquerade={}),
         "spec.networks[0].pod.vmNetworkCIDR",
         "spec.networks[0].pod.vmNetworkCIDR: 10.0.2.0/31 has no room for a gateway and a guest: /30 is the least"),
        ({"domain.devices.interfaces": [{"name": "a", "masquerade": {}}, {"name": "b", "bridge": {}}],
          "networks": [{"name": "a", "pod": {}}, {"name": "b", "pod": {}}]}, "spec.domain.devices.interfaces",
         "more than one interface is connected to a pod network in spec.domain.devices.interfaces"),
        ({"hostname": "web.one"}, "spec.hostname",
         f"spec.hostname does not conform to the kubernetes DNS_LABEL rules : {LABEL}"),
        ({"subdomain": "a+b"}, "spec.subdomain",
         f"spec.subdomain does not conform to the kubernetes DNS_LABEL rules : {LABEL}"),
        ({"dnsPolicy": "None"}, "spec.dnsPolicy",
         "spec.dnsPolicy None is not supported: ClusterFirst, ClusterFirstWithHostNet, Default are"),
        ({"dnsConfig": {"searches": ["example.com"]}}, "spec.dnsConfig",
         "spec.dnsConfig is not supported yet: guests are told the name servers of their node, and networkData of a "
         "cloud-init volume can name others"),
        ({"domain.devices.useVirtioTransitional": True}, "spec.domain.devices.useVirtioTransitional",
         "spec.domain.devices.useVirtioTransitional is not supported yet"),
        ({"domain.features": {"hyperv": {"tlbflush": {"direct": {}}}}}, "spec.domain.features.hyperv.tlbflush.direct",
         "spec.domain.features.hyperv.tlbflush.direct is not supported yet"),
        ({"domain.devices.watchdog": {"name": "w", "diag288": {}}}, "spec.domain.devices.watchdog",
         "spec.domain.devices.watchdog must be an i6300esb: no other is there on amd64"),
        ({"terminationGracePeriodSeconds": -1}, "spec.terminationGracePeriodSeconds",
         "spec.terminationGracePeriodSeconds must be greater than or equal to 0"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_field(change: dict[str, Any], field: str, message: str) -> None:
    assert (field, message) in refused(change)


@pytest.mark.parametrize(
    "change",
    [
        {},
        disk(cdrom={}),
        disk(lun={"bus": "scsi"}),
        disk(
            disk={"bus": "virtio", "readonly": True},
            bootOrder=3,
            cache="none",
            io="native",
            errorPolicy="report",
        ),
        {"volumes.0": {"name": "root", "dataVolume": {"name": "a"}}},
        {"domain.devices.disks": []},
        card(bridge={}),
        card(masquerade={}, ports=[{"port": 80}]),
        {"domain.features": {"acpi": {}, "apic": {}}, "domain.clock": {"utc": {}}},
        {"terminationGracePeriodSeconds": 0, "evictionStrategy": "LiveMigrate", "hostname": "me"},
        {"subdomain": "web", "dnsPolicy": "Default", "domain.cpu": {"sockets": 1, "maxSockets": 4}},
        {"domain.machine": {"type": "pc-q35-7.2"}},
        disk(disk={"bus": "virtio", "pciAddress": "0000:00:0a.0"}, blockSize={"matchVolume": {}}),
    ],
)
def test_what_can_run_is_admitted(change: dict[str, Any]) -> None:
    assert refused(change) == []


def test_a_cause_keeps_its_kind() -> None:
    found = instance.causes(instance.defaults(asked({"domain.devices.gpus": [{"name": "g"}]})), None)

    assert [cause.reason for cause in found] == ["FieldValueNotSupported"]


@pytest.mark.parametrize(
    ("change", "path", "value"),
    [
        ({}, "domain.machine.type", "q35"),
        ({}, "architecture", "amd64"),
        ({}, "domain.memory.guest", "128Mi"),
        ({"domain.resources": {"limits": {"memory": "1Gi"}}}, "domain.memory.guest", "1Gi"),
        ({"domain.resources": {}, "domain.memory": {"hugepages": {"pageSize": "2Mi"}}}, "domain.memory.guest", "2Mi"),
        ({}, "domain.cpu", {"sockets": 1, "cores": 1, "threads": 1, "model": "host-model"}),
        ({"domain.resources": {"requests": {"memory": "1Gi", "cpu": "2500m"}}}, "domain.cpu.sockets", 3),
        ({"domain.cpu": {"cores": 4}}, "domain.cpu", {"cores": 4, "model": "host-model"}),
        ({"domain.resources": {"requests": {"memory": "1Gi"}, "limits": {"cpu": "2"}}},
         "domain.resources.requests.cpu", "2"),
        ({}, "domain.devices.interfaces", [{"name": "default", "bridge": {}}]),
        ({}, "networks", [{"name": "default", "pod": {}}]),
        ({"domain.devices.autoattachPodInterface": False}, "networks", None),
        ({"domain.devices.disks": []}, "domain.devices.disks", [{"name": "root", "disk": {"bus": "sata"}}]),
        (disk(cdrom={}), "domain.devices.disks.0.cdrom", {"bus": "sata", "readonly": True, "tray": "closed"}),
        ({"domain.devices.inputs": [{"name": "i"}]}, "domain.devices.inputs.0",
         {"name": "i", "bus": "usb", "type": "tablet"}),
        ({"domain.devices.autoattachInputDevice": True}, "domain.devices.inputs",
         [{"name": "default-0", "bus": "usb", "type": "tablet"}]),
        ({"domain.devices.watchdog": {"name": "w", "i6300esb": {}}}, "domain.devices.watchdog.i6300esb.action",
         "reset"),
    ],
)  # fmt: skip
def test_what_is_not_said_is_filled_in(change: dict[str, Any], path: str, value: Any) -> None:
    found: Any = instance.defaults(asked(change))["spec"]

    for step in path.split("."):
        found = found[int(step)] if step.isdigit() else found.get(step)

    assert found == value


def test_defaults_change_nothing_the_second_time_and_leave_what_they_were_given() -> None:
    given_ = asked(disk(cdrom={}))
    before = copy.deepcopy(given_)

    once = instance.defaults(given_)

    assert given_ == before
    assert instance.defaults(once) == once


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [("terminationGracePeriodSeconds", 5, True), ("hostname", "other", False)],
)
def test_a_running_guest_can_only_be_given_another_time_to_shut_down(
    field: str, value: Any, allowed: bool
) -> None:
    old = instance.defaults(asked({}))

    found = instance.causes({**old, "spec": {**old["spec"], field: value}}, old)

    assert [cause.message for cause in found] == ([] if allowed else ["update of VMI object is restricted"])


def template(name: str = "disk", **fields: Any) -> Obj:
    spec = {"source": {"blank": {}}, "pvc": {"accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}}}}  # fmt: skip
    return {"metadata": {"name": name}, "spec": {**spec, **fields}}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"runStrategy": None}, "RunStrategy must be specified"),
        ({"running": True}, machine.EXCLUSIVE),
        ({"runStrategy": "Sometimes"}, "Invalid RunStrategy (Sometimes)"),
        ({"runStrategy": "WaitAsReceiver"},
         "spec.runStrategy WaitAsReceiver is not supported yet: it receives a live migration"),
        ({"template": None}, "missing virtual machine template."),
        ({"instancetype": {"name": "small"}}, "spec.instancetype is not supported yet"),
        ({"preference": {"name": "windows"}}, "spec.preference is not supported yet"),
        ({"updateVolumesStrategy": "Migration"},
         "spec.updateVolumesStrategy Migration is not supported yet, for it is a live migration: Replacement is, by "
         "which other volumes come at the next start"),
        ({"dataVolumeTemplates": [template("")]},
         "'name' field must not be empty for DataVolumeTemplate entry spec.dataVolumeTemplate[0]."),
        ({"dataVolumeTemplates": [template("other")]},
         "DataVolumeTemplate entry spec.dataVolumeTemplate[0] must be referenced in the VMI template's 'volumes' list"),
        ({"dataVolumeTemplates": [{**template(), "metadata": {"name": "disk", "namespace": "other"}}]},
         "Embedded DataVolume namespace other differs from VM namespace default"),
        ({"dataVolumeTemplates": [template(pvc={"dataSource": {"kind": "VolumeSnapshot", "name": "s"}})]},
         "External population is incompatible with Source and SourceRef"),
        ({"dataVolumeTemplates": [template(pvc=None)]}, "Missing Data volume PVC or Storage"),
        ({"dataVolumeTemplates": [template(storage={})]},
         "Duplicate storage definition, both target storage and target pvc defined"),
        ({"dataVolumeTemplates": [template(source=None)]},
         "Data volume should have either Source, SourceRef, or be externally populated"),
        ({"dataVolumeTemplates": [template(source={})]}, "Missing dataVolume valid source"),
        ({"dataVolumeTemplates": [template(source={"blank": {}, "upload": {}})]}, "Multiple dataVolume sources"),
        ({"dataVolumeTemplates": [template(source={"http": {"url": "ftp://x"}})]},
         "spec.source Invalid source URL scheme: ftp://x; expected one of http, https, gs"),
    ],
)  # fmt: skip
def test_a_machine_that_could_not_work_is_refused(spec: Obj, message: str) -> None:
    obj = builders.machine("vm", **spec)
    obj["spec"] = {key: value for key, value in obj["spec"].items() if value is not None}

    assert message in [cause.message for cause in machine.causes(obj, None)]


@pytest.mark.parametrize("name", kubevirt.RESERVED_LABELS)
def test_labels_that_are_ours_are_written_by_nobody_else(name: str) -> None:
    plain, claimed = instance.defaults(asked({})), instance.defaults(asked({}))
    claimed["metadata"]["labels"] = {name: "x", "app": "web"}
    plain["metadata"]["labels"] = {"app": "web"}
    machine_ = builders.machine("vm")
    machine_["spec"]["template"]["metadata"] = {"labels": {name: "x"}}
    text = f"of the following reserved kubevirt.io/ labels on a VMI object is prohibited: {name}"

    assert [cause.message for cause in instance.causes(claimed, None)] == [f"creation {text}"]
    assert [cause.message for cause in instance.causes(claimed, plain)] == [f"modification {text}"]
    assert instance.causes(claimed, claimed) == ()
    assert [cause.field for cause in machine.causes(machine_, None)] == ["spec.template.metadata.labels"]


def test_a_template_is_judged_where_it_stands() -> None:
    obj = builders.machine("vm")
    obj["spec"]["template"]["spec"]["volumes"][0] = {
        "name": "root",
        "hostDisk": {"path": "/x", "type": "Disk"},
    }

    assert [cause.field for cause in machine.causes(obj, None)] == ["spec.template.spec.volumes[0].hostDisk"]


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"running": False}, ("spec.running is deprecated, please use spec.runStrategy instead.",)),
        ({"runStrategy": "Halted"}, ()),
    ],
)
def test_the_old_switch_works_and_its_author_is_told(spec: Obj, told: tuple[str, ...]) -> None:
    assert machine.advice({"spec": spec}) == told


def test_a_machine_that_was_admitted_once_can_still_be_labelled() -> None:
    obj = builders.machine("vm", runStrategy="Sometimes")

    assert machine.causes(obj, obj) == ()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.sampled_from(
    ["domain", "domain.devices", "domain.devices.disks", "domain.devices.interfaces", "volumes", "networks",
     "domain.cpu", "domain.memory", "domain.resources", "domain.firmware", "domain.machine", "domain.devices.disks.0",
     "volumes.0", "terminationGracePeriodSeconds"]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(field=FIELDS, value=JSON.filter(lambda found: found is not None))
def test_no_spec_however_odd_breaks_the_rules(field: str, value: Any) -> None:
    obj = asked({field: value})

    if not instance.causes(instance.defaults(obj), None):
        read(instance.defaults(obj))
