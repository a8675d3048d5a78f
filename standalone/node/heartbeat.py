"""This machine as a Node object: made at the start, and kept fresh while the yard runs."""

import os
import platform
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from diskyard import IMAGE, VERSION, linux
from diskyard.api import meta
from diskyard.api.meta import LEASE, NODE, Key, Obj
from diskyard.api.names import kubernetes, kubevirt
from diskyard.errors import AlreadyExists, NotFound
from diskyard.kube.client import Client
from diskyard.kube.pulse import Pulse
from standalone.colleagues import ALL, Duties
from standalone.node import schedule
from standalone.node.memory import Memory, memory
from standalone.node.network.network import Network, Unconnected
from standalone.node.schedule import HOST_ADDRESS

EVERY: Final = 40.0
"""Seconds between two signs of life."""
LEASE_EVERY: Final = 10.0
LEASE_LASTS: Final = 40
SELDOM_LASTS: Final = 160
"""Seconds, where nobody judges by the lease: it is renewed with every sign of life, for those who look at it."""
LEASES: Final = "kube-node-lease"
"""The namespace of nodes' leases."""
NO_NETWORK: Final = Unconnected(
    "`diskyard node` gives guests a network of their own with --guest-network CIDR"
)


@dataclass(frozen=True)
class Machine:
    """What a node has to offer."""

    name: str
    devices: frozenset[str] = frozenset()
    """Device resources that pods may ask for, such as devices.kubevirt.io/kvm. How many there are is said by who
    offers them (the agent of guests), as a device plugin does."""
    address: str = HOST_ADDRESS
    duties: Duties = ALL
    memory: Memory = field(default_factory=memory)
    """How limits hold."""
    network: Network | Unconnected = NO_NETWORK
    """Where pods can have an address of their own."""
    port: int = 0
    """Where the API server asks for logs; 0: it is in the same process."""

    def schedulable(self) -> schedule.Node:
        """What the scheduling of pods needs of it."""
        return schedule.Node(self.name, labels(self.name), self.devices, self.address)


class Heartbeat:
    """Makes the Node object, and says every 40 seconds that it is alive, until closed."""

    def __init__(self, client: Client, machine: Machine, pressed: Callable[[], bool]) -> None:
        self._client = client
        self._pressed = pressed
        self._machine = machine
        self._pulse = Pulse("heartbeat", EVERY, self._beat)
        self._lease = Pulse("lease", LEASE_EVERY, self._renew)

    def start(self) -> None:
        """Make the Node; go on in a thread. Raises ApiError."""
        obj = {
            "apiVersion": NODE.api_version,
            "kind": NODE.kind,
            "metadata": {"name": self._machine.name, "labels": labels(self._machine.name)},
            "spec": {},
        }
        with suppress(AlreadyExists):
            self._client.create(NODE, obj)
        self._pulse.start()
        if self._machine.port:
            self._lease.start()

    def close(self) -> None:
        """Say no more."""
        self._pulse.close()
        if self._machine.port:
            self._lease.close()

    def _beat(self) -> None:
        key = Key(self._machine.name)
        node, full = self._client.get(NODE, key), self._pressed()
        change = {"status": status(self._machine, node, datetime.now(UTC), full=full)}
        self._client.patch(NODE, key, change, "status")
        if not self._machine.port:
            self._renew()

    def _renew(self) -> None:
        """The sign by which a controller manager knows that a node lives."""
        key = Key(self._machine.name, LEASES)
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        lasts = LEASE_LASTS if self._machine.port else SELDOM_LASTS
        spec = {"holderIdentity": key.name, "leaseDurationSeconds": lasts, "renewTime": now}
        try:
            self._client.patch(LEASE, key, {"spec": spec})
        except NotFound:
            place = {"name": key.name, "namespace": key.namespace}
            with suppress(AlreadyExists, NotFound):  # no such namespace: nobody there looks for leases
                self._client.create(LEASE, {"metadata": place, "spec": spec})


def name() -> str:
    """How this machine is called, as a node's name."""
    return socket.gethostname().lower().rstrip(".") or "localhost"


def labels(node: str) -> dict[str, str]:
    """What pods may select this node by."""
    return {
        kubernetes.HOSTNAME_LABEL: node,
        kubernetes.OS_LABEL: "linux",
        kubernetes.ARCH_LABEL: linux.architecture(),
        kubevirt.SCHEDULABLE: "true",
    }


def status(machine: Machine, node: Obj, now: datetime, *, full: bool) -> Obj:
    """The node's status: capacity, addresses, whether it is ready, whether its disk is full."""
    has = capacity()
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "YardReady",
        "message": f"{_as_whom()}; {machine.memory}",
        "lastHeartbeatTime": meta.timestamp(now),
        "lastTransitionTime": (meta.condition(node, "Ready") or {}).get("lastTransitionTime")
        or meta.timestamp(now),
    }
    return {
        "capacity": has,
        "allocatable": has,
        "addresses": [
            {"type": "InternalIP", "address": machine.address},
            {"type": "Hostname", "address": machine.name},
        ],
        "conditions": [_pressure(node, now, full=full), ready],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": machine.port}},
        "images": [{"names": [IMAGE], "sizeBytes": 0}],
        "nodeInfo": {
            "architecture": linux.architecture(),
            "operatingSystem": "linux",
            "kernelVersion": platform.release(),
            "osImage": _os_image(),
            "kubeletVersion": f"v{VERSION}",
            "kubeProxyVersion": "",
            "containerRuntimeVersion": f"diskyard://{VERSION}",
            "machineID": "",
            "systemUUID": "",
            "bootID": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        },
    }


def _pressure(node: Obj, now: datetime, *, full: bool) -> Obj:
    """Whether new pods are kept away because the disk is full. What runs goes on, and nothing is taken away."""
    before = meta.condition(node, "DiskPressure") or {}
    state = "True" if full else "False"
    kept = before.get("lastTransitionTime") if before.get("status") == state else None
    return {
        "type": "DiskPressure",
        "status": state,
        "reason": "NodeHasDiskPressure" if full else "NodeHasNoDiskPressure",
        "message": "the disk is nearly full: no new pod begins until there is room; what runs goes on"
        if full
        else "there is room on the disk",
        "lastHeartbeatTime": meta.timestamp(now),
        "lastTransitionTime": kept or meta.timestamp(now),
    }


def capacity() -> dict[str, str]:
    """What this machine has, as a node says it."""
    return {
        "cpu": str(os.cpu_count() or 1),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') // 1024}Ki",
        "pods": "1000",
    }


def _as_whom() -> str:
    if os.geteuid() == 0:
        return "containers run in bubblewrap sandboxes, never as root, without capabilities"
    return "containers run in bubblewrap sandboxes, in user namespaces of the user who runs the yard; no block volumes"


def _os_image() -> str:
    with suppress(OSError):
        for line in Path("/etc/os-release").read_text().splitlines():
            if line.startswith("PRETTY_NAME="):
                return line.partition("=")[2].strip('"')
    return "Linux"
