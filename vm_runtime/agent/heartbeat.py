"""The agent's sign of life on its Node: guests may come, and how they can run here."""

import threading
from datetime import UTC, datetime
from typing import Final

from diskyard import log
from diskyard.api import meta
from diskyard.api.meta import NODE, Key
from diskyard.api.names import kubevirt
from diskyard.errors import ApiError
from diskyard.kube.client import Client
from vm_runtime.agent.host import Acceleration

EVERY: Final = 60.0
"""Seconds between two signs of life (KubeVirt's virt-handler takes one to two minutes)."""
MANY: Final = "1k"
"""How many guests may have KVM: as many as like to, it is not used up."""

_log = log.logger("agent")


class Heartbeat:
    """Says once a minute that the agent is there, until closed."""

    def __init__(self, client: Client, node: str, acceleration: Acceleration) -> None:
        self._client = client
        self._node = Key(node)
        self._acceleration = acceleration
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="agent-heartbeat", daemon=True)

    def start(self) -> None:
        """Say it now; go on in a thread. The Node is there already. Raises ApiError."""
        self._beat()
        self._thread.start()

    def close(self) -> None:
        """Say no more."""
        self._closed.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while not self._closed.wait(EVERY):
            try:
                self._beat()
            except ApiError as error:
                _log.warning("could not say that guests may come", error=error)

    def _beat(self) -> None:
        offered = {kubevirt.KVM_RESOURCE: MANY if self._acceleration.kvm else "0"}
        self._client.patch(
            NODE, self._node, {"status": {"capacity": offered, "allocatable": offered}}, "status"
        )
        metadata = {
            "labels": {kubevirt.SCHEDULABLE: "true"},
            "annotations": {
                kubevirt.ACCELERATION: self._acceleration.reason,
                kubevirt.HEARTBEAT: meta.timestamp(datetime.now(UTC)),
            },
        }
        self._client.patch(NODE, self._node, {"metadata": metadata})
