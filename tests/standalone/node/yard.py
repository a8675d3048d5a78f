"""A store, a node, its storage and their controllers: what a yard is without its wire."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from diskyard import IMAGE
from diskyard.api import meta
from diskyard.api.meta import EVENT, POD, SNAPSHOT_CLASS, STORAGE_CLASS, Key, Obj
from diskyard.errors import AlreadyExists, NotFound
from diskyard.kube.client import Selection
from diskyard.kube.controller import Controllers
from standalone.access.account import Accounts
from standalone.node.heartbeat import Machine
from standalone.node.log import LogOptions
from standalone.node.node import Node
from standalone.node.restart import Backoff
from standalone.storage import snapshot, volumes
from standalone.storage.place import Place
from standalone.storage.volume import storage_classes
from standalone.store.objects import Objects
from tests.builders import eventually, some

QUICK = Backoff(first=0.3, longest=1.0)


class Yard:
    """One machine, at work in a directory."""

    def __init__(
        self,
        path: Path,
        devices: frozenset[str] = frozenset(),
        allowed: tuple[Path, ...] = (),
        floor: int | None = None,
    ) -> None:
        self.path = path
        self.store_path = path / "store.db"
        self.store = Objects.open(path / "store.db")
        classes = [(STORAGE_CLASS, each) for each in storage_classes()]
        for kind, each in (*classes, *((SNAPSHOT_CLASS, each) for each in snapshot.classes())):
            with suppress(AlreadyExists):
                self.store.create(kind, each)
        self.accounts = Accounts(self.store, ec.generate_private_key(ec.SECP256R1()))
        self.store.answer("token", self.accounts.issue)
        (path / "volumes").mkdir(exist_ok=True)
        self.place = place = Place(path / "volumes", allowed, floor=floor)
        self.node = Node(Machine("here", devices), path / "pods", place, QUICK)
        self.controllers = Controllers(
            self.store, [self.node.reconciler, *volumes.reconcilers("here", place)]
        )
        self.controllers.start()
        self.controllers.wait(60)
        self.node.start(self.store, lambda key: self.controllers.wake(POD, key))

    def close(self) -> None:
        """Stop to work; processes go on."""
        self.controllers.stop()
        self.node.close()
        self.store.close()

    def end(self, grace: float) -> None:
        """Stop to work, and leave no process and no device."""
        self.controllers.stop()
        self.node.stop_all(grace)
        self.place.release()
        self.node.close()
        self.store.close()

    def run(self, pod: Obj) -> str:
        """Make the pod; its name."""
        return meta.name(self.store.create(POD, pod))

    def pod(self, name: str) -> Obj:
        """The pod as it stands."""
        return self.store.get(POD, Key(name, "default"))

    def gone(self, name: str) -> bool:
        """Whether there is no such pod."""
        try:
            self.pod(name)
        except NotFound:
            return True
        return False

    def container(self, name: str, index: int = 0) -> Obj:
        """A container's status; empty until there is one."""
        statuses: list[Obj] = meta.status(self.pod(name)).get("containerStatuses") or []
        return statuses[index] if len(statuses) > index else {}

    def state(self, name: str) -> Obj:
        """The first container's state."""
        state: Obj = self.container(name).get("state") or {}
        return state

    def until(self, name: str, phase: str) -> Obj:
        """The pod, once it is in that phase."""

        def reached() -> Obj | None:
            pod = self.pod(name)
            assert meta.phase(pod) == phase, meta.status(pod)
            return pod

        found = eventually(reached)
        assert found
        return found

    def until_waiting(self, name: str, reason: str) -> str:
        """The message, once the first container waits for that reason."""

        def reached() -> Obj | None:
            waiting: Obj = self.state(name).get("waiting") or {}
            assert waiting.get("reason") == reason, meta.status(self.pod(name))
            return waiting

        return str((eventually(reached) or {}).get("message"))

    def log(self, name: str, **options: Any) -> str:
        """What the container has said."""
        return b"".join(self.node.logs(self.pod(name), LogOptions(**options))).decode()

    def until_said(self, name: str, text: str) -> None:
        """Wait until the container has said that."""
        self.until(name, "Running")
        eventually(lambda: text in self.log(name))

    def told(self, about: str) -> dict[str, str]:
        """The events about an object: reason and message."""
        events = self.store.list(EVENT, Selection(namespace="default")).items
        return {e["reason"]: e["message"] for e in events if e["involvedObject"]["name"] == about}


@contextmanager
def opened(
    path: Path,
    grace: float = 0,
    devices: frozenset[str] = frozenset(),
    allowed: tuple[Path, ...] = (),
    floor: int | None = None,
) -> Iterator[Yard]:
    """A yard that leaves no process behind."""
    yard = Yard(path, devices, allowed, floor)
    try:
        yield yard
    finally:
        yard.end(grace)


def python(name: str, script: str, container: Obj | None = None, **spec: Any) -> Obj:
    """A pod that runs a Python script once; `container` and `spec` override fields."""
    return command(name, "python", "-c", script, container=container, **spec)


def shell(name: str, script: str, container: Obj | None = None, **spec: Any) -> Obj:
    """A pod that runs a shell script once; `container` and `spec` override fields."""
    return command(name, "sh", "-c", script, container=container, **spec)


def command(name: str, *words: str, container: Obj | None = None, **spec: Any) -> Obj:
    """A pod that runs a command once; `container` and `spec` override fields."""
    main = {"name": "main", "image": IMAGE, "command": list(words), **(container or {})}
    return some(POD, name, spec={"restartPolicy": "Never", "containers": [main], **spec})
