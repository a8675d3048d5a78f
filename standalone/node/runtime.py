"""Pods on this machine: a directory each, as the kubelet lays it out, and the processes in it.

pods/<uid>/pod.json                                    whose it is, and its address
pods/<uid>/etc/                                        its /etc/hosts, passwd ...
pods/<uid>/volumes/kubernetes.io~empty-dir/<volume>/
pods/<uid>/containers/<name>/<number>/                 one life of a container: see process.py
"""

import hashlib
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final

from diskyard.api import meta
from diskyard.api.meta import Key, Obj
from diskyard.errors import Passing
from standalone.node import process, schedule
from standalone.node.exits import Exits
from standalone.node.memory import UNLIMITED, Memory
from standalone.node.network.network import Network
from standalone.node.prober import Prober
from standalone.node.process import Life, Order
from vm_runtime.network.plan import Connection

FIRST_ADDRESS: Final = int(IPv4Address("127.64.0.0"))
ADDRESSES: Final = 1 << 22
"""127.64.0.0/10: one for each pod; servers in pods never meet on a port."""
KEPT_LIVES: Final = 2
"""The present one and the one before: what `kubectl logs --previous` can show."""


DOOMED: Final = ".deleting"


@dataclass(frozen=True)
class Home:
    """A pod's directory, and what is fixed about the pod."""

    path: Path
    key: Key
    uid: str
    address: str
    connected: bool = False
    """It has a network namespace of its own, and its address is there."""


class Runtime:
    """The pods' directories and processes of one node. Safe to use from several threads."""

    def __init__(self, directory: Path, memory: Memory = UNLIMITED, network: Network | None = None) -> None:
        self.memory = memory
        self._network = network
        self.prober = Prober()
        self._directory = directory
        self._lock = threading.Lock()
        self._homes = {home.uid: home for home in _homes(directory)}
        self._exits = Exits()
        self._ended: Callable[[Key], None] = lambda _: None
        self._closing = threading.Event()

    def begin(self, ended: Callable[[Key], None]) -> None:
        """Call `ended` for every pod there is, and from then on whenever a process of one ends."""
        self._ended = ended
        if self._network:
            self._network.sweep(home.uid for home in self.homes() if home.connected)
        for home in self.homes():
            for life in home.path.glob("containers/*/*"):
                process.bury(life)
                process.repeat_stop(life)
            self.watch(home)
            ended(home.key)

    def homes(self) -> tuple[Home, ...]:
        """Every pod that has a directory."""
        with self._lock:
            return tuple(self._homes.values())

    def home(self, uid: str) -> Home | None:
        """That pod's directory, if it has one."""
        with self._lock:
            return self._homes.get(uid)

    def settle(self, pod: Obj) -> Home:
        """That pod's directory, made where needed, with an address that no other pod has."""
        uid = meta.uid(pod)
        with self._lock:
            if uid in self._homes:
                return self._homes[uid]
            connected = self._network is not None and schedule.is_connected(pod)
            address = self._free_address(uid, connected=connected)
            home = Home(self._directory / uid, meta.key(pod), uid, address, connected)
            home.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            said = {
                "name": home.key.name,
                "namespace": home.key.namespace,
                "address": home.address,
                "connected": home.connected,
            }
            part = home.path / "pod.part"
            part.write_text(json.dumps(said))
            part.rename(home.path / "pod.json")
            self._homes[uid] = home
            return home

    def connect(self, home: Home) -> str:
        """The network namespace of a pod that has its own, made where needed; empty: the host's. Raises Passing."""
        if not home.connected:
            return ""
        if self._network is None:
            raise Passing(f"pod {home.key} has an address of a network that this node cannot make any more")
        return self._network.connect(home.uid, home.address)

    def connection(self, uid: str) -> Connection | None:
        """The network of a pod that has its own."""
        home = self.home(uid)
        if home is None or not home.connected or self._network is None:
            return None
        return self._network.connection(uid, home.address)

    def lives(self, home: Home, container: str, from_logs: bool = False) -> tuple[Life, ...]:
        """A container's lives, oldest first: the last two. `from_logs`: see process.observe."""
        folder = home.path / "containers" / container
        found = (
            process.observe(folder / str(number), from_logs) for number in _numbers(folder)[-KEPT_LIVES:]
        )
        return tuple(life for life in found if life)

    def life(self, home: Home, container: str, number: int) -> Path:
        """The directory of one life."""
        return home.path / "containers" / container / str(number)

    def start(self, home: Home, container: str, number: int, order: Order) -> None:
        """Begin a life of a container, unless the node is closing."""
        if self._closing.is_set():
            return
        life = self.life(home, container, number)
        keeper = process.start(life, order)
        self._exits.adopt(life, keeper, lambda: self._ended(home.key))
        for old in _numbers(home.path / "containers" / container)[:-KEPT_LIVES]:
            shutil.rmtree(self.life(home, container, old), ignore_errors=True)
        self._ended(home.key)

    def stop(self, home: Home, grace: float) -> None:
        """Ask every process of a pod to end within `grace` seconds."""
        for directory in self._running(home):
            process.stop(directory, grace)
        self.watch(home)

    def running(self, home: Home) -> bool:
        """Whether a process of that pod is there."""
        return any(True for _ in self._running(home))

    def wake(self, home: Home) -> None:
        """Have that pod looked at."""
        self._ended(home.key)

    def woken(self, key: Key) -> None:
        """Have the pod of that name looked at."""
        self._ended(key)

    def watch(self, home: Home) -> None:
        """See to it that the end of its processes is told."""
        for directory in self._running(home):
            self._exits.watch(directory, lambda: self._ended(home.key))

    def remove(self, home: Home) -> None:
        """Take away a pod's directory."""
        doomed = home.path.with_suffix(DOOMED)
        shutil.rmtree(doomed, ignore_errors=True)
        with suppress(FileNotFoundError):
            home.path.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)
        self.memory.clean(home.uid)
        self._disconnect(home)
        with self._lock:
            self._homes.pop(home.uid, None)

    def stop_all(self, grace: float) -> None:
        """Start nothing more; end every process: asked first, killed after its own grace, at most `grace` seconds."""
        self._closing.set()
        homes = self.homes()
        for life in (life for home in homes for life in self._running(home)):
            process.stop(life, min(grace, process.own_grace(life)))
        deadline = time.monotonic() + grace + 10
        while any(self.running(home) for home in homes) and time.monotonic() < deadline:
            time.sleep(0.02)
        for home in homes:
            self._disconnect(home)

    def kill_all(self) -> None:
        """Start nothing more; kill every process, without a look at directories that may be gone."""
        self._closing.set()
        deadline = time.monotonic() + process.DEATH_LIMIT
        while self._exits.kill() and time.monotonic() < deadline:
            time.sleep(0.02)
        for home in self.homes():
            self.memory.clean(home.uid)
            self._disconnect(home)

    def close(self) -> None:
        """Let go of everything; processes go on."""
        self._closing.set()
        self.prober.close()
        self._exits.close()
        if self._network:
            self._network.close()

    def _disconnect(self, home: Home) -> None:
        if home.connected and self._network:
            with suppress(Passing):  # the next yard sweeps it away
                self._network.disconnect(home.uid)

    def _running(self, home: Home) -> Iterator[Path]:
        for folder in (home.path / "containers").glob("*"):
            for number in _numbers(folder)[-KEPT_LIVES:]:
                if process.holder(folder / str(number)):
                    yield folder / str(number)

    def _free_address(self, uid: str, *, connected: bool) -> str:
        taken = {home.address for home in self._homes.values()}
        if connected and self._network:
            return self._network.plan.address(uid, taken)
        number = int.from_bytes(hashlib.sha256(uid.encode()).digest()[:4], "big")
        while True:
            address = str(IPv4Address(FIRST_ADDRESS + number % ADDRESSES))
            if address not in taken and not address.endswith((".0", ".255")):
                return address
            number += 1


def _homes(directory: Path) -> Iterator[Home]:
    directory.mkdir(mode=0o711, parents=True, exist_ok=True)
    for path in directory.iterdir():
        if path.suffix == DOOMED:
            shutil.rmtree(path, ignore_errors=True)
            continue
        try:
            said = json.loads((path / "pod.json").read_bytes())
        except FileNotFoundError:  # a crash came first: nothing was ever started in it
            shutil.rmtree(path, ignore_errors=True)
            continue
        key, connected = Key(said["name"], said["namespace"]), bool(said.get("connected"))
        yield Home(path, key, path.name, said["address"], connected)


def _numbers(folder: Path) -> list[int]:
    return sorted(int(path.name) for path in folder.glob("*") if path.name.isdigit())
