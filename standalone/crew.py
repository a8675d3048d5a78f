"""Who works on this machine, for a yard and for an outpost alike: its node, its storage, the agent of its guests.

Closing ends the work and leaves the processes of pods running: the next crew finds them.
"""

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, Final

from diskyard import log
from diskyard.api.meta import POD, Key, Kind
from diskyard.api.names import kubernetes
from diskyard.errors import ApiError
from diskyard.kube.client import Client
from diskyard.kube.controller import Controllers
from diskyard.kube.figures import Figures
from diskyard.kube.reconcile import Reconciler
from standalone.directory import Directory
from standalone.nearguests import NearGuests
from standalone.node.heartbeat import Machine
from standalone.node.network.network import Network, Unconnected
from standalone.node.node import Node
from standalone.storage import volumes
from standalone.storage.keeper import Keeper
from standalone.storage.place import Place
from vm_runtime.agent import host
from vm_runtime.agent.agent import Agent
from vm_runtime.agent.host import Acceleration
from vm_runtime.agent.hostdisk import HostDisks
from vm_runtime.agent.launchers import Grants

GRACE: Final = 90.0
"""Seconds that pods get to end on Ctrl-C; a pod whose own grace is shorter ends sooner."""
AGAIN: Final = 10.0
"""Seconds until a server that did not hear of the agent is told again."""

_log = log.logger("crew")


class Crew:
    """The node and the agent of one machine, on one data directory; what it begins, the stack ends."""

    def __init__(self, directory: Directory, machine: Machine, place: Place, stack: ExitStack) -> None:
        """`place`: where volumes and images lie, and what of this machine pods and volumes may name."""
        self._directory = directory
        self._machine = machine
        self._stack = stack
        self._place = place
        self.node = Node(machine, directory.pods, self._place)
        stack.callback(self.node.close)
        self.figures = Figures()
        grants = Grants(HostDisks(place.allowed), self.node.connection)
        self.agent = Agent(machine.name, directory.pods, self._wake, grants)
        stack.callback(self.agent.close)
        self.guests = NearGuests(self.node, self.agent.doors)

    def work(self, client: Client, others: Sequence[Reconciler[Any]] = ()) -> None:
        """Begin to run pods, volumes and launchers of that server, and `others` beside them."""
        storage = volumes.reconcilers(self._machine.name, self._place, self._machine.duties)
        self._controllers = Controllers(
            client, [self.node.reconciler, *storage, *self.agent.reconcilers, *others], figures=self.figures
        )
        self.figures.registry.register(self.agent.figures(client))
        self._stack.callback(self._controllers.stop)
        self._controllers.start()
        self.figures.leading.set(1)
        if store := self._place.images():
            keeper = Keeper(store, client)
            self._stack.callback(keeper.close)
            keeper.start()

    @property
    def client(self) -> Client:
        """Reads from memory what is worked on."""
        return self._controllers.client

    def wait(self, seconds: float) -> bool:
        """Whether the server has listed everything that is worked on; waits for that so many seconds."""
        return self._controllers.wait(seconds)

    def report(self, client: Client) -> None:
        """Make the Node object, and find the pods that an earlier crew left. Raises ApiError."""
        self.node.start(client, lambda key: self._wake(POD, key))

    def offer_guests(self, client: Client, heard: Callable[[Acceleration], None]) -> None:
        """Probe KVM beside everything else, as it can take seconds; then have guests come. `heard`: what was found."""

        def offer() -> None:
            found = host.acceleration(self._directory.cache / "acceleration.json")
            heard(found)
            while not closed.is_set():
                try:
                    self.agent.start(client, found, self._machine.network.networking)
                except ApiError as error:
                    _log.warning("the node is not known to take guests yet", error=error)
                    closed.wait(AGAIN)
                else:
                    return

        closed = threading.Event()
        thread = threading.Thread(target=offer, name="acceleration", daemon=True)
        self._stack.callback(thread.join, host.PATIENCE * 2)
        self._stack.callback(closed.set)
        thread.start()

    def stop_pods(self) -> None:
        """End every pod's processes gracefully; their objects stay, so that the next crew starts what should run."""
        self._controllers.stop()
        self.node.stop_all(GRACE)
        self._place.release()

    def kill_pods(self) -> None:
        """Kill every pod's processes: their directory is gone."""
        self._controllers.stop()
        self.node.kill_all()
        self._place.release()

    def _wake(self, kind: Kind, key: Key) -> None:
        self._controllers.wake(kind, key)


def devices(network: Network | Unconnected) -> frozenset[str]:
    """The device resources of this machine."""
    kvm = {kubernetes.KVM_DEVICE} if host.DEVICE.exists() else set()
    tun = {kubernetes.TUN_DEVICE} if isinstance(network, Network) else set()
    return frozenset(kvm | tun)
