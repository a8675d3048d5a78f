"""What lies behind each of a guest's volumes, found or made: one function for each kind of volume."""

from collections.abc import Callable, Mapping
from typing import Final

from diskyard.api.instance import CONTAINER_DISK, EPHEMERAL, HOST_DISK, Instance, Volume
from vm_runtime.domain.disk import Backing
from vm_runtime.launcher import discs, disks, overlays
from vm_runtime.launcher.place import Place


def backings(instance: Instance, place: Place) -> Mapping[str, Backing]:
    """The backing of each volume, by the volume's name. Raises InvalidRequest, NoSpace."""
    return {volume.name: _KINDS[volume.kind](instance, volume, place) for volume in instance.volumes}


def _disc(instance: Instance, volume: Volume, place: Place) -> Backing:
    path = discs.disc(instance, volume, place)
    return Backing(str(path), direct=disks.direct(path), sealed=True)


_KINDS: Final[Mapping[str, Callable[[Instance, Volume, Place], Backing]]] = {
    "persistentVolumeClaim": disks.claimed,
    "dataVolume": disks.claimed,
    HOST_DISK: disks.on_host,
    EPHEMERAL: overlays.over_claim,
    CONTAINER_DISK: overlays.over_image,
    "emptyDisk": overlays.empty,
    **dict.fromkeys(discs.KINDS, _disc),
}
