"""What start, stop and restart do to a machine: a change of its spec or a request in its status. Pure.

Rules and words are KubeVirt's (virt-api, lifecycle subresources), so that virtctl and its scripts read them.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from diskyard.api import machine as machines
from diskyard.api import meta
from diskyard.api.instance import FINAL_PHASES, part
from diskyard.api.machine import Machine, Request, Strategy
from diskyard.api.meta import INSTANCE, MACHINE, Key, Kind, Obj
from diskyard.errors import BadRequest, Conflict, Forbidden
from diskyard.kube.reconcile import Action, Merge

UNSET: Final = ("", "Unknown")


@dataclass(frozen=True)
class World:
    """A machine and its instance, as they stand."""

    obj: Obj
    machine: Machine
    instance: Obj | None

    @property
    def final(self) -> bool:
        """Whether there is an instance, and it is over."""
        return self.instance is not None and meta.phase(self.instance) in FINAL_PHASES

    @property
    def running(self) -> bool:
        """Whether there is an instance that is under way."""
        return self.instance is not None and not self.final and meta.phase(self.instance) not in UNSET


def world(obj: Obj, instance: Obj | None) -> World:
    """From the objects."""
    return World(obj, machines.machine(obj), instance)


def start(world: World, options: Obj) -> tuple[Action, ...]:
    """Raises Conflict, BadRequest."""
    wanted = Request("Start", paused=options.get("paused") is True)
    if world.running:
        raise refused(MACHINE, world.machine.key, "VM is already running")
    strategy = world.machine.strategy
    if strategy in (Strategy.ALWAYS, Strategy.ONCE):
        raise refused(MACHINE, world.machine.key, f"{strategy} does not support manual start requests")
    if strategy == Strategy.HALTED and wanted.paused:
        return (_request(world, wanted, stop=False), _run(world, running=True, as_read=False))
    if strategy == Strategy.HALTED:
        return (_run(world, running=True),)
    if strategy == Strategy.RERUN and world.final and meta.phase(world.instance or {}) == "Failed":
        raise refused(
            MACHINE, world.machine.key, f"{strategy} does not support starting VM from failed state"
        )
    return (_request(world, wanted, stop=world.final),)


def stop(world: World, options: Obj) -> tuple[Action, ...]:
    """Raises Conflict, BadRequest."""
    strategy, grace = world.machine.strategy, _grace(options, "gracePeriod")
    if world.instance is None or world.final:
        raise refused(MACHINE, world.machine.key, "VM is not running")
    if strategy == Strategy.HALTED:
        before = meta.spec(world.instance).get("terminationGracePeriodSeconds")
        if grace is None or (isinstance(before, int) and grace >= before):
            text = "Halted only supports manual stop requests with a shorter graceperiod"
            raise refused(MACHINE, world.machine.key, text)
        return _sooner(world.instance, grace)
    first = _sooner(world.instance, grace)
    if strategy in (Strategy.ALWAYS, Strategy.ONCE):
        return (*first, _run(world, running=False))
    return (*first, _request(world, stop=True))


def restart(world: World, options: Obj) -> tuple[Action, ...]:
    """Raises Conflict, BadRequest."""
    strategy, grace = world.machine.strategy, _grace(options, "gracePeriodSeconds")
    if grace:
        raise BadRequest("For force restart, only gracePeriod=0 is supported for now")
    if strategy in (Strategy.HALTED, Strategy.ONCE):
        # `RunStategy` is how KubeVirt spells it.
        text = f"RunStategy {strategy} does not support manual restart requests"
        raise refused(MACHINE, world.machine.key, text)
    if world.instance is None or world.final:
        raise refused(MACHINE, world.machine.key, "VM is not running")
    return (*_sooner(world.instance, grace), _request(world, Request("Start"), stop=True))


VERBS: Final[Mapping[str, Callable[[World, Obj], tuple[Action, ...]]]] = {
    "start": start,
    "stop": stop,
    "restart": restart,
}


OF_AGENT: Final = ("freeze", "unfreeze", "guestosinfo", "userlist", "filesystemlist")
"""What only the agent inside a guest can do."""
_LISTS: Final = {
    "userlist": "VirtualMachineInstanceGuestOSUserList",
    "filesystemlist": "VirtualMachineInstanceFileSystemList",
}
TIMEOUTS: Final = {"freeze": "unfreezeTimeout", "pause": "unpauseTimeout"}
"""How an order that holds a guest up says for how long at most; that of pausing is ours."""
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s)")
_UNITS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def wishes(verb: str, options: Obj) -> Mapping[str, object]:
    """How an order is to be carried out. Raises BadRequest."""
    name = TIMEOUTS.get(verb, "")
    said = options.get(name)
    if not said:
        return {}
    parts = _DURATION.findall(str(said))
    if not parts or "".join(number + unit for number, unit in parts) != said:
        raise BadRequest(f"{name} must be a duration such as 5m0s, found {str(said)[:32]!r}")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    return {"seconds": seconds} if seconds else {}


def shown(part: str, said: Any) -> Obj:
    """What a guest's agent said, as on the wire."""
    kind = _LISTS.get(part)
    if kind is None:
        return {"kind": "VirtualMachineInstanceGuestAgentInfo", "apiVersion": "kubevirt.io/v1", **said}
    return {"kind": kind, "apiVersion": "kubevirt.io/v1", "metadata": {}, "items": said}


def check_order(obj: Obj, verb: str) -> None:
    """Whether an instance can be paused, unpaused, rebooted or reset now. Raises Conflict, Forbidden."""
    paused = meta.holds(obj, "Paused")
    wrong = ""
    if meta.phase(obj) != "Running":
        wrong = "VMI is not running"
    elif verb == "pause" and paused:
        wrong = "VMI is already paused"
    elif verb == "unpause" and not paused:
        wrong = "VMI is not paused"
    elif verb == "softreboot" and paused:
        wrong = "VMI is paused"
    elif verb in OF_AGENT and not meta.holds(obj, "AgentConnected"):
        wrong = "VMI does not have guest agent connected"
    elif verb == "softreboot" and not meta.holds(obj, "AgentConnected") and not _has_acpi(obj):
        wrong = "VMI neither have the agent connected nor the ACPI feature enabled"  # as KubeVirt has it
    if wrong:
        raise refused(INSTANCE, meta.key(obj), wrong)
    alive = part(meta.spec(obj), "livenessProbe")
    if verb == "pause" and alive and alive.get("guestAgentPing") is None:
        # Nobody would answer that probe, and its guest would be shut down.
        name = _called(INSTANCE, meta.name(obj))
        raise Forbidden(f"{name} is forbidden: Pausing VMIs with LivenessProbe is currently not supported")


def _has_acpi(obj: Obj) -> bool:
    features = part(part(meta.spec(obj), "domain"), "features")
    return part(features, "acpi").get("enabled") is not False


def refused(kind: Kind, key: Key, why: str) -> Conflict:
    """A 409 in the server's words."""
    return Conflict(f"Operation cannot be fulfilled on {_called(kind, key.name)}: {why}")


def _called(kind: Kind, name: str) -> str:
    return f'{kind.singular}.{kind.group} "{name}"'


def _run(world: World, *, running: bool, as_read: bool = True) -> Merge:
    """In the field that the machine uses."""
    if "running" in meta.spec(world.obj):
        change: Obj = {"running": running}
    else:
        change = {"runStrategy": str(Strategy.ALWAYS if running else Strategy.HALTED)}
    same = fitting(world.obj) if as_read else {"metadata": {"uid": meta.uid(world.obj)}}
    return Merge(MACHINE, world.machine.key, {**same, "spec": change})


def _request(world: World, *wanted: Request, stop: bool) -> Merge:
    requests = [Request("Stop", meta.uid(world.instance)), *wanted] if stop and world.instance else [*wanted]
    change = {**fitting(world.obj), "status": {"stateChangeRequests": machines.wire(requests)}}
    return Merge(MACHINE, world.machine.key, change, "status")


def fitting(obj: Obj) -> Obj:
    """A patch that only fits the object that was read."""
    return {"metadata": {"resourceVersion": meta.meta(obj).get("resourceVersion"), "uid": meta.uid(obj)}}


def _sooner(instance: Obj, grace: int | None) -> tuple[Merge, ...]:
    if grace is None:
        return ()
    change = {"spec": {"terminationGracePeriodSeconds": grace}}
    return (Merge(INSTANCE, meta.key(instance), change),)


def _grace(options: Obj, name: str) -> int | None:
    said = options.get(name)
    if said is None:
        return None
    if not isinstance(said, int) or isinstance(said, bool) or said < 0:
        raise BadRequest(f"{name} must be a number of seconds of 0 or more, found {said!r}")
    return said
