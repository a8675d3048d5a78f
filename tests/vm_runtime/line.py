"""The line from a machine to its guest, with real parts and no network: store, node, agent, controllers."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from diskyard.api import meta
from diskyard.api.meta import CLAIM, EVENT, INSTANCE, KUBEVIRT, MACHINE, POD, STORAGE_CLASS, Key, Kind, Obj
from diskyard.api.names import derived, kubevirt
from diskyard.errors import BadRequest, NotFound
from diskyard.kube.client import Selection
from diskyard.kube.controller import Controllers
from standalone.admission import Rules
from standalone.collect import Collector
from standalone.node.heartbeat import Machine
from standalone.node.log import LogOptions
from standalone.node.node import Node
from standalone.seed import seed
from standalone.storage import volumes
from standalone.storage.place import Place
from standalone.storage.volume import storage_classes
from standalone.store.objects import Objects
from tests import builders
from tests.builders import eventually
from vm_runtime.agent.agent import Agent
from vm_runtime.agent.doors import Doors
from vm_runtime.agent.host import Acceleration
from vm_runtime.agent.hostdisk import HostDisks
from vm_runtime.agent.launchers import Grants
from vm_runtime.controller import reconcilers

NODE_NAME = "node"
SETTINGS = Key(kubevirt.CR_NAME, kubevirt.NAMESPACE)


@dataclass
class Line:
    """A running line: what a test asks and does."""

    objects: Objects
    node: Node
    volumes: Path
    host: Path
    """What pods and guests may use of the machine."""
    doors: Doors

    def emulate(self, allowed: bool) -> None:
        """Say whether guests may be emulated."""
        change = {"spec": {"configuration": {"developerConfiguration": {"useEmulation": allowed}}}}
        self.objects.patch(KUBEVIRT, SETTINGS, change)

    def claim(self, name: str, disk: bytes, **spec: object) -> None:
        """A bound claim that holds that disk."""
        self.objects.create(CLAIM, builders.claim(name, "8Mi", **spec))
        bound = eventually(lambda: self.found(CLAIM, name, "Bound"))
        path = self.volumes / bound["spec"]["volumeName"] / "disk.img"
        path.write_bytes(disk)
        path.chmod(0o666)

    def start(self, name: str, **spec: object) -> None:
        """An instance of that name with the claim `disk`, ten seconds to shut down, and little memory."""
        wanted = builders.instance(name, **spec)
        wanted["spec"].setdefault("terminationGracePeriodSeconds", 10)
        wanted["spec"]["domain"]["resources"] = {"requests": {"memory": "32Mi"}}
        self.objects.create(INSTANCE, wanted)

    def found(self, kind: Kind, name: str, phase: str = "") -> Obj:
        """The object, once it is in that phase (any, when none is said); fails until then."""
        try:
            obj = self.objects.get(kind, Key(name, "default"))
        except NotFound:
            obj = {}
        assert obj, f"no {kind} {name}"
        assert phase in ("", meta.phase(obj)), f"{kind} {name} is {meta.phase(obj)}: {meta.status(obj)}"
        return obj

    def reaches(self, name: str, phase: str) -> Obj:
        """The instance, as soon as it is in that phase."""
        return eventually(lambda: self.found(INSTANCE, name, phase), 120)

    def speaks(self, name: str, words: str) -> Obj:
        """The instance, as soon as it runs and has said that on its serial port."""

        def check() -> Obj:
            obj = self.found(INSTANCE, name, "Running")
            assert words in self.console(obj), self.console(obj)
            return obj

        return eventually(check, 120)

    def becomes(self, name: str, word: str) -> Obj:
        """The machine, as soon as its printableStatus is that word."""

        def check() -> Obj:
            obj = self.found(MACHINE, name)
            assert meta.status(obj).get("printableStatus") == word, meta.status(obj)
            return obj

        return eventually(check, 120)

    def pod(self, instance: Obj) -> Obj:
        """The launcher's pod of an instance."""
        return self.found(POD, derived.launcher_pod(meta.name(instance), meta.uid(instance)))

    def console(self, instance: Obj) -> str:
        """What the launcher's pod has logged; nothing while it waits to start."""
        try:
            return b"".join(self.node.logs(self.pod(instance), LogOptions())).decode()
        except BadRequest:
            return ""

    def told(self, name: str) -> list[str]:
        """The warnings about the instance: reason, colon, message."""
        events = self.objects.list(EVENT, Selection("default")).items
        mine = (each for each in events if (each["involvedObject"]["kind"], each["involvedObject"]["name"]) == (
            INSTANCE.kind, name))  # fmt: skip
        return [f"{each['reason']}: {each['message']}" for each in mine if each["type"] == "Warning"]

    def gone(self, kind: Kind, name: str) -> bool:
        """Whether there is no such object any more."""
        try:
            self.objects.get(kind, Key(name, "default"))
        except NotFound:
            return True
        return False


@contextmanager
def line(directory: Path, acceleration: Acceleration) -> Iterator[Line]:
    """A line with emulation allowed, on a node whose probe has found that; every process ends with it."""
    pods, disks, host = directory / "yard/pods", directory / "yard/volumes", directory / "host"
    for each in (pods, disks, host):
        each.mkdir(parents=True)
    with ExitStack() as stack:
        rules = Rules()
        objects = stack.enter_context(Objects.open(directory / "store.db", rules))
        seed(objects, [(STORAGE_CLASS, each) for each in storage_classes()])
        rules.serve(objects)
        machine, place = Machine(NODE_NAME), Place(disks, (host,))
        node = Node(machine, pods, place)
        stack.callback(node.close)

        def wake(kind: Kind, key: Key) -> None:
            controllers.wake(kind, key)

        agent = Agent(NODE_NAME, pods, wake, Grants(HostDisks((host,))))
        stack.callback(agent.close)
        collector = Collector(objects)
        stack.callback(collector.close)
        work = [node.reconciler, *volumes.reconcilers(NODE_NAME, place), *reconcilers(), *agent.reconcilers]
        controllers = Controllers(objects, work)
        stack.callback(place.release)
        stack.callback(node.stop_all, 0)
        stack.callback(controllers.stop)
        collector.start()
        controllers.start()
        node.start(objects, lambda key: wake(POD, key))
        agent.start(objects, acceleration)
        started = Line(objects, node, disks, host, agent.doors)
        started.emulate(True)
        yield started
