"""Many DataVolumes at once: what the controllers do in a second, ask of the server, and hold in memory.

python benchmarks/many.py [COUNT]

The yard's server and store in one process, with storage and a node that only pretend: a claim is bound and an importer
has succeeded as soon as they are seen. `diskyard-controller` is another process, over HTTPS, as on a cluster.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import requests
import yaml

from diskyard.api.meta import CDI, CLAIM, DATA_VOLUME, NAMESPACE, STORAGE_CLASS, Key, Obj
from diskyard.api.names import cdi
from diskyard.kube.http import connect
from standalone.admission import Rules
from tests import builders
from tests.datavolume_controller.pretended import pretending
from tests.served import served

COUNT: Final = 10_000
WRITERS: Final = 4
PRETENDERS: Final = 16
"""Threads of each of the two: the disk takes many writes at once as soon as one."""
IDLE: Final = 10.0
PACE: Final = 100
"""Changes a second, for the latency."""
SPREAD: Final = 200
"""DataVolumes that they are spread over."""
PACED: Final = 10
"""Seconds of that."""
PATIENCE: Final = 1800.0
LOOK: Final = 5.0
"""Seconds between two looks at the controllers' metrics, which they have to write for it."""
MIB: Final = 1 << 20
_TICKS: Final = os.sysconf("SC_CLK_TCK")


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


def quantile(before: str, after: str, part: float) -> str:
    """The bound below which that part of the latencies between two pages is."""
    name = "diskyard_change_to_write_seconds_bucket"
    bounds = dict.fromkeys(re.findall(rf'{name}{{.*?le="(.*?)"}}', after))
    told = {le: samples(after, name, le=le) - samples(before, name, le=le) for le in bounds}
    whole = told["+Inf"]
    return next(f"{float(le) * 1000:.0f} ms" for le, count in told.items() if count >= part * whole)


def volume(number: int, prefix: str) -> Obj:
    storage = {"resources": {"requests": {"storage": "1Gi"}}}
    return builders.some(
        DATA_VOLUME, f"{prefix}-{number:05}", spec={"source": {"blank": {}}, "storage": storage}
    )


def create(kubeconfig: Path, count: int) -> None:
    """All of them in one go."""
    numbers = iter(range(count))

    def write() -> None:
        with closing(connect(kubeconfig)) as client:
            for number in numbers:
                client.create(DATA_VOLUME, volume(number, "many"))

    threads = [threading.Thread(target=write) for _ in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def settled(controller: Process, server: Process, count: int) -> None:
    """Wait until so many have succeeded; says on the way what each costs, so that growth is seen."""
    begun, before, spent = time.monotonic(), 0.0, (controller.cpu(), server.cpu())
    while (done := samples(controller.page(), "diskyard_datavolumes", phase="Succeeded")) < count:
        waited = time.monotonic() - begun
        if waited > PATIENCE:
            raise TimeoutError(controller.page())
        used = (controller.cpu(), server.cpu())
        each = [(now - then) / max(1.0, done - before) * 1000 for now, then in zip(used, spent, strict=True)]
        print(
            f"{done:.0f} of {count} after {waited:.0f} s more; since the last look {each[0]:.1f} ms of processor "
            f"for each, the server {each[1]:.1f} ms",
            file=sys.stderr,
            flush=True,
        )
        before, spent = done, used
        time.sleep(LOOK)


def pace(kubeconfig: Path, controller: Process) -> tuple[str, str]:
    """Claims change so many times a second, and each change has to be told on a DataVolume."""
    with closing(connect(kubeconfig)) as client:
        before, begun = controller.page(), time.monotonic()
        for number in range(PACE * PACED):
            key = Key(f"many-{number % SPREAD:05}", "default")
            phase = f"{number}"
            client.patch(CLAIM, key, {"metadata": {"annotations": {cdi.POD_RESTARTS: phase}}})
            time.sleep(max(0.0, begun + (number + 1) / PACE - time.monotonic()))
    time.sleep(2)
    return before, controller.page()


def main(count: int) -> None:
    with tempfile.TemporaryDirectory() as work:
        kubeconfig = Path(work, "kubeconfig")
        words = ["-m", "datavolume_controller", "--kubeconfig", str(kubeconfig), "--host", "127.0.0.1"]
        words += ["--port", "0", "--part", "controllers"]
        with (
            started([__file__, "--serve", work], "ready", Path(work, "server.log")) as server,
            started(words, "ready:", Path(work, "controller.log")) as unknown,
        ):
            controller = replace(unknown, token=token(kubeconfig))
            while not samples(controller.page(), "diskyard_leader"):
                time.sleep(0.2)
            empty, spent, begun = controller.resident(), controller.cpu(), time.monotonic()
            create(kubeconfig, count)
            made = time.monotonic() - begun
            settled(controller, server, count)
            wall, cpu, full = time.monotonic() - begun, controller.cpu() - spent, controller.resident()
            print(f"{count} DataVolumes, created in {made:.1f} s, all Succeeded after {wall:.1f} s")
            show("objects a second", f"{count / wall:.1f}")
            show("processor for each", f"{cpu / count * 1000:.1f} ms")
            show("the server's for each", f"{server.cpu() / count * 1000:.1f} ms")
            show("memory when empty", f"{empty / MIB:.0f} MiB")
            show("memory for 1,000", f"{(full - empty) / MIB / count * 1000:.1f} MiB")
            asked = requested(controller.page())
            show("requests for each (goal: < 25)", f"{sum(asked.values()) / count:.1f}")
            for name, number in asked.items():
                if number >= count / 100:
                    show(f"    {name}", f"{number / count:.2f}")
            show("idle (goal: < 1 %)", f"{idle(controller):.2%} of a processor")
            pages = pace(kubeconfig, controller)
            show("change to write, median", quantile(*pages, 0.5))
            show("change to write, p99 (goal: < 200 ms)", quantile(*pages, 0.99))


def token(kubeconfig: Path) -> str:
    """The administrator's."""
    return str(yaml.safe_load(kubeconfig.read_text())["users"][0]["user"]["token"])


def show(name: str, said: str) -> None:
    print(f"{name:<40}{said}", flush=True)


def requested(page: str) -> dict[str, float]:
    """Requests by verb and resource; watches are not counted."""
    found: dict[str, float] = {}
    pattern = r'^diskyard_api_requests_total\{.*?resource="(\w+)",verb="(\w+)"\} (\S+)$'
    for resource, verb, number in re.findall(pattern, page, re.MULTILINE):
        if verb != "watch":
            name = f"{verb} {resource}"
            found[name] = found.get(name, 0) + float(number)
    return found


def idle(controller: Process) -> float:
    """The part of a processor that it uses with nothing to do."""
    time.sleep(3)
    before = controller.cpu()
    time.sleep(IDLE)
    return (controller.cpu() - before) / IDLE


if __name__ == "__main__":
    requests.packages.urllib3.disable_warnings()
    if sys.argv[1:2] == ["--serve"]:
        serve(Path(sys.argv[2]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else COUNT)
