"""An instance's phase and status: from its pod and from what the launcher says of its guest. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from diskyard.api import instance as instances
from diskyard.api import meta
from diskyard.api import pod as pods
from diskyard.api.condition import timed
from diskyard.api.hotplug import fixed
from diskyard.api.instance import Instance, Interface
from diskyard.api.job import Report, TerminationMessage
from diskyard.api.meta import Condition, Obj
from diskyard.api.names import kubevirt
from diskyard.api.quantity import canonical
from diskyard.api.queues import queues
from diskyard.api.subnet import inner
from diskyard.errors import NotStored
from vm_runtime.controller import supply
from vm_runtime.controller.luggage import FETCHES
from vm_runtime.controller.supply import Supply
from vm_runtime.network.plan import POD_NIC
from vm_runtime.network.routes import from_text, overlapped

NOT_MADE: Final = "FailedCreate"
"""The reason of what the server did not let us make."""
SMALL: Final = "ToleratedSmallPV"
"""The reason of a volume whose disk is smaller than its claim promises."""
ALIVE: Final = ("Running", "Paused", "ShuttingDown")
"""What a launcher says of a guest that runs."""
PULL_PROBLEMS: Final = ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName")


WAYS_OUT: Final = {
    "Insufficient memory": "Give the guest less memory (spec.domain.memory.guest), or stop other guests.",
    "Insufficient hugepages": "Reserve more huge pages on the node, or take spec.domain.memory.hugepages out.",
    "node affinity/selector": "Look at spec.nodeSelector, and at spec.configuration.developerConfiguration."
    "nodeSelectors of KubeVirt kubevirt/kubevirt.",
}
"""What a scheduler says of a launcher's pod -> what to change."""


@dataclass(frozen=True)
class Stage:
    """Where an instance stands."""

    phase: str
    conditions: tuple[Condition, ...] = ()
    reason: str = ""
    """status.reason: why it failed."""
    event: tuple[str, str, bool] | None = None
    """(reason, message, warning) to tell when the phase is new."""


@dataclass(frozen=True)
class Subject:
    """What a status is about."""

    obj: Obj
    instance: Instance | None
    supplies: Sequence[Supply]
    pod: Obj | None
    plugged: Sequence[Obj] = ()
    """Entries of volumeStatus of what comes while the guest runs."""
    networking: str = ""
    """What the nodes say of guests' networks."""
    routes: str = ""
    """Where the nodes go themselves."""


def waiting(obj: Obj) -> Stage:
    """Nothing keeps it from getting its pod; that the server refused that pod is said until it takes it."""
    return Stage("Pending", _kept(obj, "Synchronized") if refused(obj) else ())


def refused(obj: Obj) -> bool:
    """Whether the server has not let us make a pod of it."""
    return (meta.condition(obj, "Synchronized") or {}).get("reason") == NOT_MADE


def of_pod(obj: Obj, pod: Obj | None) -> Stage:
    """What the pod and the launcher's report say; a pod that is gone takes its guest with it."""
    if pod is None:
        return _failed("PodNotExists", "the launcher's pod is gone")
    facts = pods.facts(pod)
    if facts.phase == "Succeeded":
        return Stage("Succeeded", event=("Stopped", "The guest powered off", False))
    if facts.phase == "Failed":
        return _not_fetched(*facts.first_end) if facts.first_end else _ended(facts.end)
    report = report_of(pod)
    if facts.running and report and report.state in ALIVE:
        return _alive(report)
    if meta.phase(obj) == "Running":
        # The agent has not spoken yet since it was started anew: the guest is as it was.
        return Stage("Running", _kept(obj, "Paused"))
    if facts.running:
        return Stage("Scheduled")
    return Stage("Scheduling", tuple(_pod_troubles(facts)))


def report_of(pod: Obj) -> Report | None:
    """What the launcher last said, as its agent wrote it down."""
    text = meta.annotations(pod).get(kubevirt.DOMAIN_REPORT)
    return Report.from_text(text) if text else None


def news(obj: Obj, stage: Stage) -> bool:
    """Whether the stage says something that the object's conditions do not say yet."""
    return any(
        (meta.condition(obj, each.type) or {}).get("message") != each.message for each in stage.conditions
    )


def status(subject: Subject, stage: Stage, now: datetime) -> Obj:
    """The whole status, as `stage` has it; what has not changed keeps its times."""
    obj, pod = subject.obj, subject.pod
    before = meta.status(obj)
    after: Obj = {
        **{key: value for key, value in before.items() if key not in ("reason", "conditions")},
        "phase": stage.phase,
        "conditions": timed(obj, _conditions(subject, stage), meta.timestamp(now)),
        "phaseTransitionTimestamps": _transitions(before, stage.phase, now),
        "runtimeUser": kubevirt.QEMU_UID,
    }
    if stage.reason:
        after["reason"] = stage.reason
    report = report_of(pod or {})
    if subject.instance:
        after |= _shape(subject.instance, pod or {})
        volumes = supply.volume_status(fixed(subject.instance), subject.supplies)
        after["volumeStatus"] = _sized([*volumes, *subject.plugged], report)
    if pod is not None:
        after |= _of_pod(pod) | _boots(report)
    return after


def _sized(volumes: Sequence[Obj], report: Report | None) -> list[Obj]:
    """How large the guest's disks are; those that are smaller than their claims promise say so."""
    sizes, small = (report.sizes, report.small) if report else ({}, {})
    told = {name: {"reason": SMALL, "message": text} for name, text in small.items()}
    large = {name: {"size": size} for name, size in sizes.items()}
    return [
        {**each, **large.get(str(each["name"]), {}), **told.get(str(each["name"]), {})} for each in volumes
    ]


def small(before: Obj, after: Obj) -> list[str]:
    """What the status of an instance now says of small disks, and did not before."""
    known = [each.get("message") for each in meta.status(before).get("volumeStatus") or ()]
    found = [each for each in after.get("volumeStatus") or () if each.get("reason") == SMALL]
    return [str(each["message"]) for each in found if each["message"] not in known]


def _boots(report: Report | None) -> Obj:
    """kernelBootStatus: what the guest begins with, out of a container image."""
    said = report.boots if report else {}
    found = {f"{name}Info": {"checksum": int(text)} for name, text in said.items() if text.isdecimal()}
    return {"kernelBootStatus": found} if found else {}


def patch(before: Obj, after: Obj) -> Obj:
    """The merge patch from one status to another."""
    return {**dict.fromkeys(before.keys() - after.keys()), **after}


def _alive(report: Report) -> Stage:
    started = ("Started", "VirtualMachineInstance started.", False)
    if report.state != "Paused":
        return Stage("Running", event=started)
    io_error = report.reason == "PausedIOError"
    text = "VMI was paused, low-level IO error detected" if io_error else "VMI was paused by user"
    return Stage(
        "Running", (Condition("Paused", "True", report.reason or "PausedByUser", text),), event=started
    )


def _ended(end: pods.End | None) -> Stage:
    if end is None:
        return _failed("PodFailed", "the launcher's pod failed without saying why")
    said = TerminationMessage.from_text(end.message)
    if said.reason:
        return _failed(said.reason, said.message)
    how = f"was killed by signal {end.code - 128}" if end.code > 128 else f"ended with code {end.code}"
    return _failed(end.reason or "PodFailed", f"the launcher {how}")


def _not_fetched(container: str, end: pods.End) -> Stage:
    """An image could not be had; the importer says why."""
    said = TerminationMessage.from_text(end.message)
    name = container.removeprefix(FETCHES)
    reason = NotStored.reason if said.reason == NotStored.reason else "ErrImagePull"
    how = f"its importer ended with code {end.code}"
    return _failed(reason, f"containerDisk volume {name}: {said.message if said.reason else how}")


def _failed(reason: str, message: str) -> Stage:
    told = Condition("Synchronized", "False", reason, message)
    return Stage("Failed", (told,), reason, ("Failed", message, True))


def _pod_troubles(facts: pods.Facts) -> list[Condition]:
    found = []
    if facts.unschedulable:
        way_out = next((words for sign, words in WAYS_OUT.items() if sign in facts.unschedulable), "")
        text = f"{facts.unschedulable} {way_out}".strip()
        found.append(Condition("PodScheduled", "False", "Unschedulable", text))
    reason, message = facts.waiting or ("", "")
    if reason in PULL_PROBLEMS:
        found.append(Condition("Synchronized", "False", reason, message))
    elif message:  # of a volume that is not there, by nodes that say so
        found.append(Condition("Synchronized", "False", "FailedMount", message))
    return found


def _kept(obj: Obj, type_: str) -> tuple[Condition, ...]:
    said = meta.condition(obj, type_)
    if not said:
        return ()
    return (Condition(type_, *(str(said.get(key) or "") for key in ("status", "reason", "message"))),)


def _conditions(subject: Subject, stage: Stage) -> list[Condition]:
    found = [_ready(subject, stage), *stage.conditions]
    filled = [each for each in subject.supplies if each.data_volume is not None]
    if filled:
        ready = all(each.ready for each in filled)
        text = (
            "All of the VMI's DVs are bound and not running"
            if ready
            else "Not all of the VMI's DVs are ready"
        )
        reason = "AllDVsReady" if ready else "NotAllDVsReady"
        found.append(Condition("DataVolumesReady", str(ready), reason, text))
    if subject.pod is not None and stage.phase == "Running" and _agent(subject.pod):
        found.append(Condition("AgentConnected", "True"))
    if subject.pod is not None:
        found += _surroundings(subject.pod, subject)
        found += _console(subject.obj, subject.pod)
    return found


def _console(obj: Obj, pod: Obj) -> list[Condition]:
    """Whether the guest's console has said what somebody waits for, and what it said last."""
    if not meta.annotations(obj).get(kubevirt.CONSOLE_AWAITS):
        return []
    ended = pods.facts(pod).end
    found = (report_of(pod), TerminationMessage.from_text(ended.message) if ended else None)
    tail = next((each.tail for each in reversed(found) if each and each.tail), "")
    if any(each and each.said for each in found):
        return [Condition("ConsoleSaid", "True", "Said", tail)]
    return [Condition("ConsoleSaid", "False", "Awaited", tail)]


def _agent(pod: Obj) -> bool:
    report = report_of(pod)
    return report is not None and report.agent


def _ready(subject: Subject, stage: Stage) -> Condition:
    if subject.pod is None:
        return Condition("Ready", "False", "PodNotExists", "virt-launcher pod has not yet been scheduled")
    if meta.deleting(subject.pod):
        return Condition("Ready", "False", "PodTerminating", "virt-launcher pod is terminating")
    if stage.phase != "Running":
        return Condition("Ready", "False", "GuestNotRunning", "Guest VM is not reported as running")
    if any(each.type == "Paused" for each in stage.conditions):
        return Condition("Ready", "False", "GuestNotRunning", "Guest VM is paused")
    pod = meta.condition(subject.pod, "Ready") or {}
    if subject.instance and subject.instance.probes.get("readinessProbe") and pod.get("status") != "True":
        return Condition("Ready", "False", str(pod.get("reason") or "ContainersNotReady"),
                         str(pod.get("message") or "the guest has not answered its readiness probe"))  # fmt: skip
    return Condition("Ready", "True")


def _surroundings(pod: Obj, subject: Subject) -> list[Condition]:
    """What a guest's user should know of the place where it runs."""
    found = [Condition("LiveMigratable", "False", "NotMigratable", "live migration is not built yet")]
    if not accelerated(pod):
        text = "the guest is emulated in software, which is slow: KVM does not work on its node"
        found.append(Condition("SoftwareEmulation", "True", "KVMNotAvailable", text))
    if subject.instance and subject.instance.interfaces and not networked(pod):
        text = (
            "the guest reaches out through its host (its address is 10.0.2.15; 10.0.2.2 is the host, with what listens "
            f"on its loopback) and nothing reaches in: {subject.networking or 'no node makes networks for guests'}"
        )
        found.append(Condition("UserModeNetworking", "True", "NoPodNetwork", text))
    return [*found, *_hidden(pod, subject)]


def _hidden(pod: Obj, subject: Subject) -> list[Condition]:
    """What of the node's surroundings the guest's own network keeps from it."""
    own = networked(pod)
    for interface in subject.instance.interfaces if subject.instance else ():
        if own and interface.binding == instances.BRIDGE:
            continue
        guests = inner(interface.cidr if own else "")
        route = overlapped(guests, from_text(subject.routes))
        if route:
            text = (
                f"network {interface.name}: vmNetworkCIDR {guests} overlaps {route.network}, which its node reaches by "
                f"{route.device}: the guest does not reach those of {guests}; choose another vmNetworkCIDR"
            )
            return [Condition("NetworkOverlap", "True", "RouteHidden", text)]
    return []


def accelerated(pod: Obj) -> bool:
    """Whether a launcher's pod has KVM."""
    return kubevirt.KVM_RESOURCE in _limits(pod)


def networked(pod: Obj) -> bool:
    """Whether a launcher's pod has a network of its own."""
    return kubevirt.TUN_RESOURCE in _limits(pod)


def _limits(pod: Obj) -> Obj:
    container: Obj = next(iter(meta.spec(pod).get("containers") or ()), {})
    return instances.part(instances.part(container, "resources"), "limits")


def _transitions(before: Obj, phase: str, now: datetime) -> list[Obj]:
    known: list[Obj] = list(before.get("phaseTransitionTimestamps") or [])
    if any(each.get("phase") == phase for each in known):
        return known
    return [*known, {"phase": phase, "phaseTransitionTimestamp": meta.timestamp(now)}]


def _shape(instance: Instance, pod: Obj) -> Obj:
    size = canonical(instance.memory)
    cpu = instance.cpu
    return {
        "machine": {"type": instance.machine},
        "memory": {"guestAtBoot": size, "guestCurrent": size, "guestRequested": size},
        "currentCPUTopology": {"sockets": cpu.sockets, "cores": cpu.cores, "threads": cpu.threads},
        "interfaces": [_interface(instance, each, pod) for each in instance.interfaces],
    }


def _interface(instance: Instance, interface: Interface, pod: Obj) -> Obj:
    """The guest is at its pod's address, whichever it has itself."""
    mac = instances.mac(instance, interface)
    said: Obj = {
        "name": interface.name,
        "infoSource": "domain, guest-agent" if _agent(pod) else "domain",
        "mac": mac,
        "queueCount": queues(instance, interface) if networked(pod) else 1,
    }
    address = meta.status(pod).get("podIP")
    if address and networked(pod):
        said |= {
            "ipAddress": address,
            "ipAddresses": [address],
            "podInterfaceName": POD_NIC,
            "linkState": "up",
        }
    return said


def _of_pod(pod: Obj) -> dict[str, Any]:
    facts = pods.facts(pod)
    container: Obj = next(iter(meta.spec(pod).get("containers") or ()), {})
    return {
        "nodeName": facts.node,
        "activePods": {meta.uid(pod): facts.node},
        "qosClass": str(meta.status(pod).get("qosClass") or "Burstable"),
        "launcherContainerImageVersion": str(container.get("image") or ""),
    }
