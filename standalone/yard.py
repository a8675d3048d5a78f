"""The yard: server, controllers, node and agent in one process, sharing the store without HTTP.

What it starts outlives it. Whatever stops this process, the next yard on the directory finds objects and processes.
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Network
from pathlib import Path
from typing import Final

import datavolume_controller
from datavolume_controller import metrics
from datavolume_controller.progress import Scraper
from diskyard.api.meta import KUBEVIRT, SNAPSHOT_CLASS, STORAGE_CLASS, Key
from diskyard.api.names import kubevirt
from diskyard.web import server, tls
from standalone import uploads
from standalone.access.accounts import DefaultAccounts
from standalone.access.aggregates import Aggregates, provide
from standalone.access.door import Door
from standalone.access.roots import RootCertificates
from standalone.access.tokens import tokens, write_kubeconfig
from standalone.admission import Rules
from standalone.collect import Collector
from standalone.crew import Crew, devices
from standalone.directory import Directory, Hold
from standalone.endpoints import ServiceEndpoints
from standalone.node import heartbeat
from standalone.node.forward import Forwarder
from standalone.node.heartbeat import Machine
from standalone.node.network.network import Wish, opened
from standalone.node.services import Services
from standalone.reach import LOOPBACK, Published, Reach, publish
from standalone.seed import seed
from standalone.station import Station
from standalone.storage import snapshot
from standalone.storage.place import Place
from standalone.storage.volume import storage_classes
from standalone.store.objects import Objects
from standalone.wire import figures
from standalone.wire.routes import application
from vm_runtime import controller as vm_controller
from vm_runtime.agent.host import Acceleration

KUBERNETES: Final = Key("kubernetes", "default")
EMULATE: Final = {"spec": {"configuration": {"developerConfiguration": {"useEmulation": True}}}}

Say = Callable[[str], None]


@dataclass(frozen=True)
class Means:
    """What of the machine the yard may use."""

    allowed: tuple[Path, ...] = ()
    """Directories that pods and volumes may name."""
    subnet: IPv4Network | None = None
    """The addresses of guests; None: some that are free."""


NO_MEANS: Final = Means()


class Yard(Station):
    """A yard that runs, until closed. Closing leaves pods running."""

    def __init__(self, directory: Directory, stack: ExitStack, means: Means, say: Say) -> None:
        self.kubeconfig = directory.kubeconfig
        self.url = self.page = ""
        self._rules = Rules()
        self._directory = directory
        self._stack = stack
        network = opened(directory.path, Wish(directory.network, means.subnet), say)
        machine = Machine(heartbeat.name(), devices(network), network=network)
        place = Place(directory.volumes, means.allowed)
        self._crew = Crew(directory, machine, place, stack)

    @classmethod
    def open(cls, directory: Directory, reach: Reach, say: Say = print, means: Means = NO_MEANS) -> "Yard":
        """Start everything; `say` gets sentences for the user. Raises Busy, Refused, NoSpace."""
        with ExitStack() as stack:
            hold = Hold.take(directory)
            stack.callback(hold.close)
            rules = Rules()
            objects = stack.enter_context(Objects.open(directory.store, rules))
            yard = cls(directory, stack, means, say)
            yard._hold = hold
            yard._rules = rules
            provide(objects)
            classes = [(STORAGE_CLASS, each) for each in storage_classes()]
            first = seed(objects, [*classes, *((SNAPSHOT_CLASS, each) for each in snapshot.classes())])
            door = Door(objects, tokens(directory.pki))
            rules.serve(objects, door.policy)
            objects.answer("token", door.accounts.issue)
            yard._serve(objects, door, reach)
            yard._warn(reach, say)
            yard._work(objects)
            yard._offer_guests(objects, first, say)
            yard._stack = stack.pop_all()
            return yard

    def _serve(self, objects: Objects, door: Door, reach: Reach) -> None:
        pki, now = self._directory.pki, datetime.now(UTC)
        authority = tls.authority(pki, "diskyard", now)
        pair = tls.server(authority, pki, reach.names, now)
        app = application(objects, self._crew.node.logs, door, self._crew.guests)
        figures.serve(app, self._crew.figures)
        place = server.Place(LOOPBACK, reach.port, tls.context(pair), reach.further)
        running = server.start(app, place)
        self._stack.callback(running.stop)
        self.url = running.url
        write_kubeconfig(self.kubeconfig, running.url, authority.certificate, door.admin)
        for address in reach.further:
            path, url = self._directory.kubeconfig_at(address), running.at(address)
            write_kubeconfig(path, url, authority.certificate, door.admin)
        publish(objects, Published(KUBERNETES, running.port), reach)
        proxy, self.page = uploads.start(objects, pki, authority, reach, self._crew.guests)
        self._stack.callback(proxy.stop)

    def _warn(self, reach: Reach, say: Say) -> None:
        """Say who can now do what."""
        for address in reach.further:
            path = self._directory.kubeconfig_at(address)
            say(
                f"listening on {address} too. Whoever has {path} is the administrator of this yard, from any machine "
                "that reaches that address: reads every disk and Secret, starts guests and processes on this machine. "
                "Whoever has no token learns the version, nothing else. For less: kubectl create token, and a role"
            )

    def _work(self, objects: Objects) -> None:
        scraper = self._stack.enter_context(Scraper())
        forwarder = Forwarder()
        self._stack.callback(forwarder.close)
        collector = Collector(objects)
        self._stack.callback(collector.close)
        collector.start()
        others = [
            Services(forwarder),
            *datavolume_controller.reconcilers(scraper, lambda _: self._rules.may),
            *vm_controller.reconcilers(),
            Aggregates(),
            DefaultAccounts(),
            ServiceEndpoints(),
            RootCertificates((self._directory.pki / "ca.crt").read_text()),
        ]
        self._crew.work(objects, others)
        self._crew.figures.registry.register(metrics.Objects(self._crew.client))
        self._crew.report(objects)

    def _offer_guests(self, objects: Objects, first: bool, say: Say) -> None:
        """Have guests come. The first yard here allows what its host needs."""

        def heard(found: Acceleration) -> None:
            if first and not found.kvm:
                objects.patch(KUBEVIRT, Key(kubevirt.CR_NAME, kubevirt.NAMESPACE), EMULATE)
                say(f"KVM does not run guests here ({found.reason}): they run under software emulation")

        self._crew.offer_guests(objects, heard)
