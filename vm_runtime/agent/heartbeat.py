"""The agent's sign of life on its Node: guests may come, and how they can run here."""

from datetime import UTC, datetime
from typing import Final

from diskyard.api import meta
from diskyard.api.meta import NODE, Key
from diskyard.api.names import kubevirt
from diskyard.kube.client import Client
from diskyard.kube.pulse import Pulse
from vm_runtime.agent.host import Acceleration
from vm_runtime.agent.network import Networking
from vm_runtime.network import routes

EVERY: Final = 60.0
"""Seconds between two signs of life (KubeVirt's virt-handler takes one to two minutes)."""
MANY: Final = "1k"
"""How many guests may have KVM, or a network: as many as like to, it is not used up."""


class Heartbeat:
    """Says once a minute that the agent is there, until closed."""

    def __init__(self, client: Client, node: str, acceleration: Acceleration, networking: Networking) -> None:
        self._client = client
        self._node = Key(node)
        self._acceleration = acceleration
        self._networking = networking
        self._pulse = Pulse("agent-heartbeat", EVERY, self._beat)

    def start(self) -> None:
        """Say it now; go on in a thread. The Node is there already. Raises ApiError."""
        self._pulse.start()

    def close(self) -> None:
        """Say no more."""
        self._pulse.close()

    def _beat(self) -> None:
        offered = {
            kubevirt.KVM_RESOURCE: MANY if self._acceleration.kvm else "0",
            kubevirt.TUN_RESOURCE: MANY if self._networking.own else "0",
        }
        self._client.patch(
            NODE, self._node, {"status": {"capacity": offered, "allocatable": offered}}, "status"
        )
        metadata = {
            "labels": {kubevirt.SCHEDULABLE: "true"},
            "annotations": {
                kubevirt.ACCELERATION: self._acceleration.reason,
                kubevirt.NETWORKING: self._networking.reason,
                kubevirt.ROUTES: _routes(),
                kubevirt.HEARTBEAT: meta.timestamp(datetime.now(UTC)),
            },
        }
        self._client.patch(NODE, self._node, {"metadata": metadata})


def _routes() -> str:
    """Where this machine goes, which a guest's own network may hide."""
    try:
        return routes.text(routes.routes(routes.TABLE.read_text()))
    except OSError:
        return ""
