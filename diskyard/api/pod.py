"""A worker's container and Pod; and back: what a Pod's status says has happened."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from diskyard import IMAGE
from diskyard.api import meta
from diskyard.api.meta import Obj

WORKER_UID: Final = 107
"""The field's own `qemu` user: what volumes are owned by, what workers run as."""
UNPRIVILEGED: Final[Obj] = {
    "allowPrivilegeEscalation": False,
    "runAsNonRoot": True,
    "runAsUser": WORKER_UID,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""What a container may: nothing but its work."""


@dataclass(frozen=True)
class Worker:
    """One program in one pod."""

    container: str
    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    secret_env: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Environment name -> (Secret, key), without which it does not start."""
    optional_env: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """The same of what need not be there."""
    mounts: tuple[tuple[str, str], ...] = ()
    """(volume, path) of file systems."""
    devices: tuple[tuple[str, str], ...] = ()
    """(volume, path) of block devices."""
    volumes: tuple[Obj, ...] = ()
    """The pod's volumes, as on the wire."""
    ports: Mapping[str, int] = field(default_factory=dict)
    resources: Obj = field(default_factory=dict)
    restart_policy: str = "OnFailure"
    pull_policy: str = "IfNotPresent"
    grace: int = 30
    field_env: Mapping[str, str] = field(default_factory=lambda: {"POD_IP": "status.podIP"})
    """Environment name -> field path."""


def pod(worker: Worker, metadata: Obj, **spec: Any) -> Obj:
    """The Pod that runs a worker: never root, no capabilities; `spec` adds or overrides fields of its spec."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {
            "restartPolicy": worker.restart_policy,
            "terminationGracePeriodSeconds": worker.grace,
            "enableServiceLinks": False,
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": WORKER_UID,
                "fsGroup": WORKER_UID,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container(worker)],
            "volumes": list(worker.volumes),
            **spec,
        },
    }


def container(worker: Worker) -> Obj:
    """The worker's container, as on the wire."""
    env: list[Obj] = [{"name": key, "value": text} for key, text in worker.env.items()]
    env += [_secret(key, *where) for key, where in worker.secret_env.items()]
    env += [_secret(key, *where, optional=True) for key, where in worker.optional_env.items()]
    env += [
        {"name": key, "valueFrom": {"fieldRef": {"fieldPath": path}}}
        for key, path in worker.field_env.items()
    ]
    return {
        "name": worker.container,
        "image": IMAGE,
        "imagePullPolicy": worker.pull_policy,
        "command": list(worker.command),
        "env": env,
        "ports": [
            {"name": key, "containerPort": port, "protocol": "TCP"} for key, port in worker.ports.items()
        ],
        "volumeMounts": [{"name": volume, "mountPath": path} for volume, path in worker.mounts],
        "volumeDevices": [{"name": volume, "devicePath": path} for volume, path in worker.devices],
        "resources": dict(worker.resources),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": UNPRIVILEGED,
    }


def _secret(name: str, secret: str, key: str, *, optional: bool = False) -> Obj:
    may_miss = {"optional": True} if optional else {}
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key, **may_miss}}}


def claim_volume(volume: str, claim: str) -> Obj:
    """A pod's volume that is a claim."""
    return {"name": volume, "persistentVolumeClaim": {"claimName": claim}}


def claims(pod: Obj) -> Sequence[str]:
    """The claims that a pod uses, by name."""
    return [
        str(volume["persistentVolumeClaim"].get("claimName", ""))
        for volume in meta.spec(pod).get("volumes") or ()
        if isinstance(volume.get("persistentVolumeClaim"), dict)
    ]


@dataclass(frozen=True)
class End:
    """How a container ended."""

    code: int
    reason: str
    message: str
    finished: str = ""
    """When, as the node says it."""


@dataclass(frozen=True)
class Facts:
    """What a Pod's status says, of its first container."""

    phase: str
    ip: str = ""
    node: str = ""
    running: bool = False
    ready: bool = False
    restarts: int = 0
    end: End | None = None
    """Set while the container is terminated."""
    last_end: End | None = None
    """How it ended the time before."""
    first_end: tuple[str, End] | None = None
    """(name, how it ended) of an init container that failed."""
    waiting: tuple[str, str] | None = None
    """(reason, message) while the container waits, or one that must end before it starts."""
    unschedulable: str = ""
    """Why no node takes the pod; empty where one did."""


def facts(pod: Obj) -> Facts:
    """What has happened to a pod."""
    status = meta.status(pod)
    container: Obj = next(iter(status.get("containerStatuses") or ()), {})
    state: Obj = container.get("state") or {}
    waiting = _waiting(status.get("initContainerStatuses") or ()) or state.get("waiting")
    scheduled = meta.condition(pod, "PodScheduled") or {}
    refused = scheduled.get("status") == "False"
    return Facts(
        phase=meta.phase(pod),
        ip=str(status.get("podIP") or ""),
        node=str(meta.spec(pod).get("nodeName") or ""),
        running=bool(state.get("running") is not None),
        ready=bool(container.get("ready")),
        restarts=int(container.get("restartCount") or 0),
        end=_end(state),
        last_end=_end(container.get("lastState") or {}),
        first_end=_first_end(status.get("initContainerStatuses") or ()),
        waiting=(str(waiting.get("reason", "")), str(waiting.get("message", ""))) if waiting else None,
        unschedulable=str(scheduled.get("message") or "unschedulable") if refused else "",
    )


def _waiting(containers: Sequence[Obj]) -> Obj | None:
    """What holds these back; none where they only wait for their turn."""
    states = [(each.get("state") or {}).get("waiting") or {} for each in containers]
    return next((each for each in states if each.get("reason") not in (None, "PodInitializing")), None)


def _first_end(containers: Sequence[Obj]) -> tuple[str, End] | None:
    ends = ((str(each.get("name") or ""), _end(each.get("state") or {})) for each in containers)
    return next(((name, end) for name, end in ends if end and end.code), None)


def _end(state: Obj) -> End | None:
    said = state.get("terminated")
    if not said:
        return None
    return End(
        code=int(said.get("exitCode") or 0),
        reason=str(said.get("reason") or ""),
        message=str(said.get("message") or ""),
        finished=str(said.get("finishedAt") or ""),
    )


def quality(spec: Mapping[str, Any]) -> str:
    """The pod's quality of service class, from its requests and limits of cpu and memory."""
    limits = [_computed(each, "limits") for each in spec.get("containers") or ()]
    requests = [_computed(each, "requests") for each in spec.get("containers") or ()]
    if not any(limits) and not any(requests):
        return "BestEffort"
    guaranteed = all(len(limit) == 2 for limit in limits) and all(
        limit | request == limit for limit, request in zip(limits, requests, strict=True)
    )
    return "Guaranteed" if guaranteed else "Burstable"


def _computed(container: Obj, kind: str) -> dict[str, str]:
    said = (container.get("resources") or {}).get(kind) or {}
    return {name: str(said[name]) for name in ("cpu", "memory") if name in said}
