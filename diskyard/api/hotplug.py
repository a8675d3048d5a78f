"""Volumes that come and go while their guest runs. Pure."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from diskyard.api.instance import Instance, Volume, device, part, parts
from diskyard.api.meta import Obj

BUS: Final = "scsi"
"""The bus to which disks come when nothing is said: it has no end of places."""
BUSES: Final = (BUS, "virtio")
FLAG: Final = "hotpluggable"
DRIVE: Final = "cdrom"
"""The device into which discs go."""


def hotpluggable(volume: Volume) -> bool:
    """Whether it comes after its guest has started, and may go before that ends."""
    return volume.source.get(FLAG) is True


def plugs(instance: Instance) -> tuple[Volume, ...]:
    """Those that come and go."""
    return tuple(each for each in instance.volumes if hotpluggable(each))


def fixed(instance: Instance) -> Instance:
    """The instance with what is there from its start to its end: of a disc that comes and goes, the empty drive."""
    moving = {each.name for each in plugs(instance)}
    return replace(
        instance,
        volumes=tuple(each for each in instance.volumes if each.name not in moving),
        disks=tuple(each for each in instance.disks if each.name not in moving or each.device == DRIVE),
    )


def moving(spec: Obj) -> dict[str, tuple[Obj, Obj]]:
    """Name -> (volume, disk) of a spec's volumes that come and go, as they stand."""
    disks = {str(each.get("name")): each for each in _disks(spec)}
    found = [each for each in parts(spec, "volumes") if any(_sources(each))]
    return {str(each.get("name")): (each, disks.get(str(each.get("name")), {})) for each in found}


def without(spec: Obj, names: set[str]) -> Obj:
    """The lists of volumes and disks that remain of a spec, as a patch of it; a disc leaves its drive behind."""
    stay = {name for name, (_, disk) in moving(spec).items() if device(disk) == DRIVE}
    return _lists(
        [each for each in parts(spec, "volumes") if each.get("name") not in names],
        [each for each in _disks(spec) if each.get("name") not in names - stay],
    )


def beside(spec: Obj, more: dict[str, tuple[Obj, Obj]]) -> Obj:
    """The lists of volumes and disks with those, as a patch of the spec; a disc goes into the drive of its name."""
    there = drives(spec)
    return _lists(
        [*parts(spec, "volumes"), *(volume for volume, _ in more.values())],
        [*_disks(spec), *(disk for name, (_, disk) in more.items() if disk and name not in there)],
    )


def drives(spec: Obj) -> set[str]:
    """The names of a spec's disc drives, empty or not."""
    return {str(each.get("name")) for each in _disks(spec) if device(each) == DRIVE}


def _lists(volumes: list[Obj], disks: list[Obj]) -> Obj:
    return {"volumes": volumes, "domain": {"devices": {"disks": disks}}}


def _disks(spec: Obj) -> list[Obj]:
    return parts(part(part(spec, "domain"), "devices"), "disks")


def _sources(volume: Obj) -> Iterator[bool]:
    return (part(volume, kind).get(FLAG) is True for kind in volume)
