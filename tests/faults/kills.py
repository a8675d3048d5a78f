"""kill -9 of an importer when its source has sent a certain byte, and what the next importer needs."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from diskyard.api.job import ImportJob
from tests.builders import eventually
from tests.imageserver import Exchange, FaultServer, fault_server
from tests.importer.conftest import Pod

_PIECE = 64 << 10
_REQUESTS = 10_000


@dataclass(frozen=True)
class Crash:
    """Importers that were killed, and one that went on to the end."""

    at: int
    """Bytes that the source had sent when the last one was killed."""
    again: int
    """Bytes that it sent more than once."""


@dataclass
class _Trap:
    """Kills its victim while the byte is on its way."""

    at: int
    ranged: bool = True
    victim: int = 0
    known: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    sent: int = 0
    serving: int = 0

    def serve(self, exchange: Exchange) -> None:
        with self._counted():
            self._serve(exchange)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        with self.lock:
            self.serving += 1
        try:
            yield
        finally:
            with self.lock:
                self.serving -= 1

    def _serve(self, exchange: Exchange) -> None:
        start, end, server = exchange.start, exchange.end, exchange.server
        if self.ranged:
            said = {"ETag": server.etag, "Content-Range": f"bytes {start}-{end - 1}/{len(server.body)}"}
            exchange.answer(206, said, length=end - start)
        else:
            start, end = 0, len(server.body)
            exchange.answer(200, {}, length=end)
        for place in range(start, end, _PIECE):
            piece = memoryview(server.body)[place : min(place + _PIECE, end)]
            exchange.handler.wfile.write(piece)
            self._passed(len(piece))

    def arm(self, victim: int, after: int) -> None:
        """Kill another one, `after` more bytes."""
        with self.lock:
            self.victim, self.at = victim, self.sent + after
        self.known.set()

    def _passed(self, count: int) -> None:
        with self.lock:
            before, self.sent = self.sent, self.sent + count
        if before < self.at <= self.sent:
            self.known.wait(30)
            self.known.clear()
            os.kill(self.victim, signal.SIGKILL)


@contextmanager
def trapped(body: bytes, at: int, *, ranged: bool = True) -> Iterator[tuple[FaultServer, _Trap]]:
    """A server, with ranges or without, that kills its client when it has sent byte `at`."""
    trap = _Trap(at, ranged)
    with fault_server(body, *[trap.serve] * _REQUESTS) as server:
        yield server, trap


def crash(pod: Pod, body: bytes, at: int, times: int = 1, *, ranged: bool = True) -> Crash:
    """Import until byte `at`, killed so many times on the way there, and on to the end. Fails where that fails."""
    with trapped(body, at // times, ranged=ranged) as (server, trap):
        job = ImportJob("http", server.url())
        for _ in range(times):
            process = pod.start(job)
            trap.arm(process.pid, at // times)
            process.communicate(timeout=120)
            assert process.returncode == -signal.SIGKILL
            assert not pod.disk.exists()
        eventually(lambda: not trap.serving)  # a piece may still go out to who was killed
        killed = trap.sent

        ended = pod.run(job)

        assert ended.code == 0, ended.log
    return Crash(killed, trap.sent - len(body))


def crash_local(image: Path, disk: Path, at: int) -> None:
    """The same from a file by the command line; `at`: bytes on the disk."""
    part = disk.with_name(f".{disk.name}.part")
    command = [sys.executable, "-m", "cli", "import", str(image), str(disk)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    eventually(lambda: disk.exists() or _written(part) >= at)
    process.kill()
    process.wait()
    subprocess.run(command if not disk.exists() else ["true"], check=True, capture_output=True)


def _written(part: Path) -> int:
    """Bytes of it on the disk; it may become the disk at any moment."""
    try:
        return part.stat().st_blocks * 512
    except FileNotFoundError:
        return 0
