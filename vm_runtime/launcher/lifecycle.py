"""One life of a guest: its instance arrives, its libvirt starts, its disks are there, it runs, it ends."""

import json
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from typing import BinaryIO, Final

from diskyard import ending, log
from diskyard.api import instance as instances
from diskyard.api import meta
from diskyard.api.hotplug import fixed
from diskyard.api.instance import Instance
from diskyard.api.job import LaunchJob, Report, TerminationMessage
from diskyard.api.names import derived, kubevirt
from diskyard.errors import GuestFailed, InvalidRequest
from vm_runtime.domain.guest import Host, domain
from vm_runtime.launcher import firmware, hugepages
from vm_runtime.launcher.awaited import Awaited
from vm_runtime.launcher.backings import backings
from vm_runtime.launcher.console import Console, unheard
from vm_runtime.launcher.control import Control
from vm_runtime.launcher.daemon import Daemon
from vm_runtime.launcher.dhcp import DhcpServer
from vm_runtime.launcher.growth import Growth
from vm_runtime.launcher.hypervisor import OFF, RUNNING, AgentTurn, Hypervisor, Removed, Silent, Turn
from vm_runtime.launcher.insider import Insider
from vm_runtime.launcher.pauses import Pauses
from vm_runtime.launcher.place import Place
from vm_runtime.launcher.plugs import Plugs
from vm_runtime.network.plan import Lease

_log = log.logger("launcher")

ASK_AGAIN: Final = 2.0
"""Seconds between two requests to the guest to power off: an early one finds nobody listening."""
GLANCE: Final = 0.05
"""Seconds between two looks for the instance's file."""
INSTANCE_LIMIT: Final = 4 << 20
DAEMON_LIVES: Final = 3
"""How often libvirt's daemon may end within an hour."""
HOUR: Final = 3600.0
LAST_WORDS: Final = 2.0
DESTRUCTION: Final = 10.0
"""Seconds that the emulator gets to go away."""


@dataclass(frozen=True)
class Stop:
    """Someone asked for the guest's end."""


@dataclass(frozen=True)
class DaemonEnded:
    """libvirt's daemon is gone; the emulator may still run."""


Happening = Turn | AgentTurn | Removed | Silent | Stop | DaemonEnded


@dataclass
class Ending:
    """A guest on its way down."""

    deadline: float
    ask_at: float = 0.0
    destroyed: bool = False


@dataclass
class Launcher:
    """Runs one guest from its instance's arrival to its end."""

    job: LaunchJob
    place: Place
    out: BinaryIO
    """Where the guest's serial port is heard."""
    _happenings: SimpleQueue[Happening] = field(default_factory=SimpleQueue)
    _ending: Ending | None = None
    _awaited: Awaited | None = None
    _last_grace: int = instances.DEFAULT_GRACE
    _ends: list[float] = field(default_factory=list)
    """When libvirt's daemon ended, lately."""
    _ran: bool = False
    """It begins halted, which is no pause that anyone asked for."""

    def stop(self, *_: object) -> None:
        """Ask for the guest's end; safe in a signal handler."""
        self._happenings.put(Stop())

    def run(self) -> TerminationMessage:
        """How the guest ended; `reason` is empty when it ended well. Raises DiskyardError when it never ran."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.stop)
        with ExitStack() as stack:
            control = stack.enter_context(Control(self.place.private / kubevirt.CONTROL_SOCKET, self.stop))
            daemon = stack.enter_context(
                Daemon(self.place.private / "libvirt", lambda: self._happenings.put(DaemonEnded()))
            )
            instance = self._arrival()
            if instance is None:
                return TerminationMessage("asked to stop before the guest was started")
            self._last_grace = instance.grace
            hypervisor = stack.enter_context(Hypervisor(daemon.uri, self._happenings.put))
            lease = self._lease()
            if lease:
                stack.enter_context(DhcpServer(lease))
            if self.job.awaits:
                self._awaited = Awaited(self.job.awaits, control.tell_console)
            control.tell_boots(firmware.checksums(firmware.kernel(instance, self.place)))
            host = self._host(fixed(instance), daemon, lease)
            console = self._start(fixed(instance), host, daemon, hypervisor)
            if instance.begins_paused:
                self._ran = True
                control.publish(_report("Paused", "PausedByUser"))
            growth = Growth(self.place, hypervisor, self._instance, control.tell_sizes)
            plugs = Plugs(self.place.private, hypervisor, self._instance, control.tell_plugs, growth.look)
            pauses = Pauses(hypervisor)
            control.take({
                "attach": plugs.attach,
                "detach": plugs.detach,
                "grow": growth.grow,
                "pause": pauses.pause,
                "unpause": pauses.unpause,
                "softreboot": hypervisor.reboot,
                "reset": hypervisor.reset,
                "domain": hypervisor.xml,
                "figures": hypervisor.figures,
                **_inside(Insider(hypervisor)),
            })  # fmt: skip
            growth.begin({name: each.small for name, each in host.backings.items() if each.small})
            end = self._follow(control, daemon, hypervisor, plugs)
            if console:
                console.drain(LAST_WORDS)
            heard = self._awaited
            return replace(end, said=heard.said, tail=heard.tail) if heard else end

    def _arrival(self) -> Instance | None:
        """The instance, once its file is complete; None: asked to stop meanwhile."""
        while (instance := self._instance()) is None:
            try:
                happening = self._happenings.get(timeout=GLANCE)
            except Empty:
                continue
            if isinstance(happening, Stop):
                return None
            raise GuestFailed("libvirt's daemon ended before the guest was started: see the lines above")
        return instance

    def _instance(self) -> Instance | None:
        try:
            with (self.place.private / kubevirt.INSTANCE_FILE).open("rb") as file:
                obj = json.loads(file.read(INSTANCE_LIMIT))
        except FileNotFoundError:
            return None
        except ValueError as failure:
            raise InvalidRequest(f"{kubevirt.INSTANCE_FILE} is not JSON: {failure}") from failure
        if meta.uid(obj) != self.job.uid:
            return None
        if obj.get(kubevirt.PROBLEM):
            raise InvalidRequest(str(obj[kubevirt.PROBLEM]))
        instance = instances.instance(obj)
        known = all(volume.name in instance.claims for volume in fixed(instance).claim_volumes)
        return instance if known else None

    def _lease(self) -> Lease | None:
        """What the agent says of the pod's network; it does before it hands over the instance."""
        try:
            return Lease.from_text((self.place.private / kubevirt.NETWORK_FILE).read_bytes())
        except FileNotFoundError:
            return None

    def _host(self, instance: Instance, daemon: Daemon, lease: Lease | None) -> Host:
        """All that the guest stands on, found or made. Raises InvalidRequest, NoSpace."""
        hugepages.check(instance)
        uefi = firmware.uefi(instance, self.place)
        firmware.tpm(instance, self.place, daemon.tpms)
        behind = backings(instance, self.place)
        kernel = firmware.kernel(instance, self.place)
        private = str(self.place.private)
        return Host(self.job.accelerated, private, behind, uefi, kernel, lease.mtu if lease else 0)

    def _start(
        self, instance: Instance, host: Host, daemon: Daemon, hypervisor: Hypervisor
    ) -> Console | None:
        """The guest runs on return, unless it begins halted; its serial port is read from its first instruction on."""
        private, xml = self.place.private, domain(instance, host)
        daemon.wait()
        hypervisor.connect()
        hypervisor.start(xml)
        _log.info("domain defined", domain=derived.domain(instance.namespace, instance.name))
        _log.debug(hypervisor.xml())
        console = None
        if instance.attached("autoattachSerialConsole"):
            port, shared = private / kubevirt.SERIAL_SOCKET, private / kubevirt.CONSOLE_SOCKET
            said = self.out if instance.attached("logSerialConsole") else None
            console = Console(port, shared, said, self._awaited.hear if self._awaited else unheard)
        if not instance.begins_paused:
            hypervisor.resume()
        return console

    def _follow(
        self, control: Control, daemon: Daemon, hypervisor: Hypervisor, plugs: Plugs
    ) -> TerminationMessage:
        while True:
            match self._next():
                case Turn(state="Off") as turn:
                    end = self._end(turn.reason)
                    control.publish(_report(OFF, turn.reason, end.message))
                    return end
                case Turn(state=state, reason=reason) if self._ran or state == RUNNING:
                    self._ran = True
                    _log.info("the guest's state", state=state, **({"reason": reason} if reason else {}))
                    control.publish(_report("ShuttingDown" if self._ending else state, reason))
                case AgentTurn(connected=connected):
                    control.tell_agent(connected=connected)
                case Removed(alias=alias):
                    plugs.removed(alias)
                case Stop() if self._ending is None:
                    self._ending = Ending(time.monotonic() + self._grace())
                    control.publish(_report("ShuttingDown"))
                case Silent():
                    _log.warning("libvirt's daemon does not answer: it is killed")
                    self._ends.clear()  # it is slow, or stands still, and no fault of the guest's
                    daemon.kill()
                case DaemonEnded():
                    self._happenings.put(self._recovered(daemon, hypervisor))
                    plugs.recount()
                case _:
                    pass
            if self._ending:
                self._press(self._ending, hypervisor)

    def _next(self) -> Happening | None:
        """What happened next; None: nothing did, time to press on with an ending."""
        try:
            return self._happenings.get(timeout=self._pause())
        except Empty:
            return None

    def _pause(self) -> float:
        if self._ending is None:
            return ending.LOOK
        due = (
            self._ending.deadline
            if self._ending.destroyed
            else min(self._ending.deadline, self._ending.ask_at)
        )
        return max(0.01, due - time.monotonic())

    def _press(self, ending: Ending, hypervisor: Hypervisor) -> None:
        """Ask the guest to power off, again and again; after its time, take the power away."""
        now = time.monotonic()
        if now >= ending.deadline:
            if ending.destroyed:
                raise GuestFailed("the emulator did not go away when it was destroyed")
            _log.info("the guest's time to shut down is over: its power is taken away")
            ending.destroyed, ending.deadline = True, now + DESTRUCTION
            hypervisor.destroy()
        elif now >= ending.ask_at and not ending.destroyed:
            ending.ask_at = now + ASK_AGAIN
            hypervisor.shutdown()

    def _recovered(self, daemon: Daemon, hypervisor: Hypervisor) -> Turn:
        """libvirt's daemon is started anew and finds the guest that kept running, or finds it gone."""
        now = time.monotonic()
        self._ends = [*(each for each in self._ends if now - each < HOUR), now]
        if len(self._ends) >= DAEMON_LIVES:
            raise GuestFailed(
                f"libvirt's daemon ended {DAEMON_LIVES} times within an hour: the guest is given up"
            )
        _log.warning("libvirt's daemon ended; it is started anew")
        daemon.start()
        daemon.wait()
        hypervisor.connect()
        return hypervisor.find(derived.domain(self.job.namespace, self.job.name))

    def _grace(self) -> int:
        """Seconds as the instance says now, or said last: a stop can come with a shorter time of its own."""
        with suppress(
            InvalidRequest
        ):  # what it began with may not be allowed any more: it ends in order all the same
            instance = self._instance()
            self._last_grace = instance.grace if instance else self._last_grace
        return self._last_grace

    def _end(self, reason: str) -> TerminationMessage:
        _log.info("the guest is off", reason=reason)
        if reason == "Crashed":
            return TerminationMessage("the guest's emulator ended unexpectedly", "GuestCrashed")
        if reason == "Destroyed" and self._ending and self._grace():
            return TerminationMessage(
                f"the guest did not power off within {self._grace()} s and was destroyed",
                "GracePeriodExpired",
            )
        return TerminationMessage("the guest powered off")


def _inside(insider: Insider) -> dict[str, Callable[..., object]]:
    return {
        "guestosinfo": insider.system,
        "userlist": insider.users,
        "filesystemlist": insider.filesystems,
        "ping": insider.ping,
        "run": insider.run,
        "freeze": insider.freeze,
        "unfreeze": insider.unfreeze,
    }


def _report(state: str, reason: str = "", message: str = "") -> Report:
    return Report(state, reason, message, meta.timestamp(datetime.now(UTC)))
