"""The agent's reconciler: gives the launchers of its node their instances, and writes down what they say."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from diskyard.api import instance as instances
from diskyard.api import meta
from diskyard.api.hotplug import hotpluggable
from diskyard.api.job import Report
from diskyard.api.meta import INSTANCE, POD, Key, Kind, Obj
from diskyard.api.names import derived, kubevirt
from diskyard.errors import InvalidRequest, NotFound, Passing, Refused
from diskyard.kube.client import Client
from diskyard.kube.reconcile import NOTHING, Action, Merge, Plan, Tell
from vm_runtime.agent import network
from vm_runtime.agent.hostdisk import NO_HOST_DISKS, HostDisks, host_disks
from vm_runtime.agent.mailbox import Mailbox, mailbox
from vm_runtime.agent.network import Connections, unconnected
from vm_runtime.agent.observer import Observer
from vm_runtime.agent.plugs import Grow, Plug, Unplug
from vm_runtime.controller.pod import is_launcher

RUNS = ("Running", "Paused")
"""States of a guest that can be given something."""
ASK_AGAIN = 3.0
"""Seconds between two orders to give or take the same disk."""
GROW_AGAIN = 60.0
"""Seconds between two orders to let the same disk grow: what has no room may have some later."""
PATIENCE = 0.1
"""Seconds until the next look for a pod's directory that the node has not made yet."""


@dataclass(frozen=True)
class Grants:
    """What of the machine guests may have."""

    disks: HostDisks = NO_HOST_DISKS
    connections: Connections = unconnected


NO_GRANTS = Grants()


@dataclass(frozen=True)
class World:
    """A launcher's pod, what it is to know, and what it has said."""

    pod: Obj
    mine: bool
    """It runs on this node, and is not over."""
    there: bool
    wanted: bytes
    """The instance's file as it should be; empty: the instance is gone."""
    found: bytes
    report: Report | None
    observed: bool
    lent: Mapping[str, str] = field(default_factory=dict)
    """Volume that comes while the guest runs -> uid of the pod that holds its claim; empty: not yet."""
    given: Mapping[str, int] = field(default_factory=dict)
    """Volume -> bytes that its claim gives to its disk."""


@dataclass(frozen=True)
class Write:
    """Put the instance's file in place, once what its guest needs of the machine is ready, or why it is not."""

    mailbox: Mailbox
    content: bytes
    uid: str
    grants: Grants

    def carry_out(self, client: Client) -> None:
        """Put it; a pod that is being taken away needs none. What keeps its guest from starting is told."""
        try:
            with suppress(FileNotFoundError):
                self.mailbox.write(self._checked())
        except Passing as failure:
            self._tell(str(failure), client)
            raise
        except OSError as failure:
            self._tell(f"{self.mailbox.path} cannot be written on this node: {failure.strerror}", client)
            raise

    def _tell(self, why: str, client: Client) -> None:
        Tell(INSTANCE, json.loads(self.content), "SyncFailed", why, warning=True).carry_out(client)

    def _checked(self) -> bytes:
        said = json.loads(self.content)
        try:
            for volume in host_disks(tuple(instances.volumes(meta.spec(said)))):
                self.grants.disks.prepare(volume)
            self._connect(said)
        except Refused as refusal:
            return json.dumps({**said, kubevirt.PROBLEM: str(refusal)}, sort_keys=True).encode()
        return self.content

    def _connect(self, said: Obj) -> None:
        """Make the guest's network, once: the launcher looks for it when it has its instance."""
        connection = self.grants.connections(self.uid)
        if connection is None or self.mailbox.read(kubevirt.NETWORK_FILE):
            return
        lease = network.wire(instances.instance(said), connection)
        if lease is not None:
            self.mailbox.write(lease.to_text().encode(), kubevirt.NETWORK_FILE)


@dataclass(frozen=True)
class Observe:
    """Listen to a launcher."""

    observer: Observer
    uid: str
    pod: Key
    mailbox: Mailbox

    def carry_out(self, _client: Client) -> None:
        """Listen, from now on."""
        self.observer.observe(self.uid, self.pod, self.mailbox)


@dataclass(frozen=True)
class Forget:
    """Listen to a launcher no more."""

    observer: Observer
    uid: str

    def carry_out(self, _client: Client) -> None:
        """Let it go."""
        self.observer.forget(self.uid)


class Launchers:
    """Launcher's pod -> instance.json and the annotation that says how its guest is."""

    kind = POD

    def __init__(self, node: str, pods: Path, observer: Observer, grants: Grants) -> None:
        self._node = node
        self._grants = grants
        self._directory = pods
        self._observer = observer
        self._uids: dict[Key, str] = {}
        self.wakes: Mapping[Kind, Callable[[Obj], Iterable[Key]]] = {INSTANCE: _pods}

    def gather(self, client: Client, key: Key) -> World | None:
        """The pod, its instance, and the directory between them."""
        try:
            pod = client.get(POD, key)
        except NotFound:
            self._observer.forget(self._uids.pop(key, ""))
            return None
        if not is_launcher(pod):
            return None
        uid = meta.uid(pod)
        self._uids[key] = uid
        box = mailbox(self._directory, uid)
        obj = _instance(client, pod)
        return World(
            pod=pod,
            mine=meta.spec(pod).get("nodeName") == self._node
            and meta.phase(pod) not in ("Succeeded", "Failed"),
            there=box.there,
            wanted=json.dumps(instances.portrait(obj), sort_keys=True).encode() if obj else b"",
            found=box.read(),
            report=self._observer.report(uid),
            observed=self._observer.observed(uid),
            lent=_lent(obj) if obj else {},
            given=_given(obj) if obj else {},
        )

    def decide(self, world: World) -> Plan:
        """Write what is new to either side."""
        uid, key = meta.uid(world.pod), meta.key(world.pod)
        if not world.mine:
            return Plan((Forget(self._observer, uid),)) if world.observed else NOTHING
        if not world.there:
            return Plan(requeue_after=PATIENCE)
        box = mailbox(self._directory, uid)
        actions: list[Action] = []
        if world.wanted and world.wanted != world.found:
            actions.append(Write(box, world.wanted, uid, self._grants))
        if not world.observed:
            actions.append(Observe(self._observer, uid, key, box))
        if world.report is not None:
            actions += _noted(world.pod, world.report)
            plugs = tuple(self._plugged(box, world.report, world)) if world.wanted else ()
            grown = tuple(_grown(box, world.report, world)) if world.wanted else ()
            # A guest that still boots hears no order to let go of a disk: it is told again.
            again = ASK_AGAIN if plugs else GROW_AGAIN if grown else None
            return Plan((*actions, *plugs, *grown), requeue_after=again)
        return Plan(tuple(actions))

    def _plugged(self, box: Mailbox, report: Report, world: World) -> Iterator[Action]:
        """What is to come and is not there, what is there and is to go."""
        if report.state not in RUNS:
            return
        for volume, uid in world.lent.items():
            if uid and volume not in report.plugged:
                yield Plug(box, mailbox(self._directory, uid), volume)
        for volume in (report.plugged.keys() | report.troubles.keys()) - world.lent.keys():
            yield Unplug(box, volume)


def _grown(box: Mailbox, report: Report, world: World) -> Iterator[Action]:
    """Disks whose claims give more than they have. A launcher from before it could grow them tells of none."""
    for volume, size in report.sizes.items() if report.state in RUNS else ():
        if size < world.given.get(volume, 0):
            yield Grow(box, volume)


def _given(obj: Obj) -> Mapping[str, int]:
    with suppress(InvalidRequest):  # its launcher says so itself
        return {name: claim.most for name, claim in instances.instance(obj).claims.items()}
    return {}


def _lent(obj: Obj) -> Mapping[str, str]:
    status = {str(each.get("name")): each for each in meta.status(obj).get("volumeStatus") or ()}
    found = (each.name for each in instances.volumes(meta.spec(obj)) if hotpluggable(each))
    return {
        name: str(instances.part(status.get(name, {}), "hotplugVolume").get("attachPodUID") or "")
        for name in found
    }


def _noted(pod: Obj, report: Report) -> list[Action]:
    text = report.to_text()
    if meta.annotations(pod).get(kubevirt.DOMAIN_REPORT) == text:
        return []
    change = {"metadata": {"uid": meta.uid(pod), "annotations": {kubevirt.DOMAIN_REPORT: text}}}
    return [Merge(POD, meta.key(pod), change)]


def _instance(client: Client, pod: Obj) -> Obj | None:
    owner = meta.controller_of(pod) or {}
    try:
        obj = client.get(INSTANCE, Key(str(owner.get("name") or ""), meta.namespace(pod)))
    except NotFound:
        return None
    return obj if meta.uid(obj) == owner.get("uid") else None


def _pods(instance: Obj) -> Iterable[Key]:
    yield Key(derived.launcher_pod(meta.name(instance), meta.uid(instance)), meta.namespace(instance))
