"""Runs this machine's pods: binds them, starts and restarts their containers, ends them, and says how it goes."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from diskyard import IMAGE
from diskyard.api import meta, quantity
from diskyard.api.meta import CLAIM, CONFIG_MAP, NODE, POD, SECRET, Key, Kind, Obj
from diskyard.api.names import cdi
from diskyard.errors import NotFound
from diskyard.kube.client import Client, Deletion
from diskyard.kube.reconcile import NOTHING, Action, Delete, Merge, Plan, Tell, find
from standalone.colleagues import ALL, Duties
from standalone.node import heartbeat, identity, placement, probe, restart, sandbox, schedule, status, volume
from standalone.node import world as world_
from standalone.node.action import DEFAULT_GRACE, Ask, Assign, Refresh, Remove, Settle, Start, Stop
from standalone.node.probe import Target
from standalone.node.prober import Subject
from standalone.node.restart import KUBELET, Backoff
from standalone.node.runtime import Home, Runtime
from standalone.node.status import View, Wait
from standalone.node.uses import Uses
from standalone.node.volume import Scene
from standalone.node.world import World
from standalone.storage.place import Place

LOOK_AGAIN: Final = 30.0
"""Seconds until a pod that misses something is looked at again, should no watch have brought it."""

REFRESHED: Final = 60.0
"""Seconds between two looks at whether a token in a volume is to be renewed; changes of objects come at once."""


class Pods:
    """The reconciler of pods for one node."""

    kind = POD

    def __init__(
        self,
        node: schedule.Node,
        runtime: Runtime,
        place: Place,
        backoff: Backoff = KUBELET,
        duties: Duties = ALL,
    ) -> None:
        self._duties = duties
        self.node = node
        self.runtime = runtime
        self._place = place
        self._backoff = backoff
        self._host = sandbox.host()
        self._capacity = heartbeat.capacity()
        self._uses = Uses()
        self.wakes: Mapping[Kind, Callable[[Obj], Iterable[Key]]] = {
            **{kind: self._uses.users(kind) for kind in (CLAIM, SECRET, CONFIG_MAP, NODE)},
            POD: self._uses.beside,
        }

    def gather(self, client: Client, key: Key) -> World | None:
        """The pod, its claims, its processes, and what its containers need."""
        try:
            pod = client.get(POD, key)
        except NotFound:
            pod = None
            self._uses.forget(key)
        strays = tuple(
            (home, self.runtime.running(home))
            for home in self.runtime.homes()
            if home.key == key and (pod is None or home.uid != meta.uid(pod))
        )
        world = World(
            key, datetime.now(UTC), self.node, self.runtime, self._host, self._backoff, pod, strays=strays
        )
        if pod is None or meta.spec(pod).get("nodeName") not in (None, "", self.node.name):
            return world if strays else None
        here = Key(self.node.name)
        self._uses.note(key, pod, () if meta.spec(pod).get("nodeName") else ((NODE, here),))
        home = self.runtime.home(meta.uid(pod))
        if home is None:
            scheduled = not meta.spec(pod).get("nodeName") and not self._duties.binds_pods(client, world.now)
            return replace(
                world,
                node=replace(self.node, marks=placement.marks(find(client, NODE, here), self.node.labels)),
                claims=world_.claims(client, pod, self.node.name),
                scheduled=scheduled,
                pressed=self._place.pressed(),
                room=world_.room(client, pod, self.node.name, quantity.parse(self._capacity["memory"])),
            )
        return self._with_processes(client, world, pod, home)

    def decide(self, world: World) -> Plan:
        """The first rule that speaks."""
        return next((plan for rule in RULES if (plan := rule(world)) is not None), NOTHING)

    def _with_processes(self, client: Client, world: World, pod: Obj, home: Home) -> World:
        lives = {
            str(each["name"]): self.runtime.lives(
                home, str(each["name"]), each.get("terminationMessagePolicy") == "FallbackToLogsOnError"
            )
            for each in schedule.containers(pod)
        }
        verdicts = world_.verdicts(self.runtime, home, pod, lives)
        world = replace(world, home=home, lives=lives, verdicts=verdicts)
        idle = any(not (found and found[-1].running) for found in lives.values())
        if meta.deleting(pod) or meta.phase(pod) in status.TERMINAL or not (idle or volume.changes(pod)):
            return world
        fields = {
            "status.podIP": home.address, "status.podIPs": home.address,
            "status.hostIP": self.node.address, "status.hostIPs": self.node.address,
        }  # fmt: skip
        return replace(
            world,
            materials=world_.materials(
                Scene(pod, home, self._place, client, self.node.name, fields, self._capacity)
            ),
        )


def _strays(world: World) -> Plan | None:
    """What is left of an earlier pod of this name ends first: two pods never write to one claim."""
    if not world.strays:
        return None
    return Plan(
        tuple(
            Stop(world.runtime, home, 0) if running else Remove(world.runtime, home)
            for home, running in world.strays
        )
    )


def _gone(world: World) -> Plan | None:
    return NOTHING if world.pod is None else None


def _deleting(world: World) -> Plan | None:
    pod = _pod(world)
    if not meta.deleting(pod):
        return None
    grace = float(meta.meta(pod).get("deletionGracePeriodSeconds") or 0)
    running = [lives[-1] for lives in world.lives.values() if lives and lives[-1].running]
    if running and world.home:
        if all(life.grace is not None and life.grace <= grace for life in running):
            return NOTHING
        told = [
            Tell(POD, pod, "Killing", f"Stopping container {name}")
            for name, lives in world.lives.items() if lives and lives[-1].running
        ]  # fmt: skip
        return Plan((Stop(world.runtime, world.home, grace), *told))
    if grace == 0 and meta.meta(pod).get("finalizers"):
        return NOTHING
    last = _written(world, {}) if world.home else ()
    return Plan((*last, Delete(POD, world.key, Deletion(uid=meta.uid(pod), grace=0))))


def _over(world: World) -> Plan | None:
    return NOTHING if meta.phase(_pod(world)) in status.TERMINAL else None


def _unscheduled(world: World) -> Plan | None:
    pod = _pod(world)
    if meta.spec(pod).get("nodeName"):
        return None
    if world.scheduled:
        return Plan(requeue_after=LOOK_AGAIN)
    if (meta.spec(pod).get("schedulerName") or "") not in schedule.SCHEDULERS:
        return NOTHING
    if any(not claim.bound and not claim.waits and claim.fresh(world.now) for claim in world.claims):
        return Plan(requeue_after=schedule.PATIENCE.total_seconds())
    why = schedule.obstacle(pod, world.claims, world.node, pressed=world.pressed, room=world.room)
    passing = why == schedule.PRESSURE or schedule.NO_MEMORY in why
    again = LOOK_AGAIN if passing or any(claim.taken for claim in world.claims) else None
    if why:
        said = (meta.condition(pod, "PodScheduled") or {}).get("message")
        if said == why:
            return Plan(requeue_after=again)
        change = {"metadata": {"uid": meta.uid(pod)}, "status": status.unschedulable(pod, why, world.now)}
        return Plan(
            (Merge(POD, world.key, change, "status"), Tell(POD, pod, "FailedScheduling", why, warning=True)),
            again,
        )
    if any(not claim.bound for claim in world.claims):
        selected = {"metadata": {"annotations": {cdi.SELECTED_NODE: world.node.name}}}
        waiting = schedule.unselected(world.claims, world.node)
        return Plan(tuple(Merge(CLAIM, meta.key(claim), selected) for claim in waiting))
    sentence = f"Successfully assigned {world.key} to {world.node.name}"
    return Plan(
        (Assign(pod, world.node.name), Settle(world.runtime, pod), Tell(POD, pod, "Scheduled", sentence))
    )


def _unsettled(world: World) -> Plan | None:
    return Plan((Settle(world.runtime, _pod(world)),)) if world.home is None else None


@dataclass(frozen=True)
class Step:
    """What one container needs now: a wait, a start, or nothing."""

    wait: Wait | None = None
    actions: tuple[Action, ...] = ()
    again_in: float | None = None


def _alive(world: World) -> Plan | None:
    """Start what is due, say why the rest waits."""
    steps = {str(each["name"]): _step(world, each) for each in _stage(world)}
    waits = {name: step.wait for name, step in steps.items() if step.wait}
    actions = [action for step in steps.values() for action in step.actions]
    times = [step.again_in for step in steps.values() if step.again_in is not None]
    actions += _asked(world)
    if world.home and world.materials.volumes and volume.changes(_pod(world)):
        actions.append(Refresh(world.home, _pod(world), world.materials.volumes))
        times.append(REFRESHED)
    return Plan((*_written(world, waits), *actions), min(times) if times else None)


def _asked(world: World) -> list[Action]:
    """Begin to ask the probes of containers that run and that nobody asks."""
    pod, home = _pod(world), world.home
    grace = meta.spec(pod).get("terminationGracePeriodSeconds")
    found: list[Action] = []
    for each in meta.spec(pod).get("containers") or ():
        name = str(each["name"])
        if home is None or name not in world.verdicts or world.verdicts[name] is not None:
            continue
        life = world.lives[name][-1]
        where = world.runtime.life(home, name, life.number)
        target = Target(where, home.address, each, world.host, identity.identity(pod, each))
        subject = Subject(
            pod, target, life.started or world.now, DEFAULT_GRACE if grace is None else float(grace)
        )
        found.append(Ask(world.runtime, subject))
    return found


def _stage(world: World) -> list[Obj]:
    """The containers whose turn it is: init containers one by one, then all others."""
    spec = meta.spec(_pod(world))
    for init in spec.get("initContainers") or ():
        lives = world.lives.get(str(init["name"])) or ()
        if not (lives and lives[-1].end and lives[-1].end.code == 0):
            return [init]
    return list(spec.get("containers") or ())


def _step(world: World, container: Obj) -> Step:
    name = str(container["name"])
    spec = meta.spec(_pod(world))
    policy = str(spec.get("restartPolicy") or "Always")
    if policy == "Always" and container in (spec.get("initContainers") or ()):
        policy = "OnFailure"
    following = restart.following(policy, world.lives.get(name) or (), world.backoff)
    if following is None or world.home is None:
        return Step()
    obstacle = _obstacle(world, container)
    if obstacle:
        return obstacle
    pause = (following.at - world.now).total_seconds()
    if pause > 0:
        return _backing_off(world, name, pause)
    pod = _pod(world)
    env, volumes = world.materials.env.get(name) or {}, world.materials.volumes
    start = Start(world.runtime, world.host, world.home, pod, container, following, volumes, env)
    told = (
        Tell(POD, pod, "Pulled", f'Container image "{container.get("image")}" already present on machine'),
        Tell(POD, pod, "Created", f"Created container: {name}"),
        Tell(POD, pod, "Started", f"Started container {name}"),
    )
    return Step(actions=(start, *told))


def _obstacle(world: World, container: Obj) -> Step | None:
    pod, name = _pod(world), str(container["name"])
    if _repository(str(container.get("image", ""))) != _repository(IMAGE):
        return _no_image(world, container)
    if world.materials.missing_volume:
        text = f"MountVolume.SetUp failed: {world.materials.missing_volume}"
        told = Tell(POD, pod, "FailedMount", text, warning=True)
        return Step(Wait("ContainerCreating", text), (told,), LOOK_AGAIN)
    refusal = (
        world.materials.missing_env.get(name) or identity.refusal(pod, container) or probe.refusal(container)
    )
    if refusal:
        return _waiting(world, name, Wait("CreateContainerConfigError", refusal), f"Error: {refusal}")
    if not container.get("command") and not container.get("args"):
        sentence = "no command specified: the image runs what `command` says, such as [diskyard-importer]"
        return _waiting(world, name, Wait("CreateContainerError", sentence), f"Error: {sentence}")
    return None


def _repository(image: str) -> str:
    """An image's name without its tag: pods that an older version made go on in this installation."""
    folder, slash, name = image.rpartition("/")
    return folder + slash + name.partition(":")[0]


def _no_image(world: World, container: Obj) -> Step:
    image, name = str(container.get("image", "")), str(container["name"])
    sentence = (
        f'failed to pull image "{image}": this node runs only {IMAGE}, from its own installation. Use that image and '
        "a command, or run the pod on a cluster"
    )
    if _said(world, name) in ("ErrImagePull", "ImagePullBackOff"):
        wait = Wait("ImagePullBackOff", f'Back-off pulling image "{image}": ErrImagePull: {sentence}')
        return _waiting(world, name, wait, f'Back-off pulling image "{image}"', "BackOff")
    return _waiting(world, name, Wait("ErrImagePull", sentence), sentence)


def _backing_off(world: World, name: str, pause: float) -> Step:
    pod = _pod(world)
    where = f"{meta.name(pod)}_{meta.namespace(pod)}({meta.uid(pod)})"
    lives = world.lives[name]
    sentence = f"back-off {lives[-1].backoff:.0f}s restarting failed container={name} pod={where}"
    told = f"Back-off restarting failed container {name} in pod {where}"
    step = _waiting(world, name, Wait("CrashLoopBackOff", sentence), told, "BackOff")
    return replace(step, again_in=pause)


def _waiting(world: World, name: str, wait: Wait, told: str, reason: str = "Failed") -> Step:
    """The wait, and an event when it is a fresh one."""
    if _said(world, name) == wait.reason:
        return Step(wait, (), LOOK_AGAIN)
    return Step(wait, (Tell(POD, _pod(world), reason, told, warning=True),), LOOK_AGAIN)


def _said(world: World, name: str) -> str:
    """The reason for which the status says that a container waits."""
    said = meta.status(_pod(world))
    for each in (*(said.get("initContainerStatuses") or ()), *(said.get("containerStatuses") or ())):
        if each.get("name") == name:
            return str(((each.get("state") or {}).get("waiting") or {}).get("reason") or "")
    return ""


def _written(world: World, waits: Mapping[str, Wait]) -> tuple[Action, ...]:
    """The status, where it differs from what stands."""
    pod, home = _pod(world), world.home
    if home is None:
        return ()
    due = status.status(
        View(pod, world.now, home.address, world.lives, waits, world.node.address, world.verdicts)
    )
    stands = meta.status(pod)
    if all(stands.get(name) == part for name, part in due.items()):
        return ()
    change: dict[str, Any] = {"metadata": {"uid": meta.uid(pod)}, "status": due}
    return (Merge(POD, world.key, change, "status"),)


def _pod(world: World) -> Obj:
    return world.pod or {}


RULES: Final = (_strays, _gone, _deleting, _over, _unscheduled, _unsettled, _alive)
