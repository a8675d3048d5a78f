"""API servers to be measured: the yard's own, and a real kube-apiserver with its etcd, both durable, both over TLS."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml
from apiclient import Connection, Door
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

HOST: Final = "127.0.0.1"
OURS, REAL = "the yard's", "kube-apiserver + etcd"
_TOKEN: Final = "benchmark"
_PATIENCE: Final = 120.0
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_OURS: Final = """
import signal, sys
from pathlib import Path
from standalone.admission import Rules
from tests.served import served
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
with served(Path(sys.argv[1]), rules=Rules()):
    print("ready", flush=True)
    signal.sigwait({signal.SIGTERM})
"""


@dataclass(frozen=True)
class Server:
    """A server that is up."""

    name: str
    door: Door
    pids: tuple[int, ...]
    seconds: float
    """From its start to ready."""

    def cpu(self) -> float:
        """Seconds of processor that it has used."""
        fields = [Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split() for pid in self.pids]
        return sum(int(each[11]) + int(each[12]) for each in fields) / _TICKS

    def resident(self) -> int:
        """Bytes of memory that it holds."""
        texts = [Path(f"/proc/{pid}/status").read_text() for pid in self.pids]
        lines = [next(line for line in text.splitlines() if line.startswith("VmRSS:")) for text in texts]
        return sum(int(line.split()[1]) for line in lines) * 1024


@contextmanager
def ours() -> Iterator[Server]:
    """The yard's server and its store, without controllers, as the other one is without."""
    with tempfile.TemporaryDirectory() as work, ExitStack() as stack:
        begun = time.monotonic()
        process = stack.enter_context(
            subprocess.Popen([sys.executable, "-c", _OURS, work], stdout=subprocess.PIPE, text=True)
        )
        stack.callback(process.send_signal, signal.SIGTERM)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        ready = time.monotonic() - begun
        yield Server(OURS, Door.of(Path(work, "kubeconfig")), (process.pid,), ready)


@contextmanager
def real(programs: Path) -> Iterator[Server]:
    """kube-apiserver and etcd with their defaults: the data is on disk when a write is acknowledged."""
    with tempfile.TemporaryDirectory() as work, ExitStack() as stack:
        folder = Path(work)
        key = _key(folder)
        Path(folder, "tokens.csv").write_text(f'{_TOKEN},admin,admin,"system:masters"\n')
        client, peer, port = f"http://{HOST}:{_port()}", f"http://{HOST}:{_port()}", _port()
        begun = time.monotonic()
        etcd = _started(stack, folder, [
            str(programs / "etcd"), f"--data-dir={work}/etcd", "--log-level=warn", f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}", f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=default={peer}",
        ])  # fmt: skip
        server = _started(stack, folder, [
            str(programs / "kube-apiserver"), f"--etcd-servers={client}", f"--bind-address={HOST}",
            f"--secure-port={port}", f"--cert-dir={work}", f"--token-auth-file={work}/tokens.csv",
            "--service-cluster-ip-range=10.96.0.0/16", "--authorization-mode=RBAC",
            "--service-account-issuer=https://kubernetes.default.svc", f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
        ])  # fmt: skip
        door = _ready(folder, port, begun)
        ready = time.monotonic() - begun
        _serve_our_kinds(door)
        yield Server(REAL, door, (etcd.pid, server.pid), ready)


def _started(stack: ExitStack, folder: Path, command: list[str]) -> "subprocess.Popen[bytes]":
    with Path(folder, Path(command[0]).name + ".log").open("wb") as log:
        process = stack.enter_context(subprocess.Popen(command, stdout=log, stderr=log))
    stack.callback(process.kill)
    return process


def _ready(folder: Path, port: int, begun: float) -> Door:
    """The door of the real server, once it says that it is ready."""
    certificate = Path(folder, "apiserver.crt")
    while time.monotonic() - begun < _PATIENCE:
        try:
            door = Door.trusting(HOST, port, certificate, _TOKEN)
            connection = Connection(door)
            connection.ask("GET", "/readyz")
        except (OSError, AssertionError):
            time.sleep(0.05)
            continue
        connection.close()
        return door
    raise TimeoutError(f"kube-apiserver is not ready after {_PATIENCE:.0f} s; its log: {folder}")


def _serve_our_kinds(door: Door) -> None:
    definitions = Path(__file__).parents[1].joinpath("charts/diskyard/crds").glob("*.yaml")
    connection = Connection(door)
    for text in (each.read_text() for each in definitions):
        for one in yaml.safe_load_all(text):
            path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
            connection.ask("POST", path, yaml.safe_dump(one).encode(), "application/yaml")
    time.sleep(5)
    connection.close()


def _key(folder: Path) -> Path:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    path = Path(folder, "accounts.key")
    form = serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL
    path.write_bytes(key.private_bytes(*form, serialization.NoEncryption()))
    return path


def _port() -> int:
    with socket.socket() as free:
        free.bind((HOST, 0))
        return int(free.getsockname()[1])
