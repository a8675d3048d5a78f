"""What a guest boots by: builds of EDK II as distributions install them, or a kernel of its own."""

import shutil
import zlib
from pathlib import Path
from typing import Final

from diskyard.api.instance import Instance
from diskyard.api.kernelboot import INITRD, KERNEL, kernel_boot
from diskyard.api.quantity import MIB
from diskyard.errors import InvalidRequest
from vm_runtime.domain.firmware import Kernel, Uefi
from vm_runtime.launcher import overlays
from vm_runtime.launcher.place import Place

BUILDS: Final = {
    False: (
        ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
        ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
        ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
    ),
    True: (
        ("/usr/share/OVMF/OVMF_CODE_4M.secboot.fd", "/usr/share/OVMF/OVMF_VARS_4M.ms.fd"),
        ("/usr/share/OVMF/OVMF_CODE.secboot.fd", "/usr/share/OVMF/OVMF_VARS.ms.fd"),
        ("/usr/share/edk2/ovmf/OVMF_CODE.secboot.fd", "/usr/share/edk2/ovmf/OVMF_VARS.secboot.fd"),
    ),
}
"""By whether they check signatures: (code, variables), Debian's first."""


def uefi(instance: Instance, place: Place) -> Uefi | None:
    """The build for a guest, and where its variables are kept; None: it boots by BIOS. Raises InvalidRequest."""
    if instance.efi is None:
        return None
    secure = instance.efi.get("secureBoot") is not False
    for code, variables in BUILDS[secure]:
        if Path(code).is_file() and Path(variables).is_file():
            kept = place.state if instance.keeps_variables else place.private
            return Uefi(code, variables, str(kept / "uefi-variables.fd"), secure)
    raise InvalidRequest(
        f"the guest boots by UEFI, and none is installed on its node: expected {BUILDS[secure][0][0]} "
        "(Debian: apt install ovmf; Fedora: dnf install edk2-ovmf)"
    )


def kernel(instance: Instance, place: Place) -> Kernel | None:
    """The kernel that was fetched for a guest; None: it boots from its disks."""
    boot = kernel_boot(instance)
    if boot is None:
        return None
    found = {each.name: str(overlays.fetched(each, place)) for each in boot.files}
    return Kernel(found[KERNEL], found.get(INITRD, ""), boot.arguments)


def checksums(found: Kernel | None) -> dict[str, str]:
    """The CRC-32 of the kernel and of its initrd, as KubeVirt tells them."""
    files = {"kernel": found.path, "initrd": found.initrd} if found else {}
    return {name: str(_checksum(Path(path))) for name, path in files.items() if path}


def _checksum(path: Path) -> int:
    found = 0
    with path.open("rb") as file:
        while chunk := file.read(MIB):
            found = zlib.crc32(chunk, found)
    return found


def tpm(instance: Instance, place: Place, kept_by_libvirt: Path) -> None:
    """See that there is what emulates a TPM, where the guest has one, and that it remembers. Raises InvalidRequest."""
    missing = [name for name in ("swtpm", "swtpm_setup") if not shutil.which(name)]
    if instance.tpm and missing:
        raise InvalidRequest(
            f"the guest has a TPM, and its node has no {' and no '.join(missing)} "
            "(Debian: apt install swtpm swtpm-tools; Fedora: dnf install swtpm swtpm-tools)"
        )
    if instance.keeps_tpm and not kept_by_libvirt.is_symlink():
        (place.state / "swtpm").mkdir(exist_ok=True)
        kept_by_libvirt.symlink_to(place.state / "swtpm")
