"""A pod and everything that decides over it, read from the server and from this machine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from diskyard.api import meta
from diskyard.api import pod as api_pod
from diskyard.api.meta import CLAIM, POD, STORAGE_CLASS, VOLUME, Key, Obj
from diskyard.api.names import kubevirt
from diskyard.kube.client import Client, Selection
from diskyard.kube.reconcile import find
from standalone.node import environment, probe, schedule, volume
from standalone.node.environment import Missing
from standalone.node.prober import Verdict
from standalone.node.process import Life
from standalone.node.restart import KUBELET, Backoff
from standalone.node.runtime import Home, Runtime
from standalone.node.sandbox import Host
from standalone.node.schedule import Claim
from standalone.node.volume import Scene, Volume
from standalone.storage.volume import is_on

IN_USE: Final = "volume uses the ReadWriteOncePod access mode and is already in use by another pod"


@dataclass(frozen=True)
class Materials:
    """What a container needs to start, or the sentence that says what is missing."""

    env: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)
    missing_env: Mapping[str, str] = field(default_factory=dict)
    volumes: tuple[Volume, ...] = ()
    missing_volume: str = ""


@dataclass(frozen=True)
class World:
    """A pod and everything that decides over it."""

    key: Key
    now: datetime
    node: schedule.Node
    runtime: Runtime
    host: Host
    backoff: Backoff = KUBELET
    pod: Obj | None = None
    home: Home | None = None
    lives: Mapping[str, Sequence[Life]] = field(default_factory=dict)
    strays: tuple[tuple[Home, bool], ...] = ()
    """What earlier pods of this name have left, and whether it runs."""
    claims: tuple[Claim, ...] = ()
    scheduled: bool = False
    """Whether a scheduler is at work, and places pods."""
    pressed: bool = False
    """Whether the disk is so full that nothing new should begin."""
    room: schedule.Room | None = None
    """Of memory, for a guest; None: nobody counts."""
    materials: Materials = Materials()
    verdicts: Mapping[str, Verdict | None] = field(default_factory=dict)
    """Of running containers that have probes; None: nobody asks them yet."""


def room(client: Client, pod: Obj, node: str, total: int) -> schedule.Room | None:
    """What memory a node has left for a guest: guests take what they are promised, and for long; others do not."""
    if meta.labels(pod).get(kubevirt.APP_LABEL) != kubevirt.LAUNCHER:
        return None
    guests = client.list(POD, Selection(labels=f"{kubevirt.APP_LABEL}={kubevirt.LAUNCHER}")).items
    return schedule.room(total, [each for each in guests if meta.spec(each).get("nodeName") == node])


def claims(client: Client, pod: Obj, node: str) -> tuple[Claim, ...]:
    """The claims of a pod, with what keeps it from a node."""
    return tuple(_claim(client, pod, name, node) for name in api_pod.claims(pod))


def verdicts(
    runtime: Runtime, home: Home, pod: Obj, lives: Mapping[str, Sequence[Life]]
) -> dict[str, Verdict | None]:
    """What is known of the running containers that have probes."""
    running = {name: found[-1] for name, found in lives.items() if found and found[-1].running}
    return {
        name: runtime.prober.verdict(runtime.life(home, name, running[name].number))
        for each in meta.spec(pod).get("containers") or ()
        if (name := str(each["name"])) in running and probe.probes(each)
    }


def _claim(client: Client, pod: Obj, name: str, node: str) -> Claim:
    found = find(client, CLAIM, Key(name, meta.namespace(pod)))
    if found is None:
        return Claim(name, None)
    said = find(client, STORAGE_CLASS, Key(str(meta.spec(found).get("storageClassName") or ""))) or {}
    held = find(client, VOLUME, Key(str(meta.spec(found).get("volumeName") or "")))
    return Claim(
        name,
        found,
        said.get("volumeBindingMode") == "WaitForFirstConsumer",
        elsewhere=held is not None and not is_on(held, node),
        taken=_is_alone(found) and bool(_users(client, pod, name)),
    )


def _is_alone(claim: Obj) -> bool:
    return "ReadWriteOncePod" in (meta.spec(claim).get("accessModes") or ())


def _users(client: Client, pod: Obj, claim: str) -> list[Obj]:
    """The other pods on nodes that use a claim."""
    return [
        each
        for each in client.list(POD, Selection(meta.namespace(pod))).items
        if claim in api_pod.claims(each)
        and meta.uid(each) != meta.uid(pod)
        and meta.spec(each).get("nodeName")
        and meta.phase(each) not in ("Succeeded", "Failed")
    ]


def _taken(client: Client, pod: Obj) -> bool:
    """Whether a pod that has not begun finds a claim for one pod alone with another: nobody had to schedule it."""
    if meta.phase(pod) not in ("", "Pending"):
        return False
    found = ((name, find(client, CLAIM, Key(name, meta.namespace(pod)))) for name in api_pod.claims(pod))
    users = (
        user for name, claim in found if claim and _is_alone(claim) for user in _users(client, pod, name)
    )
    return any(meta.phase(user) == "Running" or _age(user) < _age(pod) for user in users)


def _age(pod: Obj) -> tuple[str, str]:
    return str(meta.meta(pod).get("creationTimestamp") or ""), meta.uid(pod)


def materials(scene: Scene) -> Materials:
    """What the containers of a pod need."""
    env: dict[str, Mapping[str, str]] = {}
    missing: dict[str, str] = {}
    for container in schedule.containers(scene.pod):
        try:
            env[str(container["name"])] = environment.environment(container, scene.reader)
        except Missing as error:
            missing[str(container["name"])] = str(error)
    if _taken(scene.client, scene.pod):
        return Materials(env, missing, missing_volume=IN_USE)
    try:
        return Materials(env, missing, volume.volumes(scene))
    except Missing as error:
        return Materials(env, missing, missing_volume=str(error))
