"""Where things are in a launcher's pod."""

from dataclasses import dataclass
from pathlib import Path

from diskyard.api.names import kubevirt


@dataclass(frozen=True)
class Place:
    """The directories that the pod gives the launcher."""

    private: Path = Path(kubevirt.PRIVATE_DIR)
    """Sockets, the instance's file, discs that we make; below it the entries of Secrets and ConfigMaps."""
    disks: Path = Path(kubevirt.DISKS_DIR)
    """Claims that are file systems."""
    devices: Path = Path("/dev")
    """Claims that are block devices."""
    scratch: Path = Path(kubevirt.SCRATCH_DIR)
    """What is lost with the pod: overlays and empty disks."""
    state: Path = Path(kubevirt.STATE_DIR)
    """What firmware and TPM remember from one life to the next, where they do."""
    images: Path = Path(kubevirt.CONTAINER_DISKS_DIR)
    """Disks out of container images."""
    service_account: Path = Path(kubevirt.SERVICE_ACCOUNT_DIR)

    def beneath(self, directory: str) -> Path:
        """A directory of the pod that lies in its private one."""
        return self.private / Path(directory).relative_to(kubevirt.PRIVATE_DIR)
