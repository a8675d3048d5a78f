"""Which UEFI a guest boots by: builds of EDK II as distributions install them."""

import shutil
from pathlib import Path
from typing import Final

from diskyard.api.instance import Instance
from diskyard.errors import InvalidRequest
from vm_runtime.domain.firmware import Uefi

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


def uefi(instance: Instance, private: Path) -> Uefi | None:
    """The build for a guest, and where its variables are kept; None: it boots by BIOS. Raises InvalidRequest."""
    if instance.efi is None:
        return None
    secure = instance.efi.get("secureBoot") is not False
    for code, variables in BUILDS[secure]:
        if Path(code).is_file() and Path(variables).is_file():
            return Uefi(code, variables, str(private / "uefi-variables.fd"), secure)
    raise InvalidRequest(
        f"the guest boots by UEFI, and none is installed on its node: expected {BUILDS[secure][0][0]} "
        "(Debian: apt install ovmf; Fedora: dnf install edk2-ovmf)"
    )


def check_tpm(instance: Instance) -> None:
    """Whether what emulates a TPM is installed, where the guest has one. Raises InvalidRequest."""
    missing = [name for name in ("swtpm", "swtpm_setup") if not shutil.which(name)]
    if instance.tpm and missing:
        raise InvalidRequest(
            f"the guest has a TPM, and its node has no {' and no '.join(missing)} "
            "(Debian: apt install swtpm swtpm-tools; Fedora: dnf install swtpm swtpm-tools)"
        )
