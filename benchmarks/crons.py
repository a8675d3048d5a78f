"""Golden images whose sources have nothing new: what one round of looks costs controllers, API server and sources.

python benchmarks/crons.py [COUNT]

Server, storage and node: see plane.py. What the looks themselves cost is measured by real ones, against a web server
that counts.
"""

import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any, Final

import requests

from benchmarks.goals import goal
from benchmarks.plane import PATIENCE, requested, serve, show, working
from diskyard.api import meta
from diskyard.api.job import ImportJob
from diskyard.api.meta import IMPORT_CRON, Key, Obj
from diskyard.api.names import cdi
from diskyard.kube.client import Client
from diskyard.kube.http import connect
from tests import builders
from tests.importer.stores import Quiet

COUNT: Final = 1000
LOOKS: Final = 10
REQUESTS: Final = 6.0
"""To the API server, for one look with nothing new: a pod made and taken away, what it found, when."""
PROCESSOR: Final = 40.0
"""Milliseconds of the controllers."""
ASKED: Final = 1.0
"""Requests to the source."""
LOOK: Final = 600.0
"""Milliseconds of the pod that looks: a process that starts, asks, and ends."""
_EVERY: Final = 1.0


def cron(number: int) -> Obj:
    """One that is looked at when the annotation of its last time goes."""
    name = f"os-{number:04}"
    template = {
        "spec": {
            "source": {"http": {"url": f"http://images.example/{name}.img"}},
            "storage": {"resources": {"requests": {"storage": "1Gi"}}},
        }
    }
    spec = {"schedule": "0 0 1 1 *", "managedDataSource": name, "template": template}
    return builders.some(IMPORT_CRON, name, spec=spec)


def until(client: Client, count: int, holds: Callable[[Obj], bool]) -> None:
    """Wait until that holds of so many crons."""
    begun = time.monotonic()
    while (found := sum(holds(each) for each in client.list(IMPORT_CRON).items)) < count:
        if time.monotonic() - begun > PATIENCE:
            raise TimeoutError(f"{found} of {count}")
        print(f"{found} of {count}", file=sys.stderr, flush=True)
        time.sleep(_EVERY)


def current(obj: Obj) -> bool:
    """Whether it has the newest image."""
    return meta.holds(obj, "UpToDate")


def looked(obj: Obj) -> bool:
    """Whether its source has been looked at."""
    return cdi.LAST_CRON_TIME in meta.annotations(obj)


def main(count: int) -> int:
    """The controllers' part, then the looks'; 1 where a goal is missed."""
    with working(__file__) as plane, closing(connect(plane.kubeconfig)) as client:
        for number in range(count):
            client.create(IMPORT_CRON, cron(number))
        until(client, count, current)
        before, spent, served = requested(plane.controller.page()), plane.controller.cpu(), plane.server.cpu()
        begun = time.monotonic()
        for number in range(count):
            again = {"metadata": {"annotations": {cdi.LAST_CRON_TIME: None}}}
            client.patch(IMPORT_CRON, Key(f"os-{number:04}", "default"), again)
        until(client, count, looked)
        wall = time.monotonic() - begun
        after = requested(plane.controller.page())
        asked = {name: number - before.get(name, 0) for name, number in after.items()}
        used = (plane.controller.cpu() - spent) / count * 1000
        print(f"{count} crons looked at again with nothing new, after {wall:.1f} s")
        goals = [
            goal("controllers' processor for each, ms", used, PROCESSOR),
            goal("API requests for each", sum(asked.values()) / count, REQUESTS),
        ]
        for name, said in asked.items():
            if said >= count / 100:
                show(f"    {name}", f"{said / count:.2f}")
        show("the server's (with our writes)", f"{(plane.server.cpu() - served) / count * 1000:.1f} ms")
        goals += looks(plane.folder)
    return 0 if all(goals) else 1


def looks(folder: Path) -> list[bool]:
    """Real ones, each a process as its pod has it; whether each goal is met."""
    (folder / "www").mkdir()
    (folder / "www/os.img").write_bytes(os.urandom(1 << 20))
    asked: list[str] = []

    class Counting(SimpleHTTPRequestHandler):
        def log_message(self, _format: str, *words: Any) -> None:
            asked.append(str(words[0]))

    with Quiet(("127.0.0.1", 0), partial(Counting, directory=folder / "www")) as images:
        threading.Thread(target=images.serve_forever, daemon=True).start()
        job = ImportJob("http", f"http://127.0.0.1:{images.server_port}/os.img")
        env = {
            **os.environ,
            **job.to_env(),
            cdi.ENV_POLL: "true",
            cdi.ENV_TERMINATION_LOG: str(folder / "end"),
        }
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        for _ in range(LOOKS):
            subprocess.run([sys.executable, "-m", "importer"], env=env, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        images.shutdown()
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return [
        goal("requests to the source for each", len(asked) / LOOKS, ASKED),
        goal("a look's own processor, ms", spent / LOOKS * 1000, LOOK),
    ]


if __name__ == "__main__":
    requests.packages.urllib3.disable_warnings()
    if sys.argv[1:2] == ["--serve"]:
        serve(Path(sys.argv[2]))
    else:
        sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else COUNT))
