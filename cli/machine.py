"""The objects of `diskyard run`: a machine, the disks that it owns, its cloud-init. Pure."""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final
from urllib.parse import urlsplit

from diskyard.api import meta
from diskyard.api.meta import DATA_VOLUME, MACHINE, Obj
from diskyard.api.names import cdi

ROOT: Final = "root"
CDROM: Final = "cdrom"
_SOURCES: Final = {"http": "http", "https": "http", "gs": "gcs", "docker": "registry"}
"""The scheme of an image's URL -> the source of a DataVolume."""
_PACKED: Final = frozenset((".gz", ".xz", ".zst", ".bz2", ".tar"))
_LONGEST: Final = 50
"""Characters of a name that is made from a file's: names of disks and pods are longer."""


@dataclass(frozen=True)
class Disk:
    """A disk that the machine owns, and where its bytes come from."""

    image: str
    """A URL or a path; empty: nothing, it is blank."""
    size: str
    """Of the disk, as a quantity."""

    @property
    def local(self) -> bool:
        """Whether its bytes are uploaded from this machine."""
        return bool(self.image) and "://" not in self.image

    @property
    def source(self) -> Obj:
        """The source of its DataVolume."""
        if not self.image:
            return {"blank": {}}
        return {"upload": {}} if self.local else {source_of(self.image): {"url": self.image}}


@dataclass(frozen=True)
class Machine:
    """What is to run."""

    name: str
    namespace: str
    memory: str
    cpus: int
    disks: dict[str, Disk]
    """By what they are: root, cdrom, cdrom-2; the machine boots from the first that it can boot from."""
    user_data: str = ""
    keys: str = ""
    """Public SSH keys, a line each."""


def source_of(url: str) -> str:
    """Which source of a DataVolume reads a URL; empty: none."""
    return _SOURCES.get(urlsplit(url).scheme.lower(), "")


def name_of(image: str) -> str:
    """A machine's name, from the file that it is made from: `Fedora-42.x86_64.qcow2` -> `fedora-42-x86-64`."""
    path = PurePosixPath(urlsplit(image).path if "://" in image else image)
    while path.suffix in _PACKED:
        path = path.with_suffix("")
    stem = path.name.partition("@")[0].partition(":")[0]
    stem = PurePosixPath(stem).stem if re.fullmatch(r"\.[a-zA-Z]\w*", PurePosixPath(stem).suffix) else stem
    return re.sub(r"[^a-z0-9]+", "-", stem.lower())[:_LONGEST].strip("-") or "guest"


def disk_name(machine: str, disk: str) -> str:
    """What a machine's DataVolume is called."""
    return machine if disk == ROOT else f"{machine}-{disk}"


def machine(wanted: Machine) -> Obj:
    """The VirtualMachine; its disks go when it goes."""
    names = list(wanted.disks)
    disks = [_disk(name, number) for number, name in enumerate(names, 1)]
    volumes: list[Obj] = [
        {"name": name, "dataVolume": {"name": disk_name(wanted.name, name)}} for name in names
    ]
    spec: dict[str, Any] = {
        "domain": {
            "cpu": {"cores": wanted.cpus},
            "devices": {
                "disks": disks,
                "interfaces": [{"name": "default", "masquerade": {}}],
                "rng": {},
            },
            "memory": {"guest": wanted.memory},
        },
        "networks": [{"name": "default", "pod": {}}],
        "terminationGracePeriodSeconds": 30,
        "volumes": volumes,
    }
    if wanted.user_data or wanted.keys:
        disks.append({"name": "cloudinit", "disk": {"bus": "virtio"}})
        volumes.append(
            {"name": "cloudinit", "cloudInitNoCloud": {"secretRef": {"name": secret_name(wanted.name)}}}
        )
    if wanted.keys:
        keys = {"source": {"secret": {"secretName": keys_name(wanted.name)}}}
        spec["accessCredentials"] = [{"sshPublicKey": {**keys, "propagationMethod": {"noCloud": {}}}}]
    return {
        "apiVersion": MACHINE.api_version,
        "kind": MACHINE.kind,
        "metadata": {"name": wanted.name, "namespace": wanted.namespace},
        "spec": {
            "runStrategy": "RerunOnFailure",
            "dataVolumeTemplates": [_template(wanted, name) for name in names],
            "template": {"spec": spec},
        },
    }


def secrets(wanted: Machine, owner: Obj) -> list[Obj]:
    """What the machine's cloud-init reads; owned by it."""
    held: dict[str, dict[str, str]] = {}
    if wanted.user_data or wanted.keys:
        held[secret_name(wanted.name)] = {"userdata": wanted.user_data or "#cloud-config\n{}\n"}
    if wanted.keys:
        held[keys_name(wanted.name)] = {"keys": wanted.keys}
    reference = meta.owner_reference(MACHINE, owner)
    return [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": wanted.namespace, "ownerReferences": [reference]},
            "stringData": words,
        }
        for name, words in held.items()
    ]


def secret_name(name: str) -> str:
    """The Secret with a machine's user data."""
    return f"{name}-cloud-init"


def keys_name(name: str) -> str:
    """The Secret with a machine's public SSH keys."""
    return f"{name}-ssh-keys"


def _disk(name: str, order: int) -> Obj:
    kind = {"disk": {"bus": "virtio"}} if name == ROOT else {"cdrom": {"bus": "sata"}}
    return {"name": name, "bootOrder": order, **kind}


def _template(wanted: Machine, name: str) -> Obj:
    disk = wanted.disks[name]
    return {
        "apiVersion": DATA_VOLUME.api_version,
        "kind": DATA_VOLUME.kind,
        "metadata": {
            "name": disk_name(wanted.name, name),
            "annotations": {cdi.IMMEDIATE_BINDING: ""},
        },
        "spec": {
            "source": disk.source,
            "storage": {"resources": {"requests": {"storage": disk.size}}},
        },
    }
