"""The node of a yard: its pods, their logs, and the Node object that stands for it."""

from collections.abc import Callable, Iterator
from pathlib import Path

from diskyard.api import meta
from diskyard.api.meta import Key, Obj
from diskyard.errors import BadRequest
from diskyard.kube.client import Client
from standalone.node import log, process
from standalone.node.heartbeat import Heartbeat, Machine
from standalone.node.log import LogOptions
from standalone.node.network.network import Network
from standalone.node.pods import Pods
from standalone.node.restart import KUBELET, Backoff
from standalone.node.runtime import Runtime
from standalone.storage.place import Place
from vm_runtime.network.plan import Connection


class Node:
    """What a yard starts and stops. `reconciler` goes to the controllers."""

    def __init__(self, machine: Machine, pods: Path, place: Place, backoff: Backoff = KUBELET) -> None:
        self._machine = machine
        self._place = place
        network = machine.network if isinstance(machine.network, Network) else None
        self._runtime = Runtime(pods, machine.memory, network)
        self._heartbeat: Heartbeat | None = None
        self.reconciler = Pods(machine.schedulable(), self._runtime, place, backoff, machine.duties)

    def start(self, client: Client, wake: Callable[[Key], None]) -> None:
        """Make the Node object, find the pods that an earlier yard left, and `wake` each whose processes end."""
        self._heartbeat = Heartbeat(client, self._machine, self._place.pressed)
        self._heartbeat.start()
        self._runtime.prober.begin(client, wake)
        self._runtime.begin(wake)

    def connection(self, uid: str) -> Connection | None:
        """The network of the pod with that uid, where it has its own."""
        return self._runtime.connection(uid)

    def logs(self, pod: Obj, options: LogOptions) -> Iterator[bytes]:
        """What a container said, as `log.read` gives it. Raises BadRequest where it has said nothing yet."""
        name = options.container or str(meta.spec(pod)["containers"][0]["name"])
        home = self._runtime.home(meta.uid(pod))
        lives = self._runtime.lives(home, name) if home else ()
        where = f'container "{name}" in pod "{meta.name(pod)}"'
        if options.previous:
            lives = lives[:-1]
        if home is None or not lives:
            raise BadRequest(
                f"previous terminated {where} not found"
                if options.previous
                else f"{where} is waiting to start"
            )
        directory = self._runtime.life(home, name, lives[-1].number)
        return log.read(directory, options, lambda: bool(process.holder(directory)))

    def stop_all(self, grace: float) -> None:
        """End every process; the pods stay, and what should run does so again at the next start.

        Each gets the grace of its pod, and `grace` seconds at most.
        Stop the controllers first.
        """
        self._runtime.stop_all(grace)

    def kill_all(self) -> None:
        """Kill every process, where the directories of pods are gone. Stop the controllers first."""
        self._runtime.kill_all()

    def close(self) -> None:
        """Let go; processes go on and are found again."""
        if self._heartbeat:
            self._heartbeat.close()
        self._runtime.close()
