"""addvolume and removevolume of a machine that is stopped: volumes and disks of its template. Pure; KubeVirt's words.

A guest that runs takes and gives no volume yet: it is refused, with what to do.
"""

from typing import Final

from diskyard.api import meta
from diskyard.api.instance import part, parts
from diskyard.api.meta import MACHINE, Obj
from diskyard.errors import BadRequest
from diskyard.kube.reconcile import Action, Merge
from vm_runtime.controller.subresources import World, fitting, refused

SOURCES: Final = ("persistentVolumeClaim", "dataVolume")


def add(world: World, options: Obj) -> tuple[Action, ...]:
    """Raises BadRequest, Conflict."""
    name, disk, source = str(options.get("name") or ""), part(options, "disk"), part(options, "volumeSource")
    for missing, field in ((not name, "name"), (not disk, "disk"), (not source, "volumeSource")):
        if missing:
            raise BadRequest(f"AddVolumeOptions requires {field} to be set")
    if sum(bool(part(source, kind)) for kind in SOURCES) != 1:
        raise BadRequest(f"AddVolumeOptions requires volumeSource to be one of {', '.join(SOURCES)}")
    volumes, disks = _template(world)
    if any(each.get("name") == name for each in volumes):
        raise refused(
            MACHINE,
            world.machine.key,
            f"Unable to add volume [{name}] because volume with that name already exists",
        )
    _check_stopped(world)
    return (_changed(world, [*volumes, {**source, "name": name}], [*disks, {**disk, "name": name}]),)


def remove(world: World, options: Obj) -> tuple[Action, ...]:
    """Raises BadRequest, Conflict."""
    name = str(options.get("name") or "")
    if not name:
        raise BadRequest("RemoveVolumeOptions requires name to be set")
    volumes, disks = _template(world)
    if all(each.get("name") != name for each in volumes):
        raise refused(
            MACHINE, world.machine.key, f"Unable to remove volume [{name}] because it does not exist"
        )
    _check_stopped(world)
    kept = [[each for each in found if each.get("name") != name] for found in (volumes, disks)]
    return (_changed(world, *kept),)


def _check_stopped(world: World) -> None:
    if world.instance is not None and not world.final:
        text = "a guest that runs takes and gives no volume yet: stop the machine first"
        raise refused(MACHINE, world.machine.key, text)


def _template(world: World) -> tuple[list[Obj], list[Obj]]:
    spec = part(part(meta.spec(world.obj), "template"), "spec")
    return parts(spec, "volumes"), parts(part(part(spec, "domain"), "devices"), "disks")


def _changed(world: World, volumes: list[Obj], disks: list[Obj]) -> Merge:
    spec: Obj = {"volumes": volumes, "domain": {"devices": {"disks": disks}}}
    change = {**fitting(world.obj), "spec": {"template": {"spec": spec}}}
    return Merge(MACHINE, world.machine.key, change)
