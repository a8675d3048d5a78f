"""A store with the controllers at work on it; the test plays the node and the storage."""

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from datavolume_controller import reconcilers
from datavolume_controller.progress import Scraper, Target
from diskyard.api import meta
from diskyard.api.meta import CDI, CLAIM, DATA_VOLUME, EVENT, POD, STORAGE_CLASS, Key, Obj
from diskyard.api.names import cdi
from diskyard.errors import NotFound
from diskyard.kube.client import Client
from diskyard.kube.controller import Controllers
from standalone.store.objects import Objects
from tests import builders
from tests.builders import eventually

DEFAULT = {"metadata": {"annotations": {cdi.DEFAULT_CLASS: "true"}}}
GATED = {"spec": {"config": {"featureGates": [cdi.WAIT_GATE]}}}


@dataclass
class Node:
    """What a test does in place of a node, and what it looks at."""

    client: Client
    metrics: dict[str, str] = field(default_factory=dict)
    """Pod IP -> what its importer's metrics page says."""

    def fetch(self, target: Target) -> str:
        return self.metrics.get(target.address, "")

    def apply(self, dv: Obj) -> Obj:
        return self.client.create(DATA_VOLUME, dv)

    def dv(self, name: str = "disk") -> Obj:
        return self.client.get(DATA_VOLUME, Key(name, "default"))

    def claim(self, name: str = "disk") -> Obj:
        return eventually(lambda: self._find(CLAIM, name))

    def pod(self, name: str = "importer-disk") -> Obj:
        return eventually(lambda: self._find(POD, name))

    def gone(self, kind: meta.Kind, name: str) -> bool:
        return self._find(kind, name) is None

    def bind(self, name: str = "disk") -> None:
        self.claim(name)
        self.client.patch(CLAIM, Key(name, "default"), {"status": {"phase": "Bound"}}, "status")

    def report(self, state: Obj, phase: str = "Running", restarts: int = 0, **container: Any) -> None:
        """The node's word on the importer's pod."""
        self.pod()
        said = {"name": "importer", "state": state, "restartCount": restarts, "ready": True, **container}
        status = {"phase": phase, "podIP": "127.9.9.9", "containerStatuses": [said]}
        self.client.patch(POD, Key("importer-disk", "default"), {"status": status}, "status")

    def until(self, phase: str, name: str = "disk") -> Obj:
        def reached() -> Obj:
            dv = self.dv(name)
            assert meta.phase(dv) == phase, dv.get("status")
            return dv

        return eventually(reached)

    def told(self, about: str) -> set[str]:
        """`Reason: message` of every event about objects of that kind."""
        return {
            f"{each['reason']}: {each['message']}"
            for each in self.client.list(EVENT).items
            if each["involvedObject"]["kind"] == about
        }

    def _find(self, kind: meta.Kind, name: str) -> Obj | None:
        try:
            return self.client.get(kind, Key(name, "default"))
        except NotFound:
            return None


def ended(code: int, message: str, finished: str = "2026-11-21T12:00:00Z") -> Obj:
    """A container's state when its program has ended."""
    reason = "Error" if code else "Completed"
    return {"terminated": {"exitCode": code, "reason": reason, "message": message, "finishedAt": finished}}


RUNNING: Obj = {"running": {"startedAt": "2026-11-21T12:00:00Z"}}


def condition(obj: Obj, type_: str) -> tuple[str, str, str]:
    """(status, reason, message)."""
    found = meta.condition(obj, type_) or {}
    return found.get("status", ""), found.get("reason", ""), found.get("message", "")


def prepared(client: Client) -> None:
    """The classes and settings of a yard."""
    client.create(STORAGE_CLASS, builders.storage_class("local", **DEFAULT))
    client.create(STORAGE_CLASS, builders.storage_class("local-wait", "WaitForFirstConsumer"))
    client.create(CDI, builders.some(CDI, "cdi", **GATED))


@pytest.fixture
def swift_path() -> Iterator[Path]:
    """A folder in memory, for stores that are made by the dozen: what they hold need not survive."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Path(folder)


@pytest.fixture
def node(store: Objects) -> Iterator[Node]:
    prepared(store)
    node = Node(store)
    with Scraper(fetch=node.fetch) as scraper:
        controllers = Controllers(store, reconcilers(scraper))
        controllers.start()
        try:
            yield node
        finally:
            controllers.stop()
