"""The control plane as its benchmarks start it: the yard's server and `diskyard-controller`, each a process of its own.

Storage and a node only pretend: a claim is bound, an importer has succeeded and a look at a source has found the same
version, as soon as they are seen. The controllers speak HTTPS, as on a cluster.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import requests
import yaml

from diskyard.api.meta import CDI, NAMESPACE, STORAGE_CLASS
from diskyard.api.names import cdi
from standalone.admission import Rules
from tests import builders
from tests.datavolume_controller.pretended import pretending
from tests.served import served

PATIENCE: Final = 1800.0
PRETENDERS: Final = 16
"""Threads of each of the two: the disk takes many writes at once as soon as one."""
_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Process:
    """A process that is measured."""

    pid: int
    url: str = ""
    token: str = ""
    """Of the API server: its metrics are for those who may read them."""

    def cpu(self) -> float:
        """Seconds of processor that it has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def resident(self) -> int:
        """Bytes of memory that it holds."""
        text = Path(f"/proc/{self.pid}/status").read_text()
        return int(next(line for line in text.splitlines() if line.startswith("VmRSS:")).split()[1]) * 1024

    def page(self) -> str:
        """Its metrics."""
        headers = {"Authorization": f"Bearer {self.token}"}
        answer = requests.get(f"{self.url}/metrics", headers=headers, verify=False, timeout=60)
        answer.raise_for_status()
        return answer.text


@dataclass(frozen=True)
class Plane:
    """Both processes, and the way to the server."""

    folder: Path
    kubeconfig: Path
    server: Process
    controller: Process


@contextmanager
def working(program: str) -> Iterator[Plane]:
    """Both, once the controllers lead. `program`: a benchmark that gives `--serve FOLDER` to `serve`."""
    with tempfile.TemporaryDirectory() as work:
        kubeconfig = Path(work, "kubeconfig")
        words = ["-m", "datavolume_controller", "--kubeconfig", str(kubeconfig), "--host", "127.0.0.1"]
        words += ["--port", "0", "--part", "controllers"]
        with (
            started([program, "--serve", work], "ready", Path(work, "server.log")) as server,
            started(words, "ready:", Path(work, "controller.log")) as unknown,
        ):
            controller = replace(unknown, token=token(kubeconfig))
            while not samples(controller.page(), "diskyard_leader"):
                time.sleep(0.2)
            yield Plane(Path(work), kubeconfig, server, controller)


def serve(folder: Path) -> None:
    """The server's process: until SIGTERM."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    with served(folder, rules=Rules()) as yard:
        yard.store.create(NAMESPACE, builders.namespace("cdi"))
        default = {"metadata": {"annotations": {cdi.DEFAULT_CLASS: "true"}}}
        yard.store.create(STORAGE_CLASS, builders.storage_class("local", **default))
        yard.store.create(CDI, builders.some(CDI, "cdi", spec={}))
        with pretending(yard.store, PRETENDERS):
            print("ready", flush=True)
            signal.sigwait({signal.SIGTERM})


@contextmanager
def started(command: list[str], says: str, log: Path) -> Iterator[Process]:
    """A process, once it has said so in its log; ended with the block."""
    with log.open("w") as file:
        process = subprocess.Popen([sys.executable, *command], stdout=file, stderr=file)
    try:
        while not (
            line := next((each for each in log.read_text().splitlines() if each.startswith(says)), "")
        ):
            if process.poll() is not None:
                raise RuntimeError(log.read_text())
            time.sleep(0.05)
        yield Process(process.pid, line.rpartition(" ")[2])
    finally:
        process.terminate()
        process.wait(60)


def samples(page: str, name: str, **labels: str) -> float:
    """The sum of a metric's samples that have these labels."""
    found = re.findall(rf"^{name}(?:\{{(.*?)\}})? (\S+)$", page, re.MULTILINE)
    wanted = [f'{key}="{text}"' for key, text in labels.items()]
    return sum(float(number) for said, number in found if all(each in said for each in wanted))


def requested(page: str) -> dict[str, float]:
    """Requests by verb and resource; watches are not counted."""
    found: dict[str, float] = {}
    pattern = r'^diskyard_api_requests_total\{.*?resource="(\w+)",verb="(\w+)"\} (\S+)$'
    for resource, verb, number in re.findall(pattern, page, re.MULTILINE):
        if verb != "watch":
            name = f"{verb} {resource}"
            found[name] = found.get(name, 0) + float(number)
    return found


def token(kubeconfig: Path) -> str:
    """The administrator's."""
    return str(yaml.safe_load(kubeconfig.read_text())["users"][0]["user"]["token"])


def show(name: str, said: str) -> None:
    print(f"{name:<40}{said}", flush=True)
