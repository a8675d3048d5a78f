"""A cloner and an importer as processes of their own, as pods run them, with a counting wire between them."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from diskyard.api.job import ImportJob, TerminationMessage
from diskyard.api.names import cdi, clone
from diskyard.web import issue
from diskyard.web.issue import Life
from tests.builders import eventually


def keys(folder: Path) -> Path:
    """The keys of one copy."""
    life = Life(datetime.now(UTC), timedelta(hours=1))
    authority = issue.authority("clone", life)
    folder.mkdir(exist_ok=True)
    for pair, names in (
        (issue.server(authority, [clone.HOST], life), clone.SERVER_ENTRIES),
        (issue.client(authority, clone.CLIENT, life), clone.CLIENT_ENTRIES),
    ):
        (folder / names[0]).write_bytes(pair.certificate)
        (folder / names[1]).write_bytes(pair.key)
    (folder / clone.AUTHORITY_ENTRY).write_bytes(authority.certificate)
    return folder


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@dataclass
class Counting:
    """Forwards connections to a port and counts what comes back; `at` a byte, calls `trap` once."""

    port: int
    at: int = 1 << 60
    trap: Callable[[], object] = lambda: None
    received: int = 0
    listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))
    lock: threading.Lock = field(default_factory=threading.Lock)
    open: list[socket.socket] = field(default_factory=list)

    def start(self) -> None:
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.listener.getsockname()[1]}"

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                threading.Thread(target=self._link, args=(near,), daemon=True).start()

    def _link(self, near: socket.socket) -> None:
        with near:
            try:
                far = socket.create_connection(("127.0.0.1", self.port), timeout=60)
            except OSError:
                return
            with far:
                self.open += [near, far]
                threading.Thread(target=self._pass, args=(near, far, False), daemon=True).start()
                self._pass(far, near, True)

    def _pass(self, source: socket.socket, target: socket.socket, counted: bool) -> None:
        with suppress(OSError):
            while part := source.recv(1 << 18):
                if counted:
                    self._counted(len(part))
                target.sendall(part)
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _counted(self, count: int) -> None:
        with self.lock:
            before, self.received = self.received, self.received + count
            if before < self.at <= self.received:
                self.trap()

    def close(self) -> None:
        self.listener.close()


@dataclass
class Copying:
    """Both ends of one copy."""

    folder: Path
    wire: Counting
    processes: "list[subprocess.Popen[str]]" = field(default_factory=list)

    def cloner(self, **places: Path) -> "subprocess.Popen[str]":
        """Serve that volume; ready when this returns."""
        env = {
            cdi.ENV_VOLUME_DIR: str(places.get("volume", self.folder / "nothing")),
            cdi.ENV_BLOCK_DEVICE: str(places.get("device", self.folder / "nothing")),
            cdi.ENV_POD_IP: "127.0.0.1",
            cdi.ENV_METRICS_PORT: str(self.wire.port),
        }
        process = self._start("cloner", env)
        eventually(self._listens, 60)
        return process

    def importer(self, content: str = "kubevirt", **places: Path) -> "subprocess.Popen[str]":
        """Fill that volume from the cloner."""
        (self.folder / "scratch").mkdir(exist_ok=True)
        job = ImportJob(clone.SOURCE, f"clone://{self.wire.address}/uid", content_type=content)
        env = {
            **job.to_env(),
            cdi.ENV_VOLUME_DIR: str(places.get("volume", self.folder / "nothing")),
            cdi.ENV_BLOCK_DEVICE: str(places.get("device", self.folder / "nothing")),
            cdi.ENV_SCRATCH_DIR: str(self.folder / "scratch"),
            cdi.ENV_TERMINATION_LOG: str(self.folder / "end"),
        }
        return self._start("importer", env)

    def copied(self, content: str = "kubevirt", **places: Path) -> TerminationMessage:
        """What an importer says that has come to its end."""
        process = self.importer(content, **places)
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
        return TerminationMessage.from_text((self.folder / "end").read_text())

    def _start(self, program: str, env: dict[str, str]) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-m", f"{program}"],
            env={**os.environ, clone.ENV_KEYS: str(self.folder / "keys"), **env},
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.processes.append(process)
        return process

    def _listens(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.wire.port), timeout=5):
            return True
        return False


def kill(process: "subprocess.Popen[str]") -> None:
    process.send_signal(signal.SIGKILL)
    process.wait(30)


@pytest.fixture
def copying(tmp_path: Path) -> Iterator[Copying]:
    keys(tmp_path / "keys")
    wire = Counting(free_port())
    wire.start()
    found = Copying(tmp_path, wire)
    try:
        yield found
    finally:
        wire.close()
        for process in found.processes:
            process.kill()
            process.communicate()
