"""As whom a container runs, and with which rights: from the security contexts of its pod and its own. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from diskyard.api import meta
from diskyard.api.meta import Obj
from diskyard.api.pod import WORKER_UID

LARGEST: Final = 1 << 31
"""User and group ids end before it."""


@dataclass(frozen=True)
class Identity:
    """Who a container is. It never has a capability, and never gets one."""

    user: int = WORKER_UID
    group: int = WORKER_UID
    groups: tuple[int, ...] = ()
    """Supplementary ones, the volumes' among them."""
    volumes: int | None = None
    """fsGroup: the group that the pod's volumes are given."""
    read_only_root: bool = False


WORKER: Final = Identity()


def identity(pod: Obj, container: Obj) -> Identity:
    """As whom a container of a pod runs. Who names a user and no group is in the workers' group."""
    whole, own = _whole(pod), _own(pod, container)
    volumes = whole.get("fsGroup")
    further = [*(whole.get("supplementalGroups") or ()), *([] if volumes is None else [volumes])]
    return Identity(
        user=own.get("runAsUser", WORKER_UID),
        group=own.get("runAsGroup", WORKER_UID),
        groups=tuple(dict.fromkeys(further)),
        volumes=volumes,
        read_only_root=bool(own.get("readOnlyRootFilesystem")),
    )


def refusal(pod: Obj, container: Obj) -> str:
    """What a container asks to be, and cannot be on this node; empty: nothing."""
    return next(_refusals(pod, container), "")


def _refusals(pod: Obj, container: Obj) -> Iterator[str]:
    whole, own, spec = _whole(pod), _own(pod, container), meta.spec(pod)
    if own.get("privileged"):
        yield "privileged containers do not run on this node: remove securityContext.privileged"
    if added := (own.get("capabilities") or {}).get("add"):
        yield f"this node grants no capabilities: remove securityContext.capabilities.add ({', '.join(added)})"
    for field in ("hostPID", "hostIPC"):
        if spec.get(field):
            yield f"containers share no namespace of processes or IPC with this node: remove spec.{field}"
    if (own.get("seccompProfile") or {}).get("type") == "Localhost":
        yield "this node has no seccomp profiles of its own: use securityContext.seccompProfile.type RuntimeDefault"
    if own.get("procMount") == "Unmasked":
        yield "this node unmasks nothing of /proc: remove securityContext.procMount"
    if container in (spec.get("initContainers") or ()) and container.get("restartPolicy") == "Always":
        yield (
            "sidecars do not run on this node (an initContainer with restartPolicy Always): make it one of "
            "spec.containers"
        )
    asked = {
        "runAsUser": own.get("runAsUser"),
        "runAsGroup": own.get("runAsGroup"),
        "fsGroup": whole.get("fsGroup"),
        **{f"supplementalGroups[{n}]": one for n, one in enumerate(whole.get("supplementalGroups") or ())},
    }
    for field, number in asked.items():
        if number is not None and not (isinstance(number, int) and 0 < number < LARGEST):
            yield (
                f"containers never run as root on this node: expected securityContext.{field} from 1 to {LARGEST - 1}, "
                f"found {number}"
            )


def _whole(pod: Obj) -> Mapping[str, Any]:
    return meta.spec(pod).get("securityContext") or {}


def _own(pod: Obj, container: Obj) -> dict[str, Any]:
    """The container's own words come before its pod's."""
    return {**_whole(pod), **(container.get("securityContext") or {})}
