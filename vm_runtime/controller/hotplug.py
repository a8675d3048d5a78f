"""addvolume and removevolume: volumes and disks of a machine's template, or of an instance. Pure; KubeVirt's words.

What a machine's template says comes to its guest while that runs: `followed` is for the machine's reconciler.
"""

from typing import Final

from diskyard.api import hotplug, meta
from diskyard.api.instance import device, part, parts, volumes
from diskyard.api.meta import INSTANCE, MACHINE, Kind, Obj
from diskyard.errors import BadRequest
from diskyard.kube.reconcile import Action, Merge
from vm_runtime.controller.subresources import World, fitting, refused

SOURCES: Final = ("persistentVolumeClaim", "dataVolume")


def add(world: World, options: Obj) -> tuple[Action, ...]:
    """To a machine, and so to its guest. Raises BadRequest, Conflict."""
    spec = part(part(meta.spec(world.obj), "template"), "spec")
    if world.instance is not None and not world.final:
        _check_drive(world, options)
    return (_merge(world.obj, _added(MACHINE, world.obj, spec, options)),)


def remove(world: World, options: Obj) -> tuple[Action, ...]:
    """From a machine, and so from its guest. Raises BadRequest, Conflict."""
    spec = part(part(meta.spec(world.obj), "template"), "spec")
    there = meta.spec(world.instance) if world.instance is not None and not world.final else {}
    return (_merge(world.obj, _removed(MACHINE, world.obj, spec, options, running=there)),)


def add_to_instance(obj: Obj, options: Obj) -> tuple[Action, ...]:
    """To a guest that is no machine's. Raises BadRequest, Conflict."""
    _check_alone(obj)
    return (_merge(obj, _added(INSTANCE, obj, meta.spec(obj), options)),)


def remove_from_instance(obj: Obj, options: Obj) -> tuple[Action, ...]:
    """From a guest that is no machine's. Raises BadRequest, Conflict."""
    _check_alone(obj)
    return (_merge(obj, _removed(INSTANCE, obj, meta.spec(obj), options, running=meta.spec(obj))),)


def followed(template: Obj, instance: Obj) -> Merge | None:
    """What makes an instance have the volumes that come and go of its machine's template; None: it has them."""
    spec = meta.spec(instance)
    wanted, there = hotplug.moving(meta.spec(template)), hotplug.moving(spec)
    # What has another claim by now goes first, and what is on its way out has gone before its namesake comes.
    gone = {
        name for name, each in there.items() if name not in wanted or _claim(wanted[name]) != _claim(each)
    }
    taken = {str(each.get("name")) for each in parts(spec, "volumes")} | {
        str(each.get("name")) for each in parts(meta.status(instance), "volumeStatus")
    }
    more = {
        name: (volume, disk)
        for name, (volume, disk) in wanted.items()
        if name not in taken and (device(disk) != hotplug.DRIVE or name in hotplug.drives(spec))
    }
    if not more and not gone:
        return None
    kept = hotplug.without(spec, gone)
    return _merge(instance, hotplug.beside(kept, {name: _complete(*each) for name, each in more.items()}))


def _claim(moving: tuple[Obj, Obj]) -> tuple[str, ...]:
    """What such a volume stands on."""
    return tuple(each.claim for each in volumes({"volumes": [moving[0]]}))


def _complete(volume: Obj, disk: Obj) -> tuple[Obj, Obj]:
    """With a disk, on the bus to which it can come."""
    kind = device(disk)
    bus = part(disk, kind).get("bus") or (hotplug.BUS if kind != hotplug.DRIVE else "")
    return volume, {
        **disk,
        "name": volume.get("name"),
        kind: {**part(disk, kind), **({"bus": bus} if bus else {})},
    }


def _added(kind: Kind, obj: Obj, spec: Obj, options: Obj) -> Obj:
    name, disk, source = str(options.get("name") or ""), part(options, "disk"), part(options, "volumeSource")
    for missing, field in ((not name, "name"), (not disk, "disk"), (not source, "volumeSource")):
        if missing:
            raise BadRequest(f"AddVolumeOptions requires {field} to be set")
    if sum(bool(part(source, each)) for each in SOURCES) != 1:
        raise BadRequest(f"AddVolumeOptions requires volumeSource to be one of {', '.join(SOURCES)}")
    if any(each.get("name") == name for each in parts(spec, "volumes")):
        text = f"Unable to add volume [{name}] because volume with that name already exists"
        raise refused(kind, meta.key(obj), text)
    said = {key: {**part(source, key), hotplug.FLAG: True} for key in SOURCES if part(source, key)}
    return hotplug.beside(spec, {name: _complete({"name": name, **said}, disk)})


def _removed(kind: Kind, obj: Obj, spec: Obj, options: Obj, *, running: Obj) -> Obj:
    name = str(options.get("name") or "")
    if not name:
        raise BadRequest("RemoveVolumeOptions requires name to be set")
    if all(each.get("name") != name for each in parts(spec, "volumes")):
        text = f"Unable to remove volume [{name}] because it does not exist"
        raise refused(kind, meta.key(obj), text)
    if name in {each.get("name") for each in parts(running, "volumes")} - hotplug.moving(running).keys():
        text = f"Unable to remove volume [{name}] because it is not hotpluggable: stop the guest first"
        raise refused(kind, meta.key(obj), text)
    return hotplug.without(spec, {name})


def _check_drive(world: World, options: Obj) -> None:
    name = str(options.get("name") or "")
    there = hotplug.drives(meta.spec(world.instance or {}))
    if device(part(options, "disk")) == hotplug.DRIVE and name not in there:
        found = f"it has {', '.join(sorted(there))}" if there else "it has none"
        raise refused(
            MACHINE,
            meta.key(world.obj),
            f"Unable to add volume [{name}] because the guest has no drive of that name, {found}: a cdrom "
            "without a volume in the machine's template becomes one at its next start",
        )


def _check_alone(obj: Obj) -> None:
    if (meta.controller_of(obj) or {}).get("kind") == MACHINE.kind:
        where = f"{meta.namespace(obj)}/{meta.name(obj)}"
        raise refused(
            INSTANCE, meta.key(obj), f"VMI {where} is owned by a VM: add --persist, so that the VM has it too"
        )
    if meta.phase(obj) != "Running":
        raise refused(INSTANCE, meta.key(obj), "VMI is not running")


def _merge(obj: Obj, spec: Obj) -> Merge:
    if obj.get("kind") == MACHINE.kind:
        return Merge(MACHINE, meta.key(obj), {**fitting(obj), "spec": {"template": {"spec": spec}}})
    return Merge(INSTANCE, meta.key(obj), {**fitting(obj), "spec": spec})
