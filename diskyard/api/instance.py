"""What we read of a VirtualMachineInstance: its guest's shape, its disks and what lies behind them."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_CEILING
from typing import Any, Final

from diskyard.api import meta, quantity
from diskyard.api.meta import Obj
from diskyard.api.names import kubevirt

DEFAULT_GRACE: Final = 30
"""Seconds that a guest gets to shut down when its spec does not say."""
PROBES: Final = ("readinessProbe", "livenessProbe")
FINAL_PHASES: Final = ("Succeeded", "Failed")
CLAIM_KINDS: Final = ("persistentVolumeClaim", "dataVolume")
"""The kinds of volume that are a claim."""
CONTAINER_DISK: Final = "containerDisk"
HOST_DISK: Final = "hostDisk"
EPHEMERAL: Final = "ephemeral"
"""The kind of volume that reads a claim and forgets what is written."""
_ON_CLAIMS: Final = (*CLAIM_KINDS, EPHEMERAL)
SEED_METHODS: Final = ("noCloud", "configDrive")
"""How public keys reach a guest on a disc."""
DEVICES: Final = ("disk", "lun", "cdrom")
PREFIXES: Final = {"virtio": "vd", "sata": "sd", "scsi": "sd", "usb": "sd"}
"""Buses and how their devices are called; those that share a prefix share its letters."""
BRIDGE: Final = "bridge"
"""The binding by which a guest has its pod's address itself."""
BINDINGS: Final = ("bridge", "masquerade", "sriov", "passtBinding", "binding", "slirp", "macvtap", "passt")


@dataclass(frozen=True)
class Claim:
    """What status.volumeStatus knows of the claim behind a volume."""

    name: str
    block: bool
    size: int
    """Bytes: what was asked for, at most what was given; 0 when neither is known."""
    preallocated: bool = False
    most: int = 0
    """Bytes that a disk in it may have: that size, without what its file system takes."""


@dataclass(frozen=True)
class Volume:
    """One of spec.volumes."""

    name: str
    kind: str
    """The field that is set: `persistentVolumeClaim`, `dataVolume`, ..."""
    claim: str = ""
    """The claim's name, for the kinds that stand on one (a DataVolume's claim has its name)."""
    source: Obj = field(default_factory=dict)
    """What stands below that field."""


@dataclass(frozen=True)
class Disk:
    """One of spec.domain.devices.disks."""

    name: str
    """Also its volume's."""
    device: str = "disk"
    bus: str = "sata"
    readonly: bool = False
    boot_order: int | None = None
    serial: str = ""
    cache: str = ""
    io: str = ""
    shareable: bool = False
    error_policy: str = ""
    block_size: Obj = field(default_factory=dict)
    """blockSize."""
    tray: str = ""
    own_thread: bool = False
    """dedicatedIOThread."""
    slot: str = ""  # pciAddress


@dataclass(frozen=True)
class Credential:
    """One of spec.accessCredentials: a Secret whose every key is a public SSH key."""

    secret: str
    method: str
    """How the guest gets it: `noCloud` or `configDrive`."""


@dataclass(frozen=True)
class Interface:
    """One of spec.domain.devices.interfaces."""

    name: str
    binding: str = ""
    model: str = "virtio"
    mac: str = ""
    boot_order: int | None = None
    ports: tuple[tuple[str, int], ...] = ()
    """(tcp or udp, number) that lead to the guest; empty: all."""
    dhcp: Obj = field(default_factory=dict)
    """dhcpOptions."""
    cidr: str = ""
    """Of its network: where the guest is behind its pod; empty: the usual one."""


@dataclass(frozen=True)
class Cpu:
    """Virtual processors; a count of 0 reads as 1."""

    sockets: int = 1
    cores: int = 1
    threads: int = 1
    model: str = "host-model"
    features: tuple[tuple[str, str], ...] = ()
    """(name, policy)."""

    @property
    def count(self) -> int:
        """How many there are."""
        return self.sockets * self.cores * self.threads


@dataclass(frozen=True)
class Instance:
    """A guest as asked for, and what is known of the claims behind its volumes."""

    namespace: str
    name: str
    uid: str
    memory: int
    """Bytes."""
    cpu: Cpu = Cpu()
    disks: tuple[Disk, ...] = ()
    volumes: tuple[Volume, ...] = ()
    interfaces: tuple[Interface, ...] = ()
    claims: Mapping[str, Claim] = field(default_factory=dict)
    """By the volume's name."""
    machine: str = "q35"
    firmware_uuid: str = ""
    firmware_serial: str = ""
    bios_serial: bool = False
    grace: int = DEFAULT_GRACE
    hostname: str = ""
    """How the guest is to call itself."""
    type_name: str = ""
    """The instance type that it was made from."""
    credentials: tuple[Credential, ...] = ()
    begins_paused: bool = False
    """Whether it stays halted before its first instruction until someone lets it go."""
    probes: Mapping[str, Obj] = field(default_factory=dict)
    """readinessProbe and livenessProbe, where they are said."""
    domain: Obj = field(default_factory=dict)
    """spec.domain as it stands, for the many small wishes in it."""

    @property
    def devices(self) -> Obj:
        """spec.domain.devices as it stands."""
        return part(self.domain, "devices")

    @property
    def efi(self) -> Obj | None:
        """spec.domain.firmware.bootloader.efi; None: the guest boots by BIOS."""
        bootloader = part(part(self.domain, "firmware"), "bootloader")
        return part(bootloader, "efi") if bootloader.get("efi") is not None else None

    @property
    def keeps_variables(self) -> bool:
        """Whether the firmware's variables outlive the instance, in a claim of their own."""
        return bool(self.efi and self.efi.get("persistent"))

    @property
    def keeps_tpm(self) -> bool:
        """Whether what its TPM holds does."""
        return self.tpm and bool(part(self.devices, "tpm").get("persistent"))

    @property
    def tpm(self) -> bool:
        """Whether it has a TPM."""
        said = self.devices.get("tpm")
        return isinstance(said, dict) and said.get("enabled") is not False

    @property
    def claim_volumes(self) -> tuple[Volume, ...]:
        """The volumes that stand on claims."""
        return tuple(volume for volume in self.volumes if volume.claim)

    def attached(self, switch: str) -> bool:
        """Whether a device that is there unless switched off is there: `autoattachGraphicsDevice` ..."""
        return self.devices.get(switch) is not False


def instance(obj: Obj) -> Instance:
    """The instance that an admitted and defaulted object says."""
    spec, notes = meta.spec(obj), meta.annotations(obj)
    domain = part(spec, "domain")
    devices = part(domain, "devices")
    firmware = part(domain, "firmware")
    return Instance(
        namespace=meta.namespace(obj),
        name=meta.name(obj),
        uid=meta.uid(obj),
        memory=memory(spec),
        cpu=cpu(domain),
        disks=tuple(_disk(each) for each in parts(devices, "disks")),
        volumes=tuple(volumes(spec)),
        interfaces=tuple(_interface(each, spec) for each in parts(devices, "interfaces")),
        claims=dict(_claims(obj)),
        machine=str(part(domain, "machine").get("type") or "q35"),
        firmware_uuid=str(firmware.get("uuid") or meta.uid(obj)),
        firmware_serial=str(firmware.get("serial") or ""),
        bios_serial=bool(part(part(firmware, "bootloader"), "bios").get("useSerial")),
        grace=grace(spec),
        hostname=hostname(obj),
        type_name=next((notes[key] for key in kubevirt.INSTANCE_TYPES if notes.get(key)), ""),
        credentials=tuple(credentials(spec)),
        probes={name: part(spec, name) for name in PROBES if part(spec, name)},
        begins_paused=spec.get("startStrategy") == "Paused",
        domain=domain,
    )


def portrait(obj: Obj) -> Obj:
    """What a launcher needs of the object: who it is, what it asks for, what its volumes are."""
    kept = ("name", "namespace", "uid", "annotations")
    return {
        "metadata": {key: value for key, value in meta.meta(obj).items() if key in kept},
        "spec": meta.spec(obj),
        "status": {"volumeStatus": meta.status(obj).get("volumeStatus") or []},
    }


def part(obj: Mapping[str, Any], name: str) -> Obj:
    """The object below `name`; empty where there is none."""
    found = obj.get(name)
    return found if isinstance(found, dict) else {}


def parts(obj: Mapping[str, Any], name: str) -> list[Obj]:
    """The objects in the list below `name`; empty where there is none."""
    found = obj.get(name)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def grace(spec: Obj) -> int:
    """Seconds that the guest gets to shut down."""
    said = spec.get("terminationGracePeriodSeconds")
    return said if isinstance(said, int) and said >= 0 else DEFAULT_GRACE


def hostname(obj: Obj) -> str:
    """The host name: as asked, else the instance's name; up to the first dot, at most 63 characters."""
    return str(meta.spec(obj).get("hostname") or meta.name(obj)).split(".")[0][:63].rstrip("-")


def credentials(spec: Obj) -> Iterator[Credential]:
    """The public keys that the guest's first boot puts in place."""
    for each in parts(spec, "accessCredentials"):
        said = part(each, "sshPublicKey")
        secret = str(part(part(said, "source"), "secret").get("secretName") or "")
        methods = part(said, "propagationMethod")
        yield from (Credential(secret, method) for method in SEED_METHODS if methods.get(method) is not None)


def memory(spec: Obj) -> int:
    """The guest's memory in bytes; 0 when nothing says it. Raises InvalidRequest."""
    domain = part(spec, "domain")
    resources = part(domain, "resources")
    said = (
        part(domain, "memory").get("guest"),
        part(resources, "requests").get("memory"),
        part(resources, "limits").get("memory"),
        part(part(domain, "memory"), "hugepages").get("pageSize"),
    )
    return next((quantity.parse(text) for text in said if text), 0)


def cpu(domain: Obj) -> Cpu:
    """The processors; without any count as many sockets as whole processors are asked for."""
    said = part(domain, "cpu")
    counts = [_count(said.get(name)) for name in ("sockets", "cores", "threads")]
    if not any(counts):
        resources = part(domain, "resources")
        asked = part(resources, "limits").get("cpu") or part(resources, "requests").get("cpu") or 1
        counts[0] = int(quantity.value(asked).to_integral_value(rounding=ROUND_CEILING))
    sockets, cores, threads = (max(1, count) for count in counts)
    features = tuple((str(f.get("name")), str(f.get("policy") or "require")) for f in parts(said, "features"))
    return Cpu(sockets, cores, threads, str(said.get("model") or "host-model"), features)


def volumes(spec: Obj) -> Iterator[Volume]:
    """The volumes that a spec says."""
    for each in parts(spec, "volumes"):
        kind = next((key for key, value in each.items() if key != "name" and value is not None), "")
        source = part(each, kind)
        yield Volume(str(each.get("name") or ""), kind, _claim_name(kind, source), source)


def device(disk: Obj) -> str:
    """How the guest sees a disk: `disk`, `lun` or `cdrom`."""
    return next((kind for kind in DEVICES if isinstance(disk.get(kind), dict)), "disk")


def mac(instance: Instance, interface: Interface) -> str:
    """The MAC address: as asked, else derived, so that a guest meets the same card at each start."""
    if interface.mac:
        return interface.mac.lower().replace("-", ":")
    digest = hashlib.sha256(f"{instance.firmware_uuid}/{interface.name}".encode()).digest()
    return ":".join(f"{byte:02x}" for byte in (0x02, *digest[:5]))


def targets(disks: Iterable[Disk]) -> dict[str, str]:
    """How each disk is called in the domain, by the disk's name: `vda`, `sdb`; letters by order on the bus."""
    used: Counter[str] = Counter()
    found = {}
    for disk in disks:
        prefix = PREFIXES.get(disk.bus, "vd")
        found[disk.name] = prefix + letters(used[prefix])
        used[prefix] += 1
    return found


def letters(number: int) -> str:
    """0 -> `a`, 25 -> `z`, 26 -> `aa`: as Linux counts disks."""
    text = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        text = chr(ord("a") + rest) + text
    return text


def _disk(said: Obj) -> Disk:
    kind = device(said)
    target = part(said, kind)
    return Disk(
        name=str(said.get("name") or ""),
        device=kind,
        bus=str(target.get("bus") or "sata"),
        readonly=target.get("readonly") is not False if kind == "cdrom" else bool(target.get("readonly")),
        boot_order=said.get("bootOrder"),
        serial=str(said.get("serial") or ""),
        cache=str(said.get("cache") or ""),
        io=str(said.get("io") or ""),
        shareable=bool(said.get("shareable")),
        error_policy=str(said.get("errorPolicy") or ""),
        block_size=part(said, "blockSize"),
        tray=str(target.get("tray") or "closed") if kind == "cdrom" else "",
        own_thread=bool(said.get("dedicatedIOThread")),
        slot=str(target.get("pciAddress") or ""),
    )


def _interface(said: Obj, spec: Obj) -> Interface:
    name = str(said.get("name") or "")
    network = next((each for each in parts(spec, "networks") if each.get("name") == name), {})
    return Interface(
        name=name,
        binding=next((kind for kind in BINDINGS if said.get(kind) is not None), ""),
        model=str(said.get("model") or "virtio"),
        mac=str(said.get("macAddress") or ""),
        boot_order=said.get("bootOrder"),
        ports=tuple(
            (str(each.get("protocol") or "TCP").lower(), int(each.get("port") or 0))
            for each in parts(said, "ports")
        ),
        dhcp=part(said, "dhcpOptions"),
        cidr=str(part(network, "pod").get("vmNetworkCIDR") or ""),
    )


def _claims(obj: Obj) -> Iterator[tuple[str, Claim]]:
    for volume in meta.status(obj).get("volumeStatus") or ():
        said = part(volume, "persistentVolumeClaimInfo")
        if said:
            told = (part(said, each).get("storage") or 0 for each in ("requests", "capacity"))
            size = min(filter(None, map(quantity.parse, told)), default=0)
            claim = Claim(
                name=str(said.get("claimName") or ""),
                block=said.get("volumeMode") == "Block",
                size=size,
                preallocated=bool(said.get("preallocated")),
                most=quantity.usable(size, float(str(said.get("filesystemOverhead") or 0))),
            )
            yield str(volume.get("name") or ""), claim


def _claim_name(kind: str, source: Obj) -> str:
    if kind == EPHEMERAL:
        source = part(source, "persistentVolumeClaim")
    name = source.get("name" if kind == "dataVolume" else "claimName")
    return str(name or "") if kind in _ON_CLAIMS else ""


def _count(said: object) -> int:
    return said if isinstance(said, int) and said > 0 else 0
