"""A pod in three words: how many of its containers are ready, what it is doing, how often it was restarted. Pure."""

from collections.abc import Sequence
from typing import Any

from diskyard.api import meta
from diskyard.api.meta import Obj
from standalone.wire.table import age

Status = dict[str, Any]


def ready(pod: Obj) -> str:
    """`1/2`."""
    wanted = len(meta.spec(pod).get("containers") or ())
    return f"{sum(bool(c.get('ready')) for c in _containers(pod))}/{wanted}"


def state(pod: Obj) -> str:
    """The most telling word: `Running`, `Completed`, `CrashLoopBackOff`, `Init:0/1`, `Terminating` ..."""
    if meta.deleting(pod):
        return "Unknown" if meta.status(pod).get("reason") == "NodeLost" else "Terminating"
    return _starting(pod) or _doing(pod)


def restarts(pod: Obj) -> str:
    """`0`, or `3 (2m ago)`."""
    containers = [*_init(pod), *_containers(pod)]
    count = sum(int(c.get("restartCount") or 0) for c in containers)
    ends = [c.get("lastState", {}).get("terminated", {}).get("finishedAt") for c in containers]
    last = max((str(end) for end in ends if end), default="")
    return f"{count} ({age(last)} ago)" if count and last else str(count)


def _starting(pod: Obj) -> str:
    """What the first unfinished init container does; empty when all are done."""
    wanted = len(meta.spec(pod).get("initContainers") or ())
    for index, container in enumerate(_init(pod)):
        ended, waiting = _state(container, "terminated"), _state(container, "waiting")
        if ended is not None and ended.get("exitCode") == 0:
            continue
        if ended is not None:
            return f"Init:{_ending(ended)}"
        reason = (waiting or {}).get("reason")
        if reason and reason != "PodInitializing":
            return f"Init:{reason}"
        return f"Init:{index}/{wanted}"
    return ""


def _doing(pod: Obj) -> str:
    reason = str(meta.status(pod).get("reason") or meta.status(pod).get("phase") or "Unknown")
    running = False
    for container in reversed(_containers(pod)):
        ended, waiting = _state(container, "terminated"), _state(container, "waiting")
        if waiting is not None and waiting.get("reason"):
            reason = str(waiting["reason"])
        elif ended is not None:
            reason = _ending(ended)
        elif container.get("ready") and _state(container, "running") is not None:
            running = True
    if reason == "Completed" and running:
        return "Running" if _is_ready(pod) else "NotReady"
    return reason


def _ending(ended: Status) -> str:
    if ended.get("reason"):
        return str(ended["reason"])
    return f"Signal:{ended['signal']}" if ended.get("signal") else f"ExitCode:{ended.get('exitCode', 0)}"


def _is_ready(pod: Obj) -> bool:
    return meta.holds(pod, "Ready")


def _state(container: Status, word: str) -> Status | None:
    found = (container.get("state") or {}).get(word)
    return found if isinstance(found, dict) else None


def _containers(pod: Obj) -> Sequence[Status]:
    return meta.status(pod).get("containerStatuses") or ()


def _init(pod: Obj) -> Sequence[Status]:
    return meta.status(pod).get("initContainerStatuses") or ()
