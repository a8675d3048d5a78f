"""What a guest costs beside a plain qemu: its start, its memory, ten at once, a thousand that are off.

python benchmarks/guests.py [ROUNDS] [start] [many] [stopped]     (all three, where none is named)

Needs nothing but `make setup`; the yard is one of its own.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from goals import goal
from mainline import GREETING, greeted
from twin import twin

from demo import image
from demo.yard import yard
from diskyard.api import meta
from diskyard.api.meta import INSTANCE, MACHINE, POD, Key, Obj
from diskyard.errors import ApiError
from diskyard.kube.client import Selection
from diskyard.kube.http import HttpClient, LogWish, connect
from vm_runtime.agent.host import acceleration

ROUNDS = 3
AT_ONCE = 10
STOPPED = 1000
IDLE = 30.0
PATIENCE = 600
MIB = 1 << 20
LATER = 1.5
"""Seconds that a guest may start later than in a plain qemu."""
HELD = 100
"""MiB that its launcher and libvirt may hold together."""
IDLE_SHARE = 1.0
"""Percent of a processor that a yard may take while all its machines are off."""
MEMORY = 128
"""MiB of a guest."""
DISK = Key("disk", "default")
TICKS = 100


PARTS = ("start", "many", "stopped")


@dataclass(frozen=True)
class Started:
    """What a guest took until it spoke."""

    seconds: float
    held: float
    """MiB that its launcher and libvirt then hold."""
    command: Sequence[str]
    """By which libvirt started its emulator."""


def main(rounds: int, parts: Sequence[str]) -> int:
    """Measure; 1 where a goal is missed."""
    print(f"medians of {rounds}; guests run {'under KVM' if acceleration().kvm else 'emulated'}", flush=True)
    served = image.build(image.CACHE)
    with tempfile.TemporaryDirectory() as work:
        disk = Path(work, "disk.img")
        subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", served, disk], check=True)
        with yard(Path(work, "yard")) as running, closing(connect(running.kubeconfig)) as client:
            _import(running.kubeconfig, served)
            goals = [
                *(_start(client, disk, rounds) if "start" in parts else ()),
                *(_many_at_once(client) if "many" in parts else ()),
                *(_many_stopped(client, running.path) if "stopped" in parts else ()),
            ]
    return 0 if all(goals) else 1


def _start(client: HttpClient, disk: Path, rounds: int) -> list[bool]:
    ours, plain = [], []
    for _ in range(rounds):
        ours.append(_started(client))
        plain.append(greeted(twin(ours[-1].command, disk)))
    seconds = median(each.seconds for each in ours)
    print(f"start to the first words on the serial port: {seconds:.2f} s")
    print(f"the same machine and disk in a plain qemu:   {median(plain):.2f} s")
    return [
        goal("more than that, s", seconds - median(plain), LATER),
        goal("launcher and libvirt, without qemu, MiB", median(each.held for each in ours), HELD),
    ]


def machine(name: str, *, on: bool) -> Obj:
    """Its disk is the one claim, never written to: any number can run from it."""
    return {
        "apiVersion": MACHINE.api_version,
        "kind": MACHINE.kind,
        "metadata": {"name": name, "namespace": DISK.namespace},
        "spec": {
            "runStrategy": "Always" if on else "Halted",
            "template": {
                "spec": {
                    "terminationGracePeriodSeconds": 0,
                    "domain": {
                        "devices": {"disks": [{"name": "root", "disk": {"bus": "virtio"}}]},
                        "memory": {"guest": f"{MEMORY}Mi"},
                    },
                    "volumes": [
                        {"name": "root", "ephemeral": {"persistentVolumeClaim": {"claimName": DISK.name}}}
                    ],
                }
            },
        },
    }


def _import(kubeconfig: Path, served: Path) -> None:
    command = ["image-upload", "dv", DISK.name, "--size", "1Gi", "--image-path", str(served)]
    subprocess.run(
        [sys.executable, "-m", "cli", *command, "--kubeconfig", kubeconfig], check=True, capture_output=True
    )


def _started(client: HttpClient) -> Started:
    """A guest from `start` to its first words."""
    client.create(MACHINE, machine("one", on=False))
    client.order("/apis/subresources.kubevirt.io/v1/namespaces/default/virtualmachines/one/start", {})
    begun = time.monotonic()
    _until(lambda: GREETING in _said(client, "one"))
    seconds = time.monotonic() - begun
    held = sum(_proportional(process) for process in _processes("one")) / MIB
    command = _emulator("one")
    client.delete(MACHINE, Key("one", DISK.namespace))
    _until(lambda: not client.list(POD, Selection(DISK.namespace, fields="status.phase=Running")).items)
    return Started(seconds, held, command)


def _many_at_once(client: HttpClient) -> list[bool]:
    begun = time.monotonic()
    names = [f"many-{number}" for number in range(AT_ONCE)]
    for name in names:
        client.create(MACHINE, machine(name, on=True))
    _until(lambda: all(GREETING in _said(client, name) for name in names))
    restarts = sum(
        each.get("restartCount", 0)
        for pod in client.list(POD, Selection(DISK.namespace)).items
        for each in meta.status(pod).get("containerStatuses") or ()
    )
    failed = [
        each
        for each in client.list(INSTANCE, Selection(DISK.namespace)).items
        if meta.phase(each) == "Failed"
    ]
    seconds = time.monotonic() - begun
    print(f"{AT_ONCE} guests at once: all greet after {seconds:.0f} s", flush=True)
    found = [
        goal(f"{AT_ONCE} guests at once: failed", len(failed), 0),
        goal(f"{AT_ONCE} guests at once: restarts", restarts, 0),
    ]
    for name in names:
        client.delete(MACHINE, Key(name, DISK.namespace))
    _until(lambda: not client.list(INSTANCE, Selection(DISK.namespace)).items)
    return found


def _many_stopped(client: HttpClient, directory: Path) -> list[bool]:
    for number in range(STOPPED):
        client.create(MACHINE, machine(f"off-{number}", on=False))
    _until(
        lambda: all(
            meta.status(each).get("printableStatus") == "Stopped" for each in client.list(MACHINE).items
        )
    )
    time.sleep(5)
    server = int((directory / "yard.pid").read_text())
    before = _processor(server)
    time.sleep(IDLE)
    share = (_processor(server) - before) / IDLE
    print(f"{STOPPED} stopped machines: the yard holds {_proportional(server) / MIB:.0f} MiB", flush=True)
    return [goal(f"{STOPPED} stopped machines: processor, %", share * 100, IDLE_SHARE)]


def _said(client: HttpClient, name: str) -> bytes:
    pods = client.list(POD, Selection(DISK.namespace, f"vm.kubevirt.io/name={name}")).items
    with suppress(ApiError):  # no pod yet, or one that has not started
        return b"".join(client.logs(meta.key(pods[-1]), LogWish())) if pods else b""
    return b""


def _emulator(name: str) -> Sequence[str]:
    """By what command the emulator of a guest runs."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command = process.joinpath("cmdline").read_text().split("\0")
            if "qemu-system" in command[0] and any(f"={DISK.namespace}_{name}," in word for word in command):
                return command
    raise AssertionError(f"no emulator of {name} runs")


def _processes(name: str) -> set[int]:
    """The launcher of a guest and what it has started, but for the emulator."""
    parents, roots, emulators = {}, set(), set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            number = int(process.name)
            parents[number] = int(process.joinpath("stat").read_text().rpartition(")")[2].split()[1])
            if f"LAUNCHER_NAME={name}".encode() in process.joinpath("environ").read_bytes().split(b"\0"):
                roots.add(number)
            if b"qemu-system" in process.joinpath("cmdline").read_bytes().split(b"\0")[0]:
                emulators.add(number)
    found, grown = set(roots), True
    while grown:
        more = {number for number, parent in parents.items() if parent in found} - found
        found, grown = found | more, bool(more)
    return found - emulators


def _proportional(process: int) -> int:
    """Bytes that are a process's own, and its share of what it has in common with others."""
    with suppress(OSError):
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def _processor(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < deadline, f"not done after {PATIENCE} seconds"
        time.sleep(0.05)


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:] if word.isdecimal()]
    sys.exit(main(*(numbers or [ROUNDS]), [part for part in PARTS if part in sys.argv] or PARTS))
