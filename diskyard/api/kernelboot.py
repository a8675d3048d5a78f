"""spec.domain.firmware.kernelBoot: a kernel out of a container image, in the place of what a disk would boot. Pure."""

from dataclasses import dataclass
from typing import Final

from diskyard.api.instance import CONTAINER_DISK, Instance, Volume, part
from diskyard.api.meta import Obj

KERNEL: Final = "kernel-boot-kernel"
INITRD: Final = "kernel-boot-initrd"
_PATHS: Final = {KERNEL: "kernelPath", INITRD: "initrdPath"}


@dataclass(frozen=True)
class KernelBoot:
    """What the guest begins with."""

    arguments: str
    files: tuple[Volume, ...]
    """Each to be fetched as a containerDisk's file is; named KERNEL and INITRD."""


def kernel_boot(instance: Instance) -> KernelBoot | None:
    """None: the guest boots from its disks."""
    said = container(instance.domain)
    files = tuple(_file(name, said) for name, path in _PATHS.items() if said.get(path))
    arguments = part(part(instance.domain, "firmware"), "kernelBoot").get("kernelArgs")
    return KernelBoot(str(arguments or ""), files) if files else None


def container(domain: Obj) -> Obj:
    """Where the files are: kernelBoot.container as it stands."""
    return part(part(part(domain, "firmware"), "kernelBoot"), "container")


def fetched(instance: Instance) -> tuple[Volume, ...]:
    """All that comes out of container images before the guest starts."""
    boot = kernel_boot(instance)
    disks = (volume for volume in instance.volumes if volume.kind == CONTAINER_DISK)
    return (*disks, *(boot.files if boot else ()))


def _file(name: str, said: Obj) -> Volume:
    source = {key: said[key] for key in ("image", "imagePullSecret", "imagePullPolicy") if said.get(key)}
    return Volume(name, CONTAINER_DISK, source={**source, "path": str(said[_PATHS[name]])})
