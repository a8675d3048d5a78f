"""The agent of one node, put together: what a yard or a cluster's daemon starts."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from prometheus_client.registry import Collector

from diskyard.api import meta
from diskyard.api.meta import POD, Key, Kind
from diskyard.api.names import kubevirt
from diskyard.kube.client import Client, Selection
from diskyard.kube.reconcile import Reconciler
from vm_runtime.agent.doors import Doors
from vm_runtime.agent.figures import Figures, Guest
from vm_runtime.agent.heartbeat import Heartbeat
from vm_runtime.agent.host import Acceleration
from vm_runtime.agent.launchers import NO_GRANTS, Grants, Launchers
from vm_runtime.agent.network import USER_MODE, Networking
from vm_runtime.agent.observer import Observer

_LAUNCHERS: Final = Selection(labels=f"{kubevirt.APP_LABEL}={kubevirt.LAUNCHER}")


class Agent:
    """Its reconcilers are run by whoever made it; `wake` is called when a launcher has said something."""

    def __init__(
        self, node: str, pods: Path, wake: Callable[[Kind, Key], None], grants: Grants = NO_GRANTS
    ) -> None:
        self._node = node
        self._observer = Observer(lambda key: wake(POD, key))
        self._heartbeat: Heartbeat | None = None
        self.doors = Doors(pods)
        self.reconcilers: tuple[Reconciler[Any], ...] = (Launchers(node, pods, self._observer, grants),)

    def figures(self, client: Client) -> Collector:
        """What the guests of this node use, for Prometheus."""

        def guests() -> Iterator[Guest]:
            for pod in client.list(POD, _LAUNCHERS).items:
                if meta.spec(pod).get("nodeName") == self._node and meta.phase(pod) == "Running":
                    owner = str((meta.controller_of(pod) or {}).get("name", ""))
                    yield Guest(self._node, meta.namespace(pod), owner, meta.uid(pod))

        return Figures(guests, lambda pod: self.doors.order(pod, "figures") or {})

    def start(self, client: Client, acceleration: Acceleration, networking: Networking = USER_MODE) -> None:
        """Say on the Node that guests may come, once a minute; the Node is there. Raises ApiError."""
        self._heartbeat = Heartbeat(client, self._node, acceleration, networking)
        self._heartbeat.start()

    def close(self) -> None:
        """Say and hear no more; the launchers go on."""
        if self._heartbeat:
            self._heartbeat.close()
        self._observer.close()
