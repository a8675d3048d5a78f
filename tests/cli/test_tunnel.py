"""Ports of pods through an API server: what a node of ours gives away, as the command line takes it."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from aiohttp import web

from cli.tunnel import Tunnel
from diskyard.api.meta import POD, Key
from diskyard.errors import ApiError, NotFound
from diskyard.kube.http import HttpClient, connect
from diskyard.web import server
from diskyard.web.server import Running
from standalone.access.tokens import write_kubeconfig
from standalone.store.objects import Objects
from standalone.wire import tunnels
from tests import builders
from tests.builders import eventually

LOCALHOST = "127.0.0.1"


@pytest.fixture
def node(store: Objects) -> Iterator[Running]:
    """What serves the ports of the pod `one`, which is this process."""
    store.create(POD, builders.pod("one"))
    store.patch(POD, Key("one", "default"), {"status": {"podIP": LOCALHOST}}, "status")

    async def ports(request: web.Request) -> web.StreamResponse:
        try:
            return await tunnels.forwarded(request, store, Key(request.match_info["pod"], "default"))
        except ApiError as error:
            return web.Response(status=error.code, text=str(error))

    app = web.Application()
    app.router.add_get("/{pod}", ports)
    running = server.start(app, server.Place(LOCALHOST))
    yield running
    running.stop()


@pytest.fixture
def api(node: Running, tmp_path: Path) -> Iterator[HttpClient]:
    (tmp_path / "ca.crt").touch()
    write_kubeconfig(tmp_path / "kubeconfig", node.url, tmp_path / "ca.crt", "token")
    with closing(connect(tmp_path / "kubeconfig")) as found:
        yield found


class Echo:
    """Says what it hears, as long as a connection lasts."""

    def __init__(self) -> None:
        self.listening = socket.create_server((LOCALHOST, 0))
        self.port = self.listening.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                came, _ = self.listening.accept()
            except OSError:
                return
            threading.Thread(target=echoed, args=(came,), daemon=True).start()

    def close(self) -> None:
        self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()


def echoed(came: socket.socket) -> None:
    with came:
        while piece := came.recv(1 << 16):
            came.sendall(piece)


def said_back(port: int, words: bytes) -> bytes:
    """What comes back of what is sent, while it is sent."""
    with socket.create_connection((LOCALHOST, port), 60) as sock:
        sending = threading.Thread(target=sock.sendall, args=(words,))
        sending.start()
        found = bytearray()
        while len(found) < len(words) and (piece := sock.recv(1 << 16)):
            found += piece
        sending.join(60)
    return bytes(found)


def test_bytes_go_both_ways_in_several_connections(api: HttpClient) -> None:
    words = [os.urandom(3_000_001) for _ in range(3)]
    found: dict[int, bytes] = {}
    with closing(Echo()) as echo, closing(Tunnel(api, lambda: f"/one?port={echo.port}")) as tunnel:
        threads = [
            threading.Thread(target=lambda at: found.update({at: said_back(tunnel.port, words[at])}), args=(number,))
            for number in range(3)
        ]  # fmt: skip
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)

    same = [found[number] for number in range(3)] == words
    assert same


def ended(tunnel: Tunnel) -> bool:
    """Whether a connection ends without a word."""
    with socket.create_connection((LOCALHOST, tunnel.port), 60) as sock:
        return sock.recv(1) == b""


def test_a_port_at_which_nobody_listens_is_told(api: HttpClient) -> None:
    with closing(Tunnel(api, lambda: "/one?port=1")) as tunnel:
        assert ended(tunnel)
        assert "error forwarding port 1 to pod default/one" in tunnel.failure


def test_a_pod_that_is_not_there_is_told(api: HttpClient) -> None:
    with closing(Tunnel(api, lambda: "/two?port=80")) as tunnel:
        assert ended(tunnel)
        assert 'pods "two" not found' in tunnel.failure


def test_who_cannot_say_where_to_is_told(api: HttpClient) -> None:
    def nowhere() -> str:
        raise NotFound("no pod is ready")

    with closing(Tunnel(api, nowhere)) as tunnel:
        assert ended(tunnel)
        assert tunnel.failure == "no pod is ready"


def test_closing_it_ends_what_is_under_way(api: HttpClient) -> None:
    with closing(Echo()) as echo:
        tunnel = Tunnel(api, lambda: f"/one?port={echo.port}")
        with socket.create_connection((LOCALHOST, tunnel.port), 60) as sock:
            sock.sendall(b"x")
            assert sock.recv(1) == b"x"
            tunnel.close()
            assert sock.recv(1) == b""
        eventually(lambda: not [each for each in threading.enumerate() if each.name == "tunnel"], 60)


@pytest.mark.parametrize(("query", "why"), [
    ("", "port: expected 1 to 16, found 0"),
    ("?port=0", "from 1 to 65535"),
    ("?port=http", "from 1 to 65535"),
    ("?port=1,99999", "from 1 to 65535"),
])  # fmt: skip
def test_ports_are_numbers(api: HttpClient, query: str, why: str) -> None:
    with pytest.raises(ApiError, match=why):
        api.stream(f"/one{query}", "v4.channel.k8s.io")


def test_kubectls_own_way_is_refused_with_what_is_spoken(api: HttpClient) -> None:
    with pytest.raises(ApiError, match=r"over WebSockets alone .* kubectl asks over SPDY"):
        api.text("/one?port=80")
