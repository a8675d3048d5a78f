"""A real Kubernetes control plane for as long as a block lasts: etcd, kube-apiserver, kube-controller-manager.

Everything lies in one folder and listens on 127.0.0.1 only; three processes, ended by their ids. RBAC is on, the
aggregation layer too: other programs of a test can be its webhooks, aggregated APIs and nodes.
"""

import csv
import io
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests
import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from diskyard.kube.http import HttpClient, connect
from standalone.access.tokens import write_kubeconfig
from tests.builders import eventually
from tests.cluster.programs import built

LOCALHOST = "127.0.0.1"
ADMIN = ("admin-token", "diskyard-admin", "admin", "system:masters")
READY_WITHIN = 180
_ATTEMPTS = 5
_WITH_US = ("setpriv", "--pdeathsig", "KILL")
"""A program of the cluster ends with the tests, however these end."""


class Ended(Exception):
    """A program that should run has ended."""


@dataclass(frozen=True)
class User:
    """Somebody that the server knows by a token."""

    token: str
    name: str
    groups: tuple[str, ...] = ()


STRANGER = User("stranger-token", "stranger")
"""Somebody whom every test's cluster knows, and who may do nothing."""


@dataclass(frozen=True)
class Cluster:
    """Where the server is, and how to be let in as its administrator."""

    folder: Path
    url: str
    token: str
    authority: Path
    """What signed the server's certificate."""
    kubeconfig: Path
    client: HttpClient
    front_proxy: Path
    """What signs the certificate that the aggregation layer shows (requestheader-client-ca)."""

    def kubeconfig_for(self, user: User) -> Path:
        """A kubeconfig of one of the users that the cluster was started with."""
        path = self.folder / f"kubeconfig-{user.token}"
        write_kubeconfig(path, self.url, self.authority, user.token)
        return path


@contextmanager
def cluster(folder: Path, users: Sequence[User] = ()) -> Iterator[Cluster]:
    """A new control plane in that folder; further users have tokens of their own and no rights yet."""
    programs = built()
    folder.mkdir(parents=True, exist_ok=True)
    _certificates(folder)
    _write_tokens(folder / "tokens.csv", users)
    with ExitStack() as stack:
        running = _Running(programs, folder, stack)
        etcd = running.etcd()
        url = running.apiserver(etcd)
        authority, kubeconfig = folder / "ca.crt", folder / "kubeconfig"
        write_kubeconfig(kubeconfig, url, authority, ADMIN[0])
        running.controllers(kubeconfig)
        client = connect(kubeconfig)
        stack.callback(client.close)
        yield Cluster(folder, url, ADMIN[0], authority, kubeconfig, client, folder / "front-proxy-ca.crt")


class _Running:
    """The processes, each ended when the stack unwinds."""

    def __init__(self, programs: Path, folder: Path, stack: ExitStack) -> None:
        self._programs = programs
        self._folder = folder
        self._stack = stack

    def etcd(self) -> str:
        """Start etcd; its URL. What it holds is not worth an fsync."""
        for _ in range(_ATTEMPTS):
            client, peer = (f"http://{LOCALHOST}:{_port()}" for _ in range(2))
            process = self._start(
                "etcd", "--data-dir", str(self._folder / "etcd"), "--unsafe-no-fsync", "--log-level=warn",
                f"--listen-client-urls={client}", f"--advertise-client-urls={client}",
                f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}",
                f"--initial-cluster=default={peer}",
            )  # fmt: skip
            if self._answers(process, f"{client}/health"):
                return client
        raise Ended(self._said("etcd"))

    def apiserver(self, etcd: str) -> str:
        """Start the API server; its URL."""
        for _ in range(_ATTEMPTS):
            port = _port()
            process = self._start("kube-apiserver", *self._flags(etcd, port))
            if self._answers(process, f"https://{LOCALHOST}:{port}/readyz"):
                return f"https://{LOCALHOST}:{port}"
        raise Ended(self._said("kube-apiserver"))

    def controllers(self, kubeconfig: Path) -> None:
        """Start the controller manager: namespaces, garbage, ServiceAccounts, quotas."""
        self._start(
            "kube-controller-manager", f"--kubeconfig={kubeconfig}", "--leader-elect=false", "--secure-port=0",
            "--use-service-account-credentials", "--concurrent-namespace-syncs=10",
            f"--service-account-private-key-file={self._folder / 'accounts.key'}",
            f"--root-ca-file={self._folder / 'ca.crt'}", "--kube-api-qps=200", "--kube-api-burst=400",
        )  # fmt: skip

    def _flags(self, etcd: str, port: int) -> list[str]:
        folder = self._folder
        return [
            f"--etcd-servers={etcd}", f"--bind-address={LOCALHOST}", f"--secure-port={port}",
            "--service-cluster-ip-range=10.96.0.0/16", "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction", "--allow-privileged",
            f"--tls-cert-file={folder / 'server.crt'}", f"--tls-private-key-file={folder / 'server.key'}",
            f"--client-ca-file={folder / 'ca.crt'}", f"--token-auth-file={folder / 'tokens.csv'}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-signing-key-file={folder / 'accounts.key'}",
            f"--service-account-key-file={folder / 'accounts.key'}",
            f"--requestheader-client-ca-file={folder / 'front-proxy-ca.crt'}",
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            "--requestheader-group-headers=X-Remote-Group", "--requestheader-username-headers=X-Remote-User",
            f"--proxy-client-cert-file={folder / 'front-proxy.crt'}",
            f"--proxy-client-key-file={folder / 'front-proxy.key'}",
            "--kubelet-preferred-address-types=InternalIP",
            f"--kubelet-client-certificate={folder / 'kubelet-client.crt'}",
            f"--kubelet-client-key={folder / 'kubelet-client.key'}",
        ]  # fmt: skip

    def _start(self, name: str, *flags: str) -> "subprocess.Popen[bytes]":
        with self._log(name).open("ab") as log:
            process = subprocess.Popen(
                [*_WITH_US, self._programs / name, *flags], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        self._stack.callback(_end, process)
        return process

    def _answers(self, process: "subprocess.Popen[bytes]", url: str) -> bool:
        """Wait until the program answers; False: it has ended, its port was taken meanwhile."""
        headers = {"Authorization": f"Bearer {ADMIN[0]}"}

        def ready() -> bool:
            if process.poll() is not None:
                return True
            try:
                return requests.get(url, headers=headers, verify=str(self._folder / "ca.crt"), timeout=10).ok
            except requests.RequestException:
                return False

        eventually(ready, READY_WITHIN)
        return process.poll() is None

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"

    def _said(self, name: str) -> str:
        return f"{name} does not stay up; {self._log(name)} ends with:\n{self._log(name).read_text()[-3000:]}"


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(5)  # a test's server has nothing to hand over: no need for its grace of a minute
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as listening:
        listening.bind((LOCALHOST, 0))
        return int(listening.getsockname()[1])


def _certificates(folder: Path) -> None:
    """An authority for the server, one for the aggregation layer, and the key that signs ServiceAccounts' tokens."""
    own, front = trustme.CA(), trustme.CA()
    own.cert_pem.write_to_path(str(folder / "ca.crt"))
    front.cert_pem.write_to_path(str(folder / "front-proxy-ca.crt"))
    server = own.issue_cert(LOCALHOST, "localhost", "kubernetes.default.svc", "10.96.0.1")
    proxy = front.issue_cert("front-proxy-client", common_name="front-proxy-client")
    nodes = own.issue_cert("apiserver", common_name="apiserver", organization_name="system:masters")
    for name, pair in (("server", server), ("front-proxy", proxy), ("kubelet-client", nodes)):
        pair.private_key_pem.write_to_path(str(folder / f"{name}.key"))
        for blob in pair.cert_chain_pems:
            blob.write_to_path(str(folder / f"{name}.crt"), append=True)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    (folder / "accounts.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )


def _write_tokens(path: Path, users: Sequence[User]) -> None:
    told = io.StringIO()
    lines = csv.writer(told, lineterminator="\n")
    lines.writerow(ADMIN)
    for number, user in enumerate(users):
        lines.writerow((user.token, user.name, f"user-{number}", ",".join(user.groups)))
    path.write_text(told.getvalue())
