"""What the node does to the machine: each a value that can be carried out twice."""

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from diskyard.api import meta, quantity
from diskyard.api.meta import NODE, POD, Obj
from diskyard.api.names import kubernetes
from diskyard.api.names.cdi import TERMINATION_LOG as TERMINATION_PATH
from diskyard.errors import BadRequest, NotFound, Passing, Refused
from diskyard.kube.client import Client
from diskyard.kube.reconcile import Tell
from standalone.node import environment, etc, mount, sandbox, schedule
from standalone.node.identity import Identity, identity
from standalone.node.mount import Mounts
from standalone.node.prober import Subject
from standalone.node.process import TERMINATION_LOG, Order
from standalone.node.restart import Next
from standalone.node.runtime import Home, Runtime
from standalone.node.sandbox import Bind, Host, Sandbox
from standalone.node.volume import Volume

DEVICES: Final = {
    kubernetes.KVM_DEVICE: "/dev/kvm",
    kubernetes.TUN_DEVICE: "/dev/net/tun",
    kubernetes.VHOST_NET_DEVICE: "/dev/vhost-net",
}
DEFAULT_GRACE: Final = 30
BINDING: Final = "binding"


@dataclass(frozen=True)
class Assign:
    """Give a pod to this node."""

    pod: Obj
    node: str

    def carry_out(self, client: Client) -> None:
        """Give it; that it is gone is fine. Raises Conflict where another node has it."""
        said = {name: meta.meta(self.pod).get(name) for name in ("name", "namespace", "uid")}
        target = {"apiVersion": NODE.api_version, "kind": NODE.kind, "name": self.node}
        wish = {"apiVersion": "v1", "kind": "Binding", "metadata": said, "target": target}
        with suppress(NotFound):
            client.create(POD, wish, BINDING)


@dataclass(frozen=True)
class Settle:
    """Give a pod its directory and its address."""

    runtime: Runtime
    pod: Obj

    def carry_out(self, _: Client) -> None:
        """Make the directory; look at the pod again."""
        self.runtime.wake(self.runtime.settle(self.pod))


@dataclass(frozen=True)
class Stop:
    """Ask every process of a pod to end within so many seconds."""

    runtime: Runtime
    home: Home
    grace: float

    def carry_out(self, _: Client) -> None:
        """Ask them."""
        self.runtime.stop(self.home, self.grace)


@dataclass(frozen=True)
class Remove:
    """Take away what a pod that is gone has left; nothing of it runs any more."""

    runtime: Runtime
    home: Home

    def carry_out(self, _: Client) -> None:
        """Take it away; look at the name again."""
        self.runtime.remove(self.home)
        self.runtime.wake(self.home)


@dataclass(frozen=True)
class Start:
    """Begin a life of a container."""

    runtime: Runtime
    host: Host
    home: Home
    pod: Obj
    container: Obj
    next: Next
    volumes: tuple[Volume, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict, repr=False)

    def carry_out(self, client: Client) -> None:
        """Make its mounts ready and start it; what hinders becomes an event."""
        try:
            self._start(client)
        except (OSError, Refused, Passing, NotFound, BadRequest) as error:
            Tell(POD, self.pod, "Failed", f"Error: {error}", warning=True).carry_out(client)
            raise Passing(
                f"container {self.container['name']} of pod {self.home.key} does not start: {error}"
            ) from error

    def _start(self, client: Client) -> None:
        name, who = str(self.container["name"]), identity(self.pod, self.container)
        network = self._network()
        env = sandbox.environment(self.host) | dict(self.env)
        env.setdefault("HOSTNAME", self._hostname())
        cgroup = self._cgroup(name)
        box = Sandbox(
            command=environment.command(self.container, env),
            hostname=self._hostname(),
            binds=(*self._etc(who), *self._mounts(who, client), self._termination_log(who)),
            working_dir=str(self.container.get("workingDir") or "/"),
            identity=who,
            memory=self._limit() if cgroup is None else None,
        )
        grace = meta.spec(self.pod).get("terminationGracePeriodSeconds")
        order = Order(
            options=sandbox.options(box, self.host),
            program=sandbox.program(box, self.host),
            env=env,
            grace=DEFAULT_GRACE if grace is None else float(grace),
            backoff=self.next.backoff,
            cgroup=str(cgroup or ""),
            network=network,
        )
        self.runtime.start(self.home, name, self.next.number, order)

    def _network(self) -> str:
        """Of the pod, for the container that makes devices in it; all others use the host's."""
        connected = kubernetes.TUN_DEVICE in schedule.limits(self.container)
        return self.runtime.connect(self.home) if connected else ""

    def _hostname(self) -> str:
        return str(meta.spec(self.pod).get("hostname") or self.home.key.name)[:63].rstrip("-.")

    def _limit(self) -> int | None:
        limit = schedule.limits(self.container).get("memory")
        return quantity.parse(limit) if limit else None

    def _cgroup(self, name: str) -> Path | None:
        limit = self._limit()
        if limit is None:
            return None
        return self.runtime.memory.group(f"{self.home.uid}-{name}-{self.next.number}", limit)

    def _mounts(self, who: Identity, client: Client) -> list[Bind]:
        mounts = Mounts(self.pod, self.home, self.volumes, who)
        wanted = [DEVICES[name] for name in schedule.limits(self.container) if name in DEVICES]
        devices = [
            Bind(
                mounts.device_node(f"{self.container['name']}-{Path(path).name}", Path(path)),
                path,
                read_only=False,
                device=True,
            )
            for path in wanted
        ]
        return [*devices, *mounts.binds(self.container, client)]

    def _termination_log(self, who: Identity) -> Bind:
        life = self.runtime.life(self.home, str(self.container["name"]), self.next.number)
        life.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = life / TERMINATION_LOG
        file.touch(mode=0o600)
        if os.geteuid() == 0:
            os.chown(file, who.user, who.group)
        where = mount.place(self.container.get("terminationMessagePath") or TERMINATION_PATH)
        return Bind(file, where, read_only=False)

    def _etc(self, who: Identity) -> list[Bind]:
        folder = self.home.path / "etc" / str(self.container["name"])
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        known = Path("/etc/hosts")
        hosts = known.read_text() if known.exists() else "127.0.0.1 localhost\n"
        texts = etc.files(who, self._hostname(), self.home.address, hosts)
        for name, text in texts.items():
            (folder / name).write_text(text)
        return [Bind(folder / name, f"/etc/{name}") for name in texts]


@dataclass(frozen=True)
class Ask:
    """Ask a container's probes from now on."""

    runtime: Runtime
    subject: Subject

    def carry_out(self, _: Client) -> None:
        """Begin to ask; what is known at once is told at once."""
        self.runtime.prober.keep(self.subject)
        self.runtime.woken(meta.key(self.subject.pod))


@dataclass(frozen=True)
class Refresh:
    """Bring the files of volumes that follow objects up to date, under the containers that mount them."""

    home: Home
    pod: Obj
    volumes: tuple[Volume, ...]

    def carry_out(self, client: Client) -> None:
        """Write what has changed; what cannot be had now is tried again the next time."""
        mounts = Mounts(self.pod, self.home, self.volumes, identity(self.pod, {}))
        for volume in self.volumes:
            if volume.content is not None and volume.path.exists():
                with suppress(NotFound, OSError):
                    mounts.make(volume, client)
