"""The reconciler of machines: their DataVolumes, their instance, and the word that says how they are."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final
from uuid import NAMESPACE_OID, uuid5

from diskyard.api import instance as instances
from diskyard.api import machine as machines
from diskyard.api import meta
from diskyard.api.condition import timed
from diskyard.api.instance import part
from diskyard.api.machine import Machine, Strategy
from diskyard.api.meta import CLAIM, CONFIG_MAP, DATA_VOLUME, INSTANCE, KUBEVIRT, MACHINE, Key, Kind, Obj
from diskyard.api.names import cdi, kubevirt
from diskyard.kube.client import Client, Deletion
from diskyard.kube.interest import Interest
from diskyard.kube.reconcile import (
    Action,
    Create,
    Delete,
    Merge,
    Plan,
    Tell,
    everything,
    finalized,
    find,
    same_name,
)
from diskyard.kube.refusal import CreateOrExplain
from vm_runtime.controller import hotplug, phases, restart, strategy
from vm_runtime.controller.admission import machine_refusal
from vm_runtime.controller.configuration import of_settings, settings_of
from vm_runtime.controller.printable import View, printable
from vm_runtime.controller.strategy import State, Step

ORPHAN: Final = "orphan"
"""The finalizer by which someone asked that what we made be left."""
NO_INSTANCE: Final = meta.Condition("Ready", "False", "VMINotExists", "VMI does not exist")


@dataclass(frozen=True)
class World:
    """A machine, its instance, and the volumes of both."""

    obj: Obj
    machine: Machine
    instance: Obj | None
    obstacle: str
    """Why no instance of it may be made; empty: it may."""
    data_volumes: Mapping[str, Obj]
    claims: tuple[Obj, ...]
    now: datetime


class Machines:
    """VirtualMachine -> DataVolumes of its templates, and the instance."""

    kind = MACHINE

    def __init__(self, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._clock = clock
        self._interest = Interest()
        self.wakes: Mapping[Kind, Callable[[Obj], Iterable[Key]]] = {
            INSTANCE: same_name,
            DATA_VOLUME: self._interest.roots(DATA_VOLUME),
            CLAIM: self._interest.roots(CLAIM),
            KUBEVIRT: everything,
            CONFIG_MAP: of_settings,
        }

    def gather(self, client: Client, key: Key) -> World | None:
        """The machine, the instance of its name, and the claims and DataVolumes that it speaks of."""
        obj = find(client, MACHINE, key)
        if obj is None:
            self._interest.note(key, ())
            return None
        machine = machines.machine(obj)
        names = _volumes(machine)
        self._interest.note(
            key, [(kind, Key(name, key.namespace)) for kind in (CLAIM, DATA_VOLUME) for name in names]
        )
        found = find(client, INSTANCE, key)
        mine = found if found is not None and meta.owned_by(found, obj) else None
        fillers = {name: find(client, DATA_VOLUME, Key(name, key.namespace)) for name in names}
        claims = (find(client, CLAIM, Key(name, key.namespace)) for name in names)
        return World(
            obj=obj,
            machine=machine,
            instance=mine,
            obstacle=_foreign(key) if found and not mine else machine_refusal(obj, settings_of(client)),
            data_volumes={name: each for name, each in fillers.items() if each is not None},
            claims=tuple(each for each in claims if each is not None),
            now=self._clock(),
        )

    def decide(self, world: World) -> Plan:
        """Status first, as it remembers what the next action undoes; then DataVolumes, then the instance."""
        state = State(world.machine, world.instance, str(meta.status(world.obj).get("runStrategy") or ""))
        state = strategy.settled(state, world.now)
        if world.machine.deleting:
            return Plan((*_reported(world, state), *_farewell(world)))
        if kubevirt.MACHINE_FINALIZER not in meta.finalizers(world.obj):
            return Plan((_finalizers(world.obj, add=True),))
        volumes = [
            _made(world, state, Create(DATA_VOLUME, data_volume(world.obj, template)))
            for template in world.machine.data_volumes
            if meta.name(template) not in world.data_volumes
        ]
        match strategy.step(state):
            case Step.START if world.obstacle or (wait := strategy.delay(state, world.now)):
                # What was not acted on is not noted: a strategy that starts only when it is new stays new.
                return Plan(
                    (*volumes, *_reported(world, state, acted=False)), None if world.obstacle else wait
                )
            case Step.START:
                return Plan((*volumes, *_start(world, state), *_reported(world, state)))
            case Step.STOP:
                return Plan((*_reported(world, state), *volumes, *_stop(world)))
            case _:
                return Plan((*volumes, *_plugged(world), *_reported(world, state)))


def _foreign(key: Key) -> str:
    return f"an instance {key} is there that is not this machine's: delete it to start this one"


def data_volume(owner: Obj, template: Obj) -> Obj:
    """The DataVolume that a template says, the machine's own."""
    said = meta.meta(template)
    return {
        "apiVersion": DATA_VOLUME.api_version,
        "kind": DATA_VOLUME.kind,
        "metadata": {
            "name": meta.name(template),
            "namespace": meta.namespace(owner),
            "labels": {**meta.labels(template), kubevirt.CREATED_BY: meta.uid(owner)},
            "annotations": {cdi.ALLOW_ADOPTION: "true", **(said.get("annotations") or {})},
            "ownerReferences": [meta.owner_reference(MACHINE, owner)],
        },
        "spec": meta.spec(template),
    }


def instance(owner: Obj, machine: Machine) -> Obj:
    """The instance that a machine's template says; its uuid and serial number stay the same at each start."""
    said = meta.meta(machine.template)
    spec = {**meta.spec(machine.template)}
    domain = {**part(spec, "domain")}
    firmware = {**part(domain, "firmware")}
    firmware.setdefault("uuid", str(uuid5(NAMESPACE_OID, machine.uid)))
    firmware.setdefault("serial", str(uuid5(NAMESPACE_OID, f"{machine.uid}/serial")))
    return {
        "apiVersion": INSTANCE.api_version,
        "kind": INSTANCE.kind,
        "metadata": {
            "name": machine.key.name,
            "namespace": machine.key.namespace,
            "labels": {**(said.get("labels") or {}), kubevirt.VM_LABEL: machine.key.name[:63].rstrip("-.")},
            "annotations": {
                **(said.get("annotations") or {}),
                kubevirt.MACHINE_GENERATION: str(machine.generation),
                kubevirt.TEMPLATE: restart.print_of(machine.template),
            },
            "ownerReferences": [meta.owner_reference(MACHINE, owner)],
        },
        "spec": {**spec, "domain": {**domain, "firmware": firmware}},
    }


def _start(world: World, state: State) -> list[Action]:
    text = (
        f"Started the virtual machine by creating the new virtual machine instance {world.machine.key.name}"
    )
    made = instance(world.obj, world.machine)
    if state.begins_paused:
        made["spec"]["startStrategy"] = "Paused"
    return [
        _made(world, state, Create(INSTANCE, made)),
        Tell(MACHINE, world.obj, "SuccessfulCreate", text),
    ]


def _made(world: World, state: State, create: Create) -> CreateOrExplain:
    """What is in the way of it is said by the machine."""

    def told(_: str, message: str) -> Obj:
        after = status(replace(world, obstacle=message), state) | {"runStrategy": state.strategy_before}
        return {"status": phases.patch(meta.status(world.obj), after)}

    return CreateOrExplain(create, MACHINE, world.obj, told, "status", phases.NOT_MADE)


def _plugged(world: World) -> list[Action]:
    """Have the guest follow what comes and goes."""
    if world.instance is None or meta.deleting(world.instance) or meta.phase(world.instance) != "Running":
        return []
    merge = hotplug.followed(world.machine.template, world.instance)
    return [merge] if merge else []


def _stop(world: World) -> list[Action]:
    if world.instance is None or meta.deleting(world.instance):
        return []
    uid = meta.uid(world.instance)
    text = f"Stopped the virtual machine by deleting the virtual machine instance {world.machine.key.name}"
    return [
        Delete(INSTANCE, world.machine.key, Deletion(uid=uid)),
        Tell(MACHINE, world.obj, "SuccessfulDelete", text),
    ]


def _farewell(world: World) -> list[Action]:
    """A machine goes after its instance, unless that is to be left."""
    finalizers = meta.finalizers(world.obj)
    if world.instance is not None and ORPHAN not in finalizers:
        return _stop(world)
    return [_finalizers(world.obj, add=False)] if kubevirt.MACHINE_FINALIZER in finalizers else []


def _reported(world: World, state: State, *, acted: bool = True) -> list[Action]:
    after = status(world, state)
    if not acted:
        after["runStrategy"] = state.strategy_before
    before = meta.status(world.obj)
    if after == before:
        return []
    change = {
        "metadata": {"resourceVersion": meta.meta(world.obj).get("resourceVersion")},
        "status": phases.patch(before, after),
    }
    return [Merge(MACHINE, world.machine.key, change, "status")]


def status(world: World, state: State) -> Obj:
    """The whole status."""
    machine = state.machine
    view = View(state, tuple(world.data_volumes.values()), world.claims)
    after: Obj = {
        "printableStatus": printable(view),
        "runStrategy": str(machine.strategy),
        "conditions": _conditions(world, state),
        "desiredGeneration": machine.generation,
        "observedGeneration": machine.generation,
    }
    if world.instance is not None:
        ready = meta.holds(world.instance, "Ready")
        after |= {"created": True} | ({"ready": True} if ready else {})
    if machine.requests:
        after["stateChangeRequests"] = machines.wire(machine.requests)
    if machine.failure.count:
        after["startFailure"] = {
            "consecutiveFailCount": machine.failure.count,
            "lastFailedVMIUID": machine.failure.last_uid,
            "retryAfterTimestamp": machine.failure.retry_after,
        }
    return after


def _conditions(world: World, state: State) -> list[Obj]:
    if world.obstacle and world.instance is None:
        told = meta.Condition("Failure", "True", phases.NOT_MADE, world.obstacle)
        return timed(world.obj, [NO_INSTANCE, told], meta.timestamp(world.now))
    copies = (meta.status(world.instance).get("conditions") or []) if world.instance else []
    ours = [*restart.required(world.machine.template, world.instance), *_failed(world, state)]
    copies = [*copies, *timed(world.obj, ours, meta.timestamp(world.now))]
    if any(each.get("type") == "Ready" for each in copies):
        return copies
    return [*timed(world.obj, [NO_INSTANCE], meta.timestamp(world.now)), *copies]


def _failed(world: World, state: State) -> list[meta.Condition]:
    """Why the last instance failed, kept until one runs: the instance that said so is gone soon."""
    phase = meta.phase(world.instance) if world.instance else ""
    if phase == "Failed":
        said = meta.condition(world.instance or {}, "Synchronized") or {}
    elif phase == "Running" or not state.machine.failure.count or state.machine.strategy == Strategy.HALTED:
        return []
    else:
        said = meta.condition(world.obj, "Failure") or {}
    if not said.get("message") or said.get("reason") == phases.NOT_MADE:
        return []
    return [meta.Condition("Failure", "True", str(said.get("reason") or "Failed"), str(said["message"]))]


def _finalizers(obj: Obj, *, add: bool) -> Merge:
    others = [name for name in meta.finalizers(obj) if name != kubevirt.MACHINE_FINALIZER]
    wanted = [*others, kubevirt.MACHINE_FINALIZER] if add else others
    return finalized(MACHINE, obj, wanted)


def _volumes(machine: Machine) -> list[str]:
    """The names of the claims and DataVolumes that a machine speaks of, each once."""
    named = [meta.name(template) for template in machine.data_volumes]
    used = [volume.claim for volume in instances.volumes(meta.spec(machine.template)) if volume.claim]
    return list(dict.fromkeys([*named, *used]))
