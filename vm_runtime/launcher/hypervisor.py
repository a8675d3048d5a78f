"""The one place that speaks with libvirt: start a domain, hear what becomes of it, stop it."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Self

import libvirt
import libvirt_qemu

from diskyard.errors import GuestFailed
from vm_runtime.domain.guest import aliases

AGENT_PATIENCE: Final = 8
"""Seconds that the agent inside the guest has to answer."""
KEEPALIVE: Final = (5, 5)
"""Seconds between questions, and how many may stay unanswered."""

WAYS_OUT: Final = {
    "Cannot allocate memory": ". Give the guest less memory (spec.domain.memory.guest), or free some on its node",
}
"""What libvirt says -> what to change."""

OFF: Final = "Off"
RUNNING: Final = "Running"
PAUSED: Final = "Paused"


@dataclass(frozen=True)
class AgentTurn:
    """The agent inside the guest has come, or gone."""

    connected: bool


@dataclass(frozen=True)
class Silent:
    """libvirt's daemon is there and answers no more: what becomes of the guest is not told any longer."""


@dataclass(frozen=True)
class Removed:
    """A device has left the guest."""

    alias: str


@dataclass(frozen=True)
class Turn:
    """The domain's state has changed."""

    state: str
    """`Running`, `Paused` or `Off`."""
    reason: str = ""


_STOPPED: Final = {
    libvirt.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN: "Shutdown",
    libvirt.VIR_DOMAIN_EVENT_STOPPED_DESTROYED: "Destroyed",
    libvirt.VIR_DOMAIN_EVENT_STOPPED_CRASHED: "Crashed",
    libvirt.VIR_DOMAIN_EVENT_STOPPED_FAILED: "Crashed",
    libvirt.VIR_DOMAIN_EVENT_STOPPED_MIGRATED: "Migrated",
    libvirt.VIR_DOMAIN_EVENT_STOPPED_SAVED: "Saved",
}
_SUSPENDED: Final = {
    libvirt.VIR_DOMAIN_EVENT_SUSPENDED_PAUSED: "PausedByUser",
    libvirt.VIR_DOMAIN_EVENT_SUSPENDED_IOERROR: "PausedIOError",
}
_PAUSED: Final = {
    libvirt.VIR_DOMAIN_PAUSED_USER: "PausedByUser",
    libvirt.VIR_DOMAIN_PAUSED_IOERROR: "PausedIOError",
}
"""The same of a domain that is found so."""


class Hypervisor:
    """A connection to the guest's own libvirt, and the one domain on it."""

    def __init__(self, uri: str, on_turn: Callable[[Turn | AgentTurn | Removed | Silent], None]) -> None:
        self._uri = uri
        self._on_turn = on_turn
        self._connection: Any = None
        self._domain: Any = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="libvirt", daemon=True)

    def __enter__(self) -> Self:
        libvirt.registerErrorHandler(_say_nothing, None)
        libvirt.virEventRegisterDefaultImpl()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        libvirt.virEventAddTimeout(0, _say_nothing, None)
        self._thread.join(timeout=5)

    def connect(self) -> None:
        """Open the connection, also again after the daemon was started anew. Raises GuestFailed."""
        with _Spoken("libvirt's daemon cannot be reached"):
            self._connection = libvirt.open(self._uri)
            self._connection.setKeepAlive(*KEEPALIVE)
            self._connection.registerCloseCallback(self._closed, None)
            self._connection.domainEventRegisterAny(
                None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._lifecycle, None
            )
            self._connection.domainEventRegisterAny(
                None, libvirt.VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE, self._agent, None
            )
            self._connection.domainEventRegisterAny(
                None, libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, self._removed, None
            )

    def start(self, xml: str) -> None:
        """Start the domain, its processors still halted. Raises GuestFailed."""
        with _Spoken("libvirt did not start the guest"):
            self._domain = self._connection.createXML(xml, libvirt.VIR_DOMAIN_START_PAUSED)

    def resume(self) -> None:
        """Let the processors run. Raises GuestFailed."""
        with _Spoken("libvirt did not let the guest run"):
            self._domain.resume()

    def pause(self) -> None:
        """Halt the processors. Raises GuestFailed."""
        with _Spoken("libvirt did not pause the guest"):
            self._domain.suspend()

    def reboot(self) -> None:
        """Ask the guest to boot anew, by its agent or its power button. Raises GuestFailed."""
        with _Spoken("libvirt did not ask the guest to reboot"):
            self._domain.reboot()

    def reset(self) -> None:
        """Push the reset button: the guest has no say. Raises GuestFailed."""
        with _Spoken("libvirt did not reset the guest"):
            self._domain.reset()

    def attach(self, xml: str) -> None:
        """Give the running guest a device. Raises GuestFailed."""
        with _Spoken("libvirt did not give the guest the device"):
            self._domain.attachDeviceFlags(xml, libvirt.VIR_DOMAIN_AFFECT_LIVE)

    def detach(self, alias: str) -> None:
        """Ask the running guest to let go of a device. Raises GuestFailed."""
        with _Spoken("libvirt did not take the device from the guest"):
            self._domain.detachDeviceAlias(alias, libvirt.VIR_DOMAIN_AFFECT_LIVE)

    def change(self, xml: str) -> None:
        """Give a disc drive of the running guest what the XML says is in it. Raises GuestFailed."""
        with _Spoken("libvirt did not change the disc in the guest's drive"):
            self._domain.updateDeviceFlags(xml, libvirt.VIR_DOMAIN_AFFECT_LIVE)

    def size(self, target: str) -> int:
        """Bytes that the running guest's disk has. Raises GuestFailed."""
        with _Spoken("libvirt did not say how large the guest's disk is"):
            return int(self._domain.blockInfo(target)[0])

    def resize(self, target: str, size: int) -> None:
        """Have the running guest's disk be of that many bytes. Raises GuestFailed."""
        with _Spoken("libvirt did not make the guest's disk larger"):
            self._domain.blockResize(target, size, libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)

    def find(self, name: str) -> Turn:
        """The state of the domain of that name: `Off` and crashed when there is none."""
        try:
            self._domain = self._connection.lookupByName(name)
            state, why = self._domain.state()
        except libvirt.libvirtError:
            return Turn(OFF, "Crashed")
        return Turn(PAUSED, _PAUSED.get(why, "")) if state == libvirt.VIR_DOMAIN_PAUSED else Turn(RUNNING)

    def paused(self) -> bool:
        """Whether it is. Raises GuestFailed."""
        with _Spoken("libvirt did not say whether the guest is paused"):
            return bool(self._domain.state()[0] == libvirt.VIR_DOMAIN_PAUSED)

    def xml(self) -> str:
        """What runs, as libvirt completed it. Raises GuestFailed."""
        with _Spoken("libvirt did not show the guest"):
            text: str = self._domain.XMLDesc()
            return text

    def figures(self) -> dict[str, int | str]:
        """What libvirt counts of the guest, by the names of virDomainListGetStats. Raises GuestFailed.

        Beside them `block.N.alias` and `net.N.alias`: what the instance calls its disks and interfaces.
        """
        with _Spoken("libvirt did not count the guest's work"):
            ((_, found),) = self._connection.domainListGetStats([self._domain])
        return {**found, **aliases(self.xml())}

    def ask_agent(self, command: str, **arguments: object) -> Any:
        """What the agent inside the guest answers. Raises GuestFailed."""
        said = json.dumps({"execute": command, **({"arguments": arguments} if arguments else {})})
        with _Spoken(f"the guest's agent did not do {command}"):
            return json.loads(libvirt_qemu.qemuAgentCommand(self._domain, said, AGENT_PATIENCE, 0))["return"]

    def ask_emulator(self, command: str, **arguments: object) -> Any:
        """What the emulator itself answers, past libvirt. Raises GuestFailed."""
        said = json.dumps({"execute": command, **({"arguments": arguments} if arguments else {})})
        with _Spoken(f"the guest's emulator did not do {command}"):
            answer = json.loads(libvirt_qemu.qemuMonitorCommand(self._domain, said, 0))
        if "error" in answer:
            raise GuestFailed(f"the guest's emulator did not do {command}: {answer['error'].get('desc')}")
        return answer["return"]

    def guest(self) -> dict[str, Any]:
        """What the agent knows of its system, by the names of virDomainGetGuestInfo. Raises GuestFailed."""
        with _Spoken("the guest's agent did not say what runs there"):
            found: dict[str, Any] = self._domain.guestInfo(0)
            return found

    def freeze(self) -> None:
        """Have the guest's file systems whole on their disks, and stand still. Raises GuestFailed."""
        with _Spoken("the guest's agent did not freeze its file systems"):
            self._domain.fsFreeze()

    def thaw(self) -> None:
        """Let them go on. Raises GuestFailed."""
        with _Spoken("the guest's agent did not thaw its file systems"):
            self._domain.fsThaw()

    def shutdown(self) -> None:
        """Ask the guest to power off; whether it listens shows later. A guest that is gone already is fine."""
        _tried(self._domain.shutdown)

    def destroy(self) -> None:
        """Take the guest's power away. A guest that is gone already is fine."""
        _tried(self._domain.destroy)

    def _run(self) -> None:
        while not self._stopped.is_set():
            libvirt.virEventRunDefaultImpl()

    def _agent(self, _connection: Any, _domain: Any, state: int, _reason: int, _opaque: Any) -> None:
        connected = state == libvirt.VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_CONNECTED
        self._on_turn(AgentTurn(connected))

    def _closed(self, _connection: Any, reason: int, _opaque: Any) -> None:
        if reason == libvirt.VIR_CONNECT_CLOSE_REASON_KEEPALIVE:
            self._on_turn(Silent())

    def _removed(self, _connection: Any, _domain: Any, alias: str, _opaque: Any) -> None:
        self._on_turn(Removed(alias))

    def _lifecycle(self, _connection: Any, _domain: Any, event: int, detail: int, _opaque: Any) -> None:
        if event == libvirt.VIR_DOMAIN_EVENT_STOPPED:
            self._on_turn(Turn(OFF, _STOPPED.get(detail, "Crashed")))
        elif event == libvirt.VIR_DOMAIN_EVENT_RESUMED:
            self._on_turn(Turn(RUNNING))
        elif event == libvirt.VIR_DOMAIN_EVENT_SUSPENDED:
            self._on_turn(Turn(PAUSED, _SUSPENDED.get(detail, "Paused")))
        elif event == libvirt.VIR_DOMAIN_EVENT_CRASHED:
            self._on_turn(Turn(OFF, "Crashed"))


class _Spoken:
    """libvirt's errors, said as ours."""

    def __init__(self, failure: str) -> None:
        self._failure = failure

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: object, _traceback: object) -> None:
        if isinstance(error, libvirt.libvirtError):
            way_out = next((words for sign, words in WAYS_OUT.items() if sign in str(error)), "")
            raise GuestFailed(f"{self._failure}: {error}{way_out}") from error


def _tried(ask: Callable[[], Any]) -> None:
    try:
        ask()
    except libvirt.libvirtError:
        return


def _say_nothing(*_: object) -> None:
    """libvirt prints every error beside raising it; a timer needs something to call."""
