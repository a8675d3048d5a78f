"""Disks that are lost with their guest's pod: empty ones, and what is written over a claim or an image."""

from pathlib import Path
from typing import Final

from diskyard.api import quantity
from diskyard.api.instance import Instance, Volume
from diskyard.api.names.cdi import DISK_FILE
from diskyard.api.quantity import round_down
from diskyard.disk import qemu
from diskyard.errors import InvalidRequest
from vm_runtime.domain.disk import Backing
from vm_runtime.launcher import disks
from vm_runtime.launcher.place import Place

QCOW2: Final = "qcow2"


def empty(_: Instance, volume: Volume, place: Place) -> Backing:
    """A disk of the volume's capacity with nothing on it. Raises InvalidRequest."""
    size = round_down(quantity.parse(volume.source.get("capacity") or 0))
    if size <= 0:
        raise InvalidRequest(f"the size for volume {volume.name} is too low: it needs 1Mi at least")
    path = _path(volume, place)
    if not path.exists():
        qemu.create(path, size)
    return Backing(str(path), direct=disks.direct(path), format=QCOW2)


def over_claim(instance: Instance, volume: Volume, place: Place) -> Backing:
    """What is written beside a claim's disk, which stays as it is. Raises InvalidRequest."""
    return over(disks.claimed(instance, volume, place), volume, place)


def over_image(instance: Instance, volume: Volume, place: Place) -> Backing:
    """What is written beside the disk out of a container image; the image itself where the guest only reads."""
    path = fetched(volume, place)
    image = Backing(str(path), direct=disks.direct(path), sealed=True)
    reads = all(disk.readonly for disk in disks.on(instance, volume))
    return image if reads else over(image, volume, place)


def fetched(volume: Volume, place: Place) -> Path:
    """Where the file out of a container image is."""
    return place.images / volume.name / DISK_FILE


def over(lower: Backing, volume: Volume, place: Place) -> Backing:
    """An overlay, made if it is not there yet."""
    path = _path(volume, place)
    if not path.exists():
        qemu.overlay(path, Path(lower.path))
    both = disks.direct(path) and lower.direct
    return Backing(str(path), direct=both, format=QCOW2, over=lower)


def _path(volume: Volume, place: Place) -> Path:
    path = place.scratch / volume.name / f"disk.{QCOW2}"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
