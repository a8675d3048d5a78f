"""A pod's status, as a kubelet writes it. Pure."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from diskyard.api import meta
from diskyard.api.meta import Obj
from diskyard.api.pod import quality
from standalone.node.prober import Verdict
from standalone.node.process import Life
from standalone.node.schedule import HOST_ADDRESS

TERMINAL: Final = ("Succeeded", "Failed")


@dataclass(frozen=True)
class Wait:
    """Why a container does not run."""

    reason: str
    message: str = ""


CREATING: Final = Wait("ContainerCreating")
INITIALIZING: Final = Wait("PodInitializing")


@dataclass(frozen=True)
class View:
    """All that a status says."""

    pod: Obj
    now: datetime
    address: str
    lives: Mapping[str, Sequence[Life]] = field(default_factory=dict)
    waits: Mapping[str, Wait] = field(default_factory=dict)
    """Containers that will run (again), and why not now."""
    host: str = HOST_ADDRESS
    verdicts: Mapping[str, Verdict | None] = field(default_factory=dict)
    """Of running containers with probes."""

    def last(self, container: Obj) -> Life | None:
        """The present life of a container, or its last."""
        lives = self.lives.get(str(container["name"])) or ()
        return lives[-1] if lives else None


def status(view: View) -> Obj:
    """The whole status."""
    spec = meta.spec(view.pod)
    inits: list[Obj] = spec.get("initContainers") or []
    mains: list[Obj] = spec.get("containers") or []
    initialized = all(_succeeded(view.last(each)) for each in inits)
    now_phase = phase(view)
    main_statuses = [_container(each, view, CREATING if initialized else INITIALIZING) for each in mains]
    said: Obj = {
        "phase": now_phase,
        "conditions": _conditions(view, now_phase, initialized, main_statuses),
        "hostIP": view.host,
        "hostIPs": [{"ip": view.host}],
        "podIP": view.address,
        "podIPs": [{"ip": view.address}],
        "startTime": meta.status(view.pod).get("startTime") or meta.timestamp(view.now),
        "containerStatuses": main_statuses,
        "qosClass": quality(spec),
    }
    if inits:
        said["initContainerStatuses"] = [_container(each, view, INITIALIZING, init=True) for each in inits]
    return said


def phase(view: View) -> str:
    """Pending, Running, Succeeded or Failed; the last two never change again."""
    if meta.phase(view.pod) in TERMINAL:
        return meta.phase(view.pod)
    spec = meta.spec(view.pod)
    policy = str(spec.get("restartPolicy") or "Always")
    again = policy != "Never" and not meta.deleting(view.pod)
    for init in spec.get("initContainers") or ():
        life = view.last(init)
        if life and life.end and life.end.code and not again:
            return "Failed"
        if not _succeeded(life):
            return "Pending"
    lives = [view.last(each) for each in spec.get("containers") or ()]
    if any(life is None or life.started is None for life in lives):
        return "Failed" if meta.deleting(view.pod) else "Pending"
    ends = [life.end for life in lives if life]
    over = all(end is not None for end in ends)
    if over and not (policy == "Always" and again):
        if all(end is not None and end.code == 0 for end in ends):
            return "Succeeded"
        if not again:
            return "Failed"
    return "Running"


def unschedulable(pod: Obj, why: str, now: datetime) -> Obj:
    """The status of a pod that no node takes."""
    refused = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": why}
    return {
        "phase": "Pending",
        "conditions": _merged(pod, [refused], now),
        "qosClass": quality(meta.spec(pod)),
    }


def _container(container: Obj, view: View, before: Wait, init: bool = False) -> Obj:
    name = str(container["name"])
    lives = view.lives.get(name) or ()
    last = lives[-1] if lives else None
    wait = view.waits.get(name)
    running = last is not None and last.running
    said: Obj = {
        "name": name,
        "image": str(container.get("image", "")),
        "imageID": str(container.get("image", "")) if last else "",
        "restartCount": last.number if last else 0,
        "ready": _succeeded(last) if init else running and _probed(view, name, "ready"),
        "started": running and _probed(view, name, "started"),
        "lastState": {},
    }
    if last and last.started:
        said["containerID"] = _container_id(view.pod, name, last)
    ended = [life for life in lives if life.end]
    if last and last.started and (running or not wait):
        said["state"] = _running(last) if running else _terminated(view.pod, name, last)
        ended = [life for life in ended if life is not last]
    else:
        wait = wait or before
        said["state"] = {
            "waiting": {"reason": wait.reason} | ({"message": wait.message} if wait.message else {})
        }
    if ended:
        said["lastState"] = _terminated(view.pod, name, ended[-1])
    return said


def _probed(view: View, name: str, what: str) -> bool:
    """What a container's probes say; before they were asked again, what stands."""
    if name not in view.verdicts:
        return True
    verdict = view.verdicts[name]
    if verdict is not None:
        return bool(getattr(verdict, what))
    stands = meta.status(view.pod).get("containerStatuses") or ()
    before: Obj = next((each for each in stands if each.get("name") == name), {})
    last = view.last({"name": name})
    same = last is not None and before.get("containerID") == _container_id(view.pod, name, last)
    return bool(same and before.get(what))


def _running(life: Life) -> Obj:
    return {"running": {"startedAt": meta.timestamp(life.started) if life.started else None}}


def _terminated(pod: Obj, name: str, life: Life) -> Obj:
    end = life.end
    if end is None or life.started is None:
        return {}
    said: Obj = {
        "exitCode": end.code,
        "reason": end.reason,
        "startedAt": meta.timestamp(life.started),
        "finishedAt": meta.timestamp(end.at),
        "containerID": _container_id(pod, name, life),
    }
    return {"terminated": said | ({"message": end.message} if end.message else {})}


def _container_id(pod: Obj, name: str, life: Life) -> str:
    whole = f"{meta.uid(pod)}/{name}/{life.number}"
    return f"diskyard://{hashlib.sha256(whole.encode()).hexdigest()}"


def _succeeded(life: Life | None) -> bool:
    return life is not None and life.end is not None and life.end.code == 0


def _conditions(view: View, now_phase: str, initialized: bool, statuses: Sequence[Obj]) -> list[Obj]:
    unready = [each["name"] for each in statuses if not each["ready"]]
    ready: Obj = {"status": "False" if unready else "True"}
    if unready and now_phase == "Succeeded":
        ready["reason"] = "PodCompleted"
    elif unready:
        ready |= {
            "reason": "ContainersNotReady",
            "message": f"containers with unready status: [{' '.join(unready)}]",
        }
    begun: Obj = {"type": "Initialized", "status": "True" if initialized else "False"}
    if not initialized:
        begun |= {"reason": "ContainersNotInitialized"}
    conditions = [
        {"type": "PodScheduled", "status": "True"},
        begun,
        {"type": "ContainersReady"} | ready,
        {"type": "Ready"} | ready,
    ]
    return _merged(view.pod, conditions, view.now)


def _merged(pod: Obj, conditions: Iterable[Obj], now: datetime) -> list[Obj]:
    """The conditions with the time of their last change; those of other writers stay."""
    ours = list(conditions)
    types = {each["type"] for each in ours}
    merged = [each for each in meta.status(pod).get("conditions") or () if each.get("type") not in types]
    for each in ours:
        before = meta.condition(pod, each["type"]) or {}
        kept = before.get("lastTransitionTime") if before.get("status") == each["status"] else None
        merged.append(each | {"lastProbeTime": None, "lastTransitionTime": kept or meta.timestamp(now)})
    return merged
