"""`diskyard up` as its users run it: a process of its own, reached through its kubeconfig by the official client."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from standalone.node.network.network import Network
from standalone.node.network.plan import Plan
from standalone.node.network.plan import yard as yard_name
from standalone.storage import place as storage
from tests.flows.place import CDI, KUBEVIRT, Place

PROGRAM = (sys.executable, "-m", "cli")
READY_WITHIN = 120
STOPPED_WITHIN = 240
"""A pod has its grace (a guest: its own and half a minute), and the yard gives up after 100 seconds."""


@dataclass
class Yard(Place):
    """A running yard: a place that can be stopped."""

    process: "subprocess.Popen[str]"
    ready: str

    @classmethod
    def up(cls, directory: Path, *options: str, program: Sequence[str] = PROGRAM) -> "Yard":
        """Start it and wait for the one line that says `ready`."""
        with (directory.parent / f"{directory.name}.log").open("a") as log:
            process = subprocess.Popen(
                [*program, "up", "--data-dir", str(directory), "--port", "0", *options],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        assert process.stdout
        for line in process.stdout:
            if line.startswith("ready"):
                return cls(directory, directory / "kubeconfig", process, line)
        raise AssertionError(f"diskyard up ended with {process.wait()} before it was ready")

    def kill(self) -> None:
        """kill -9: what the machine's power switch does to it."""
        self.process.kill()
        self.process.wait()
        self._forget()

    def stop(self, signal_: int = signal.SIGINT, within: float = STOPPED_WITHIN) -> int:
        """Ctrl-C (or another signal); its exit code."""
        self.process.send_signal(signal_)
        code = self.process.wait(within)
        self._forget()
        return code

    def _forget(self) -> None:
        self.close()
        if self.process.stdout:
            self.process.stdout.close()

    def port(self) -> int:
        """The port that it really listens on."""
        return int(self.ready.split("127.0.0.1:")[1].split()[0])

    @staticmethod
    def refused(directory: Path, *options: str) -> tuple[int, str]:
        """A `diskyard up` that ends by itself: its exit code and what it said."""
        ended = subprocess.run(
            [*PROGRAM, "up", "--data-dir", str(directory), *options],
            capture_output=True, text=True, timeout=READY_WITHIN, check=False,
        )  # fmt: skip
        return ended.returncode, ended.stderr


@contextlib.contextmanager
def running(directory: Path, *options: str, program: Sequence[str] = PROGRAM) -> Iterator[Yard]:
    """A yard that leaves nothing running behind it, whatever happens."""
    yard = Yard.up(directory, *options, program=program)
    try:
        yield yard
    finally:
        if yard.process.poll() is None:
            yard.stop()
        sweep(directory)


def sweep(directory: Path) -> list[int]:
    """Kill every process that still knows the directory, give its devices back; the ids (none after a clean stop)."""
    found = processes(directory)
    for pid in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    disconnect(directory)
    storage.Place(directory / "volumes").release()
    return found


def disconnect(directory: Path) -> None:
    """Take away the network that a yard which was killed has left."""
    if (directory / "network.json").exists() and not processes(directory):
        network = Network(Plan(yard_name(directory), IPv4Network("10.0.0.0/22")))
        network.sweep(())
        network.close()


def processes(directory: Path) -> list[int]:
    """Processes whose command line names the directory."""
    mark = str(directory).encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if mark in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
    return found


def data_volume(name: str, source: dict[str, Any], size: str = "64Mi", **spec: Any) -> dict[str, Any]:
    """A DataVolume manifest, as users write it."""
    return {
        "apiVersion": "/".join(CDI),
        "kind": "DataVolume",
        "metadata": {"name": name},
        "spec": {"source": source, "storage": {"resources": {"requests": {"storage": size}}}, **spec},
    }


def machine(name: str, claim: str, *, memory: str = "128Mi", strategy: str = "Always") -> dict[str, Any]:
    """A VirtualMachine manifest that boots from a DataVolume."""
    return {
        "apiVersion": "/".join(KUBEVIRT),
        "kind": "VirtualMachine",
        "metadata": {"name": name},
        "spec": {
            "runStrategy": strategy,
            "template": {
                "spec": {
                    "terminationGracePeriodSeconds": 20,
                    "domain": {
                        "devices": {"disks": [{"name": "root", "disk": {"bus": "virtio"}}]},
                        "resources": {"requests": {"memory": memory}},
                    },
                    "volumes": [{"name": "root", "dataVolume": {"name": claim}}],
                }
            },
        },
    }
