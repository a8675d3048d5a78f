"""The reconciler of instances, and the only writer of their status: volumes, then a pod, then its guest."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from diskyard.api import instance as instances
from diskyard.api import meta
from diskyard.api.config import Config, config
from diskyard.api.hotplug import hotpluggable
from diskyard.api.instance import FINAL_PHASES, Instance, Volume
from diskyard.api.meta import (
    CDI_CONFIG,
    CLAIM,
    CONFIG_MAP,
    DATA_VOLUME,
    INSTANCE,
    KUBEVIRT,
    NODE,
    POD,
    RESOURCE_QUOTA,
    Condition,
    Key,
    Kind,
    Obj,
)
from diskyard.api.names import cdi, derived, kubevirt
from diskyard.errors import InvalidRequest
from diskyard.kube.client import DELETE, Client, Deletion, Selection
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
    owners,
    short,
)
from diskyard.kube.refusal import CreateOrExplain
from vm_runtime.controller import admission, gate, phases, plugs, supply
from vm_runtime.controller.configuration import acceleration, networking, of_settings, settings_of
from vm_runtime.controller.gate import World
from vm_runtime.controller.pod import EXTRA_GRACE, consumer_pod, is_launcher, launcher_pod, placed
from vm_runtime.controller.state import remembers, state_claim
from vm_runtime.controller.supply import Supply


class Instances:
    """VirtualMachineInstance -> launcher's pod, and back: pod -> status."""

    kind = INSTANCE

    def __init__(self, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._clock = clock
        self._interest = Interest()
        self.wakes: Mapping[Kind, Callable[[Obj], Iterable[Key]]] = {
            CLAIM: self._interest.roots(CLAIM),
            DATA_VOLUME: self._interest.roots(DATA_VOLUME),
            POD: self._pods,
            KUBEVIRT: everything,
            CONFIG_MAP: of_settings,
            NODE: everything,
            RESOURCE_QUOTA: short,
        }

    def gather(self, client: Client, key: Key) -> World | None:
        """The instance, its claims and what fills them, its pods, and what the nodes offer."""
        obj = find(client, INSTANCE, key)
        if obj is None:
            self._interest.note(key, ())
            return None
        allowed = settings_of(client)
        try:
            asked, problem = instances.instance(obj), admission.instance_refusal(obj, allowed)
        except InvalidRequest as failure:
            asked, problem = None, str(failure)
        chosen = config(find(client, CDI_CONFIG, Key(cdi.CONFIG_NAME)) or {})
        supplies = self._supplies(client, asked, chosen) if asked else ()
        uid, nodes = meta.uid(obj), client.list(NODE).items
        return World(
            obj=obj,
            instance=replace(asked, claims=_known(obj, asked, supplies)) if asked else None,
            problem=problem,
            supplies=tuple(each for each in supplies if not hotpluggable(each.volume)),
            hot=tuple(each for each in supplies if hotpluggable(each.volume)),
            lending=_lending(client, obj),
            pod=_owned(client, Key(derived.launcher_pod(key.name, uid), key.namespace), obj),
            consumer=_owned(client, Key(derived.consumer_pod(key.name, uid), key.namespace), obj),
            acceleration=acceleration(allowed, nodes),
            state=find(client, CLAIM, Key(derived.state_claim(key.name), key.namespace)),
            settings=allowed,
            networking=networking(nodes),
            config=chosen,
            now=self._clock(),
        )

    def decide(self, world: World) -> Plan:
        """Take away what is deleted; report on what has a pod; give a pod to what is ready for one."""
        obj = world.obj
        if meta.deleting(obj):
            return _deletion(world)
        if not admission.admitted(obj):
            return Plan((admission.admit(obj, world.settings),))
        if meta.phase(obj) in FINAL_PHASES:
            return Plan(tuple(plugs.retired(world.lending)))
        if world.pod is not None or meta.phase(obj) not in ("", "Pending"):
            stage = phases.of_pod(obj, world.pod)
            return Plan((*_retired(world.consumer), *_plugged(world, stage), *_reported(world, stage)))
        return _admission(world)

    def _supplies(self, client: Client, instance: Instance, chosen: Config) -> tuple[Supply, ...]:
        volumes = instance.claim_volumes
        keys = [Key(volume.claim, instance.namespace) for volume in volumes]
        root = Key(instance.name, instance.namespace)
        self._interest.note(root, _interests(keys))
        found = {key: find(client, CLAIM, key) for key in keys}
        fillers = {
            volume.name: Key(supply.filler(found[key], volume), key.namespace)
            for volume, key in zip(volumes, keys, strict=True)
        }
        pods = _others(client, instance)
        self._interest.note(
            root, [*_interests([*keys, *fillers.values()]), *((POD, meta.key(p)) for p in pods)]
        )
        return tuple(
            Supply(
                volume,
                found[key],
                find(client, DATA_VOLUME, fillers[volume.name]),
                _holder(instance, volume, pods),
                _overhead(chosen, found[key]),
            )
            for volume, key in zip(volumes, keys, strict=True)
        )

    def _pods(self, pod: Obj) -> Iterable[Key]:
        """The instance that a pod runs, and those that wait for what it uses."""
        return {*owners(INSTANCE)(pod), *self._interest.roots(POD)(pod)}


def _overhead(chosen: Config, claim: Obj | None) -> str:
    spec = meta.spec(claim or {})
    return chosen.overhead_of(str(spec.get("storageClassName") or ""), spec.get("volumeMode") == "Block")


def _interests(keys: Iterable[Key]) -> list[tuple[Kind, Key]]:
    return [(kind, key) for key in keys for kind in (CLAIM, DATA_VOLUME)]


def _known(obj: Obj, asked: Instance, supplies: Sequence[Supply]) -> Mapping[str, instances.Claim]:
    status = {**meta.status(obj), "volumeStatus": supply.volume_status(asked, supplies)}
    return instances.instance({**obj, "status": status}).claims


def _admission(world: World) -> Plan:
    """The gates before a pod, in their order: the first that is closed says why."""
    closed = gate.closed(world)
    stage = _before_pod(world, closed)
    actions: list[Action] = [*_reported(world, stage)]
    if closed is None and world.instance is not None:
        pod = launcher_pod(
            world.obj, world.instance, world.config,
            accelerated=world.acceleration.kvm, networked=world.networking.own,
        )  # fmt: skip
        if remembers(world.instance) and world.state is None:
            claim = state_claim(world.obj, world.instance, world.settings)
            actions.append(_made(world, stage, Create(CLAIM, claim)))
        actions += [
            _made(world, stage, Create(POD, placed(pod, world.settings))),
            Tell(INSTANCE, world.obj, "SuccessfulCreate", f"Created virtual machine pod {meta.name(pod)}"),
        ]
        return Plan((*_retired(world.consumer), *actions))
    if closed and closed.consumer and world.instance is not None and world.consumer is None:
        pod = placed(consumer_pod(world.obj, world.instance), world.settings)
        actions.append(_made(world, stage, Create(POD, pod)))
    if world.consumer is not None and not (closed and closed.consumer):
        actions += _retired(world.consumer)
    if closed and closed.event and phases.news(world.obj, closed.stage):
        actions.append(Tell(INSTANCE, world.obj, closed.event, closed.message, warning=True))
    return Plan(tuple(actions))


def _before_pod(world: World, closed: gate.Closed | None) -> phases.Stage:
    if closed is None or (closed.consumer and world.consumer is None and phases.refused(world.obj)):
        return phases.waiting(world.obj)
    return closed.stage


def _made(world: World, stage: phases.Stage, create: Create) -> CreateOrExplain:
    """What is in the way of it, such as a quota, is said by the instance."""

    def told(reason: str, message: str) -> Obj:
        why = Condition("Synchronized", "False", reason, message)
        return {"status": _status(world, replace(stage, conditions=(why,)))}

    return CreateOrExplain(create, INSTANCE, world.obj, told, "status", phases.NOT_MADE)


def _plugged(world: World, stage: phases.Stage) -> list[Action]:
    """Pods for the volumes that come while the guest runs, as long as it does."""
    if stage.phase in FINAL_PHASES:
        return [*plugs.retired(world.lending)]
    if stage.phase != "Running" or world.instance is None or world.pod is None:
        return []
    report = phases.report_of(world.pod)
    return [*plugs.actions(world.obj, world.instance, world.hot, world.lending, report)]


def _deletion(world: World) -> Plan:
    """The pod goes first, with time for the guest to shut down; then nothing holds the instance any more.

    Until its guest is down, claims that came while it ran are held: it may write to them to the end.
    """
    alive = world.pod is not None and meta.phase(world.pod) not in FINAL_PHASES
    actions: list[Action] = [*_retired(world.consumer), *plugs.retired(() if alive else world.lending)]
    if world.pod is not None:
        if not meta.deleting(world.pod):
            grace = world.instance.grace if world.instance else instances.DEFAULT_GRACE
            deletion = Deletion(uid=meta.uid(world.pod), grace=grace + EXTRA_GRACE)
            actions.append(Delete(POD, meta.key(world.pod), deletion))
            actions.append(Tell(INSTANCE, world.obj, "ShuttingDown", "Signaled graceful shutdown"))
        actions += _reported(world, phases.of_pod(world.obj, world.pod))
    elif world.consumer is None and admission.admitted(world.obj):
        actions.append(_released(world.obj))
    return Plan(tuple(actions))


def _reported(world: World, stage: phases.Stage) -> list[Action]:
    status = _status(world, stage)
    actions: list[Action] = []
    if status != meta.status(world.obj):
        patch = {
            "metadata": {"resourceVersion": meta.meta(world.obj).get("resourceVersion")},
            "status": status,
        }
        actions.append(Merge(INSTANCE, meta.key(world.obj), patch, "status"))
    actions += [Tell(INSTANCE, world.obj, phases.SMALL, text) for text in phases.small(world.obj, status)]
    if stage.phase != meta.phase(world.obj) and stage.event:
        reason, message, warning = stage.event
        actions.append(Tell(INSTANCE, world.obj, reason, message, warning))
    if stage.phase == "Scheduling" and phases.news(world.obj, stage):
        actions += [
            Tell(INSTANCE, world.obj, each.reason, each.message, warning=True) for each in stage.conditions
        ]
    return actions


def _status(world: World, stage: phases.Stage) -> Obj:
    subject = phases.Subject(
        world.obj,
        world.instance,
        world.supplies,
        world.pod,
        _plugs(world, stage),
        world.networking.reason,
        world.networking.routes,
    )
    return phases.status(subject, stage, world.now)


def _plugs(world: World, stage: phases.Stage) -> list[Obj]:
    """Where what comes while the guest runs stands; a guest that is over has nothing any more."""
    if stage.phase in FINAL_PHASES:
        return plugs.statuses(world.hot, (), None)
    return plugs.statuses(world.hot, world.lending, phases.report_of(world.pod or {}))


def _retired(pod: Obj | None) -> list[Action]:
    if pod is None or meta.deleting(pod):
        return []
    return [Delete(POD, meta.key(pod), replace(DELETE, uid=meta.uid(pod), grace=0))]


def _released(obj: Obj) -> Merge:
    others = [name for name in meta.finalizers(obj) if name != kubevirt.INSTANCE_FINALIZER]
    return finalized(INSTANCE, obj, others)


def _others(client: Client, instance: Instance) -> list[Obj]:
    """Launchers of other guests in the namespace that are not over."""
    chosen = Selection(instance.namespace, f"{kubevirt.APP_LABEL}={kubevirt.LAUNCHER}")
    pods = [pod for pod in client.list(POD, chosen).items if is_launcher(pod)]
    return supply.holders([*pods, *_lenders(client, instance.namespace)], instance.uid)


def _lenders(client: Client, namespace: str) -> Sequence[Obj]:
    return client.list(POD, Selection(namespace, f"{kubevirt.APP_LABEL}={kubevirt.LENDER}")).items


def _lending(client: Client, obj: Obj) -> tuple[Obj, ...]:
    return tuple(pod for pod in _lenders(client, meta.namespace(obj)) if meta.owned_by(pod, obj))


def _holder(instance: Instance, volume: Volume, pods: Sequence[Obj]) -> str:
    if not supply.contested(instance, volume):
        return ""
    holding = (pod for pod in pods if supply.uses(pod, volume))
    return next((str((meta.controller_of(pod) or {}).get("name") or meta.name(pod)) for pod in holding), "")


def _owned(client: Client, key: Key, owner: Obj) -> Obj | None:
    pod = find(client, POD, key)
    return pod if pod is not None and meta.owned_by(pod, owner) else None
