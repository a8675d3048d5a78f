"""An upload server as its pod runs it: a process of its own, and a client that has the proxy's certificate."""

import contextlib
import http.client
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import requests

from diskyard.api.names import cdi, upload
from diskyard.api.upload import UploadJob
from diskyard.web import issue
from tests.builders import eventually

HOST = "cdi-upload-disk.default.svc"
TUS = {"Tus-Resumable": "1.0.0"}
BODY = {**TUS, "Content-Type": "application/offset+octet-stream"}


@dataclass
class Pod:
    """The volume, and the server while it runs."""

    folder: Path
    job: UploadJob
    session: requests.Session
    process: "subprocess.Popen[bytes] | None" = None
    env: dict[str, str] = field(default_factory=dict)

    @property
    def volume(self) -> Path:
        return self.folder / "volume"

    @property
    def disk(self) -> Path:
        return self.volume / "disk.img"

    @property
    def url(self) -> str:
        return f"https://{self.job.address}:{self.job.port}"

    def start(self) -> "Pod":
        """Run it, and wait until it answers."""
        env = {
            **os.environ,
            **self.job.to_env(),
            "PYTHONFAULTHANDLER": "1",
            upload.ENV_ADDRESS: self.job.address,
            upload.ENV_PORT: str(self.job.port),
            cdi.ENV_VOLUME_DIR: str(self.volume),
            cdi.ENV_TERMINATION_LOG: str(self.folder / "end"),
            **self.env,
        }
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([sys.executable, "-m", "uploadproxy.server"], env=env, stderr=log)
        eventually(self._answers, 60)
        return self

    def _answers(self) -> bool:
        assert self.process
        assert self.process.poll() is None, (self.folder / "log").read_text()
        with contextlib.suppress(requests.ConnectionError):
            return self.session.get(self.url + "/healthz", timeout=10).status_code == 200
        return False

    def kill(self, number: int = signal.SIGKILL) -> int:
        """End it by a signal; its exit code."""
        assert self.process
        self.process.send_signal(number)
        return self._waited()

    def ended(self) -> tuple[int, str]:
        """Wait for its end: exit code and termination message."""
        return self._waited(), (self.folder / "end").read_text()

    def _waited(self) -> int:
        """Its exit code; where it does not end, what its threads do."""
        assert self.process
        try:
            return self.process.wait(90)
        except subprocess.TimeoutExpired as error:
            self.process.send_signal(signal.SIGABRT)
            self.process.wait()
            raise AssertionError((self.folder / "log").read_text()) from error

    def post(self, path: str, body: Any, **headers: str) -> requests.Response:
        return self.session.post(self.url + path, data=body, headers=headers, timeout=60)

    def create(self, length: int, **headers: str) -> str:
        """A resumable upload: its URL."""
        answer = self.session.post(
            self.url + upload.UPLOADS,
            headers={**TUS, "Upload-Length": str(length), **headers},
            timeout=60,
        )
        assert answer.status_code == 201, answer.text
        return self.url + answer.headers["Location"]

    def patch(self, url: str, offset: int, body: Any, **headers: str) -> requests.Response:
        headers = {**BODY, "Upload-Offset": str(offset), **headers}
        return self.session.patch(url, data=body, headers=headers, timeout=60)

    def progress(self) -> Any:
        """What anybody in the cluster is told."""
        with requests.Session() as anybody:
            anybody.trust_env, anybody.verify = False, self.session.verify
            return anybody.get(self.url + "/progress", timeout=60).json()

    def offset(self, url: str) -> int:
        """What HEAD says."""
        answer = self.session.head(url, headers=TUS, timeout=60)
        assert answer.status_code == 200, answer.status_code
        return int(answer.headers["Upload-Offset"])

    def early(self, path: str, first: bytes, length: int) -> tuple[int, str]:
        """What is answered to a body of `length` bytes of which only the first are sent."""
        context = ssl.create_default_context(cafile=str(self.session.verify))
        context.load_cert_chain(*self.session.cert)
        connection = http.client.HTTPSConnection(self.job.address, self.job.port, timeout=60, context=context)
        with contextlib.closing(connection):
            connection.putrequest("POST", path)
            connection.putheader("Content-Length", str(length))
            connection.endheaders(first)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    def left(self) -> list[str]:
        """What lies in the volume."""
        return sorted(path.name for path in self.volume.iterdir())


def free_port() -> int:
    """A port that was free just now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def write_certificates(folder: Path, address: str) -> None:
    """A server's and a client's certificate, each from an authority of its own."""
    life = issue.Life(datetime.now(UTC), timedelta(days=1))
    servers, clients = issue.authority("servers", life), issue.authority("clients", life)
    for name, made in (
        ("server", issue.server(servers, (HOST, address), life)),
        ("client", issue.client(clients, upload.CLIENT_NAME, life)),
        ("other", issue.client(clients, "somebody.else", life)),
    ):
        (folder / name).mkdir()
        (folder / name / "tls.crt").write_bytes(made.certificate)
        (folder / name / "tls.key").write_bytes(made.key)
    (folder / "server" / "ca.crt").write_bytes(clients.certificate)
    (folder / "servers.crt").write_bytes(servers.certificate)


@contextlib.contextmanager
def upload_pod(folder: Path, **job: Any) -> Iterator[Pod]:
    """A volume with a server; nothing runs afterwards."""
    place = {"address": "127.0.0.1", "port": free_port(), "image_size": "64Mi", **job}
    write_certificates(folder, place["address"])
    (folder / "volume").mkdir()
    wanted = UploadJob(folder=str(folder / "server"), **place)
    with requests.Session() as session:
        session.trust_env = False
        session.verify = str(folder / "servers.crt")
        session.cert = (str(folder / "client" / "tls.crt"), str(folder / "client" / "tls.key"))
        pod = Pod(folder, wanted, session)
        try:
            yield pod
        finally:
            if pod.process and pod.process.poll() is None:
                pod.kill()


class Stalled:
    """A body that stops after so many bytes, until it is let go on."""

    def __init__(self, first: bytes, rest: bytes = b"") -> None:
        self._pieces = (first, rest)
        self.sent = threading.Event()
        self.go = threading.Event()

    def __len__(self) -> int:
        return sum(map(len, self._pieces))

    def __iter__(self) -> Iterator[bytes]:
        first, rest = self._pieces
        for start in range(0, len(first), 1 << 16):
            yield first[start : start + (1 << 16)]
        self.sent.set()
        self.go.wait(120)
        yield rest
