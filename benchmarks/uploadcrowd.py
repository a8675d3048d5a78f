"""32 uploads at once through one proxy, each to a server of its own, and small requests beside them.

    .venv/bin/python benchmarks/uploadcrowd.py [--size MIB]

The small request goes through the proxy to one more server, which has nothing to do; its client is a process of its
own, and keeps its connection. Clients that upload have the lowest priority: elsewhere they have machines of their own.
"""

import argparse
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from statistics import median, quantiles

import requests
import trustme

sys.path.insert(0, str(Path(__file__).parents[1]))

from datavolume_controller import authorities, uploader
from diskyard.api.meta import NAMESPACE, SECRET
from diskyard.api.names import cdi, upload
from diskyard.api.upload import UploadJob
from diskyard.web import issue, server, tls
from diskyard.web.issue import Life
from standalone.store.objects import Objects
from tests import builders
from tests.builders import eventually
from tests.uploadproxy.test_crowd import bearer, write_claim
from uploadproxy import proxy
from uploadproxy.limits import Limits
from uploadproxy.trust import Trust

MIB = 1 << 20
MANY = 32
PAUSE = 0.02
"""Seconds between two small requests."""


def main(size: int) -> None:
    cache = Path.home() / ".cache" / "diskyard" / "bench"
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as made, ExitStack() as stack:
        folder = Path(made)
        store = stack.enter_context(Objects.open(folder / "store.db"))
        names = [f"disk{number}" for number in range(MANY + 1)]
        start_servers(store, folder, names, stack)
        url = start_proxy(store, folder, stack)
        image = folder / "image.raw"
        image.write_bytes(os.urandom(size * MIB))
        quiet = Asking(url, bearer(store, names[-1]))
        time.sleep(3)
        alone = quiet.stopped()
        beside = Asking(url, bearer(store, names[-1]))
        seconds = [taken for _, taken in uploads(url, image, [bearer(store, name) for name in names[:-1]])]
        show(size, seconds, alone, beside.stopped())


def show(size: int, seconds: list[float], alone: list[float], beside: list[float]) -> None:
    whole = max(seconds)
    print(
        f"{MANY} uploads of {size} MiB at once: {MANY * size / whole:.0f} MiB/s; the first was there after "
        f"{min(seconds):.1f} s, the median after {median(seconds):.1f} s, the last after {whole:.1f} s"
    )
    for name, each in (("alone", alone), ("beside them", beside)):
        middle, late, last = (1000 * taken for taken in (median(each), quantiles(each, n=100)[98], max(each)))
        print(
            f"a small request {name}: median {middle:.0f} ms, p99 {late:.0f} ms, longest {last:.0f} ms, of {len(each)}"
        )


def start_servers(store: Objects, folder: Path, names: list[str], stack: ExitStack) -> None:
    """An upload server for each claim, at an address of its own."""
    life = Life(datetime.now(UTC), timedelta(days=1))
    servers, clients = issue.authority("servers", life), issue.authority("clients", life)
    store.create(NAMESPACE, builders.namespace(cdi.NAMESPACE))
    authorities.SigningKey().carry_out(store)
    authorities.Bundle(upload.SERVER_SIGNER, servers.certificate).carry_out(store)
    proof = issue.client(clients, upload.CLIENT_NAME, life)
    store.create(SECRET, uploader.secret({"name": upload.CLIENT_CERT, "namespace": cdi.NAMESPACE}, proof))
    for number, name in enumerate(names):
        address, keys = f"127.43.{os.getpid() % 250}.{number + 1}", folder / name
        keys.mkdir()
        tls.keep(
            tls.Pair(keys / "tls.crt", keys / "tls.key"),
            issue.server(servers, (upload.host(name, "default"),), life),
        )
        (keys / "ca.crt").write_bytes(clients.certificate)
        (keys / "volume").mkdir()
        job = UploadJob(image_size="1Gi", folder=str(keys), address=address)
        places = {
            upload.ENV_ADDRESS: address, cdi.ENV_VOLUME_DIR: str(keys / "volume"),
            cdi.ENV_TERMINATION_LOG: str(keys / "end"), cdi.ENV_VERBOSITY: "0",
        }  # fmt: skip
        env = {**os.environ, **job.to_env(), **places}
        process = subprocess.Popen([sys.executable, "-m", "uploadproxy.server"], env=env)
        stack.callback(process.wait)
        stack.callback(process.send_signal, signal.SIGKILL)
        write_claim(store, name, address)


def start_proxy(store: Objects, folder: Path, stack: ExitStack) -> str:
    """The proxy, in this process, once all the servers answer."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    pair = tls.Pair(folder / "tls.crt", folder / "tls.key")
    issued.private_key_pem.write_to_path(pair.key)
    issued.cert_chain_pems[0].write_to_path(pair.certificate)
    place = server.Place("127.0.0.1", tls=tls.context(pair), lends=True)
    running = server.start(proxy.application(Trust(store), Limits(one_client=2 * MANY)), place)
    stack.callback(running.stop)
    for number in range(MANY + 1):
        eventually(partial(answers, running.url, bearer(store, f"disk{number}")), 120)
    return running.url


def answers(url: str, headers: dict[str, str]) -> bool:
    found = requests.head(f"{url}/v1beta1/upload-async", headers=headers, verify=False, timeout=60)
    return found.status_code == 200


def uploads(url: str, image: Path, tokens: list[dict[str, str]]) -> list[tuple[int, float]]:
    """Each upload's number, and seconds until it was there."""
    begun = time.monotonic()
    running = {}
    for number, headers in enumerate(tokens):
        said = [part for name, text in headers.items() for part in ("-H", f"{name}: {text}")]
        command = [
            "nice",
            "-n",
            "19",
            "curl",
            "-sSfk",
            "--http1.1",
            "-H",
            "Expect:",
            *said,
            "-T",
            str(image),
            "-X",
            "POST",
        ]
        running[subprocess.Popen([*command, f"{url}/v1beta1/upload"]).pid] = number
    found = []
    while running:
        pid, status = os.waitpid(-1, 0)
        if pid in running:
            assert status == 0, "an upload failed"
            found.append((running.pop(pid), time.monotonic() - begun))
    return found


class Asking:
    """A process that asks one small thing after the other."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        command = [sys.executable, __file__, "--ask", f"{url}/v1beta1/upload-async", *headers.values()]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def stopped(self) -> list[float]:
        """Seconds of each."""
        said, _ = self._process.communicate("")
        return [float(line) for line in said.splitlines()]


def ask(url: str, bearer: str) -> None:
    """Ask until somebody closes our standard input; say how long each answer took."""
    with requests.Session() as session:
        session.trust_env, session.verify = False, False
        while not select.select([sys.stdin], [], [], PAUSE)[0]:
            begun = time.monotonic()
            assert session.head(url, headers={"Authorization": bearer}, timeout=60).status_code == 200
            print(time.monotonic() - begun)


if __name__ == "__main__":
    import warnings

    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--ask", nargs=2, metavar=("URL", "BEARER"), help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.ask:
        ask(*wanted.ask)
    else:
        main(wanted.size)
