"""Many DataVolumes at once: what the controllers do in a second, ask of the server, and hold in memory.

python benchmarks/many.py [COUNT]

Server, storage and node: see plane.py.
"""

import re
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Final

import requests

from benchmarks.plane import PATIENCE, Process, requested, samples, serve, show, working
from diskyard.api.meta import CLAIM, DATA_VOLUME, Key, Obj
from diskyard.api.names import cdi
from diskyard.kube.http import connect
from tests import builders

COUNT: Final = 10_000
WRITERS: Final = 4
IDLE: Final = 10.0
PACE: Final = 100
"""Changes a second, for the latency."""
SPREAD: Final = 200
"""DataVolumes that they are spread over."""
PACED: Final = 10
"""Seconds of that."""
LOOK: Final = 5.0
"""Seconds between two looks at the controllers' metrics, which they have to write for it."""
MIB: Final = 1 << 20


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
    with working(__file__) as plane:
        kubeconfig, server, controller = plane.kubeconfig, plane.server, plane.controller
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
