"""Which package holds a program (or the firmware `ovmf`), in the words of the host's package manager."""

import shutil
from collections.abc import Callable
from typing import Final

APT: Final = {
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "libvirtd": "libvirt-daemon libvirt-daemon-driver-qemu",
    "bwrap": "bubblewrap",
    "losetup": "util-linux",
    "ovmf": "ovmf",
    "swtpm": "swtpm swtpm-tools",
}
RPM: Final = {
    "qemu-system-x86_64": "qemu-kvm",
    "qemu-img": "qemu-img",
    "libvirtd": "libvirt-daemon libvirt-daemon-driver-qemu",
    "bwrap": "bubblewrap",
    "losetup": "util-linux-core",
    "ovmf": "edk2-ovmf",
    "swtpm": "swtpm swtpm-tools",
}
TOOLS: Final = (("apt-get", "apt", APT), ("dnf", "dnf", RPM), ("yum", "yum", RPM))


def installation(program: str, which: Callable[[str], str | None] = shutil.which) -> str:
    """The command that installs a program; `which` finds the host's package manager."""
    for tool, spoken, packages in TOOLS:
        if which(tool):
            return f"sudo {spoken} install {packages[program]}"
    return f"install {APT[program]} (so it is called on Debian) by this system's package manager"
