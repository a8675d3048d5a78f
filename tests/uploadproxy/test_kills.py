"""All on an upload's way is killed at random bytes, and the line is cut: the client goes on with the same bytes.

The client, the proxy and the upload server are processes; the API server is a store behind its wire.
"""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
import trustme
from tusclient.client import TusClient

from diskyard.api.meta import CLAIM, Key
from diskyard.api.names import cdi, upload
from tests.builders import eventually
from tests.served import served
from tests.uploadproxy.front import CLAIM_NAME, Front, front
from tests.uploadproxy.images import MIB, holds, noise
from tests.uploadproxy.line import Line
from tests.uploadproxy.pod import free_port

RAW = noise(32 * MIB)


@dataclass
class Way:
    """From a client's line to the disk."""

    front: Front
    folder: Path
    kubeconfig: Path
    line: Line
    port: int
    proxy: "subprocess.Popen[bytes] | None" = None

    @property
    def image(self) -> Path:
        return self.folder / "Win10.iso"

    def start_proxy(self) -> None:
        """Run it, and wait until it answers."""
        env = {
            **os.environ, "KUBECONFIG": str(self.kubeconfig), upload.ENV_ADDRESS: "127.0.0.1",
            upload.ENV_PORT: str(self.port), upload.ENV_CERT: str(self.folder / "proxy.crt"),
            upload.ENV_KEY: str(self.folder / "proxy.key"),
        }  # fmt: skip
        with (self.folder / "proxy.log").open("ab") as log:
            self.proxy = subprocess.Popen([sys.executable, "-m", "uploadproxy"], env=env, stderr=log)
        eventually(self._answers, 90)

    def _answers(self) -> bool:
        with suppress(requests.ConnectionError):
            return self._asked() == 200
        return False

    def _asked(self) -> int:
        url = f"https://127.0.0.1:{self.port}/healthz"
        return requests.get(url, verify=str(self.folder / "ca.crt"), timeout=30).status_code

    def kill_proxy(self) -> None:
        """kill -9, as often as it runs."""
        if self.proxy and self.proxy.poll() is None:
            self.proxy.kill()
            self.proxy.wait()

    def break_proxy(self) -> None:
        """kill -9, and another one in its place."""
        self.kill_proxy()
        self.start_proxy()

    def break_server(self) -> None:
        """The same of the upload server."""
        self.front.pod.kill()
        self.front.pod.start()

    def complete(self) -> bool:
        """Whether the disk is there and right, and nothing else."""
        assert self.front.pod.ended()[0] == 0
        return holds(self.front.pod.disk, RAW)


@pytest.fixture
def way(tmp_path: Path) -> Iterator[Way]:
    issued = trustme.CA()
    pair = issued.issue_cert("127.0.0.1")
    pair.private_key_pem.write_to_path(tmp_path / "proxy.key")
    pair.cert_chain_pems[0].write_to_path(tmp_path / "proxy.crt")
    issued.cert_pem.write_to_path(tmp_path / "ca.crt")
    (tmp_path / "Win10.iso").write_bytes(RAW)
    (tmp_path / "pod").mkdir()
    with ExitStack() as stack:
        yard = stack.enter_context(served(tmp_path / "api"))
        found = stack.enter_context(front(yard.store, tmp_path / "pod"))
        port = free_port()
        line = stack.enter_context(closing(Line("127.0.0.1", port)))
        made = Way(found, tmp_path, yard.kubeconfig, line, port)
        stack.callback(made.kill_proxy)
        made.start_proxy()
        yield made


def anywhere(*events: Callable[[], object]) -> list[tuple[int, Callable[[], object]]]:
    """Each of them once, in any order, one after the other while the image goes up."""
    places = random.Random()
    part = 24 * MIB // len(events)
    return [
        (part * number + places.randrange(1, part), event)
        for number, event in enumerate(places.sample(events, len(events)))
    ]


def test_the_command_goes_on_by_itself_whatever_breaks_on_the_way(way: Way) -> None:
    places = anywhere(way.line.cut, way.break_proxy, way.break_server)
    for count, event in places:
        way.line.at(count, event)

    code, said = ended(way, command(way))

    assert code == 0, said
    assert "going on at" in said
    assert way.complete()
    assert way.line.passed < len(RAW) + sum(count for count, _ in places) + len(RAW) // 2, (
        "more than was lost"
    )


def test_the_same_command_goes_on_after_kill_9(way: Way) -> None:
    first = command(way)
    way.line.at(random.Random().randrange(MIB, 24 * MIB), first.kill)
    assert first.wait(300) == -signal.SIGKILL
    sent = way.line.passed

    code, said = ended(way, command(way))

    assert code == 0, said
    assert way.complete()
    assert way.line.passed - sent < len(RAW) + MIB, "the second began elsewhere than where the first got to"


def test_tuspy_goes_on_by_itself_whatever_breaks_on_the_way(
    way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(way.folder / "ca.crt"))
    for count, event in anywhere(way.line.cut, way.break_proxy, way.break_server):
        way.line.at(count, event)
    client = TusClient(f"{way.line.url}/v1/uploads", headers=way.front.bearer())

    with way.image.open("rb") as file:
        client.uploader(file_stream=file, chunk_size=3 * MIB, retries=30, retry_delay=1).upload()

    assert way.complete()
    assert way.line.passed < 2 * len(RAW)


def command(way: Way) -> "subprocess.Popen[bytes]":
    """`diskyard image-upload` into the claim, begun."""
    with (way.folder / "said").open("wb") as said:
        return subprocess.Popen(
            [sys.executable, "-m", "cli", "image-upload", "pvc", CLAIM_NAME, f"--image-path={way.image}",
             f"--uploadproxy-url={way.line.url}", "--insecure"],
            env={**os.environ, "KUBECONFIG": str(way.kubeconfig)}, stderr=said,
        )  # fmt: skip


def ended(way: Way, running: "subprocess.Popen[bytes]") -> tuple[int, str]:
    """Its exit code and what it said; a claim whose server has ended is told to be filled, as by its controller."""

    def over() -> bool:
        if (way.front.pod.folder / "end").exists():
            said = {"metadata": {"annotations": {cdi.POD_PHASE: "Succeeded"}}}
            way.front.store.patch(CLAIM, Key(CLAIM_NAME, "default"), said)
        return running.poll() is not None

    eventually(over, 300)
    return running.returncode, (way.folder / "said").read_text()
