"""Golden images whose sources have nothing new: what one round of looks costs controllers, API server and sources.

python benchmarks/crons.py [COUNT]

The yard's server in one process, with storage and a node that only pretend (a look has found the same version as soon
as its pod is seen); `diskyard-controller` is another one, over HTTPS. What the looks themselves cost is measured by
real ones, against a web server that counts.
"""

import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import requests

from benchmarks.many import PATIENCE, requested, samples, serve, show, started, token
from diskyard.api import meta
from diskyard.api.job import ImportJob
from diskyard.api.meta import IMPORT_CRON, Key, Obj
from diskyard.api.names import cdi
from diskyard.kube.client import Client
from diskyard.kube.http import connect
from tests import builders

COUNT: Final = 1000
LOOKS: Final = 10
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


def main(count: int) -> None:
    """The controllers' part, then the looks'."""
    with tempfile.TemporaryDirectory() as work:
        kubeconfig = Path(work, "kubeconfig")
        words = ["-m", "datavolume_controller", "--kubeconfig", str(kubeconfig), "--host", "127.0.0.1"]
        words += ["--port", "0", "--part", "controllers"]
        with (
            started([__file__, "--serve", work], "ready", Path(work, "server.log")) as server,
            started(words, "ready:", Path(work, "controller.log")) as unknown,
            closing(connect(kubeconfig)) as client,
        ):
            controller = replace(unknown, token=token(kubeconfig))
            while not samples(controller.page(), "diskyard_leader"):
                time.sleep(0.2)
            for number in range(count):
                client.create(IMPORT_CRON, cron(number))
            until(client, count, current)
            before, spent, served = requested(controller.page()), controller.cpu(), server.cpu()
            begun = time.monotonic()
            for number in range(count):
                again = {"metadata": {"annotations": {cdi.LAST_CRON_TIME: None}}}
                client.patch(IMPORT_CRON, Key(f"os-{number:04}", "default"), again)
            until(client, count, looked)
            wall = time.monotonic() - begun
            after = requested(controller.page())
            print(f"{count} crons looked at again with nothing new, after {wall:.1f} s")
            show("controllers' processor for each", f"{(controller.cpu() - spent) / count * 1000:.1f} ms")
            show("the server's (with our writes)", f"{(server.cpu() - served) / count * 1000:.1f} ms")
            asked = {name: number - before.get(name, 0) for name, number in after.items()}
            show("API requests for each", f"{sum(asked.values()) / count:.1f}")
            for name, said in asked.items():
                if said >= count / 100:
                    show(f"    {name}", f"{said / count:.2f}")
        looks(Path(work))


def looks(folder: Path) -> None:
    """Real ones, each a process as its pod has it."""
    (folder / "www").mkdir()
    (folder / "www/os.img").write_bytes(os.urandom(1 << 20))
    asked: list[str] = []

    class Counting(SimpleHTTPRequestHandler):
        def log_message(self, _format: str, *words: Any) -> None:
            asked.append(str(words[0]))

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Counting, directory=folder / "www")) as images:
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
    show("requests to the source for each", f"{len(asked) / LOOKS:.1f}")
    show("a look's own processor", f"{spent / LOOKS * 1000:.0f} ms")


if __name__ == "__main__":
    requests.packages.urllib3.disable_warnings()
    if sys.argv[1:2] == ["--serve"]:
        serve(Path(sys.argv[2]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else COUNT)
