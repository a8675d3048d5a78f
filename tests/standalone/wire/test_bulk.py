"""Answers that are large, and clients that do not read them."""

import socket
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from aiohttp import web

from diskyard.errors import TooManyRequests
from diskyard.web.server import Place, Running, start
from standalone.wire.answer import refusal
from standalone.wire.bulk import Bulk
from tests.builders import eventually

LOCALHOST = "127.0.0.1"
LARGE = b'"' + b"x" * (32 << 20) + b'"'


@contextmanager
def served(bulk: Bulk) -> Iterator[Running]:
    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            return await bulk.answer(request, LARGE)
        except TooManyRequests as error:
            return refusal(error)

    app = web.Application()
    app.router.add_get("/", answer)
    running = start(app, Place(LOCALHOST))
    try:
        yield running
    finally:
        running.stop()


@contextmanager
def asking(running: Running) -> Iterator[socket.socket]:
    """A client that asks, and reads nothing by itself."""
    with socket.create_connection((LOCALHOST, running.port), 60) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        yield client


def status(running: Running) -> bytes:
    with asking(running) as client:
        return client.recv(12)


def test_all_of_it_arrives() -> None:
    with (
        served(Bulk()) as running,
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(running.url, timeout=60) as answer,
    ):
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.read() == LARGE


def test_while_one_is_not_read_the_next_is_asked_to_come_back() -> None:
    with served(Bulk(most=40 << 20)) as running:
        with asking(running) as slow:
            assert slow.recv(12) == b"HTTP/1.1 200"
            assert status(running) == b"HTTP/1.1 429"
        assert eventually(lambda: status(running) == b"HTTP/1.1 200", 60)


def test_who_does_not_read_in_time_is_cut_off() -> None:
    with served(Bulk(most=40 << 20, within=1)) as running, asking(running) as slow:
        assert slow.recv(12) == b"HTTP/1.1 200"

        eventually(lambda: status(running) == b"HTTP/1.1 200", 60)

        assert received(slow) < len(LARGE)


def received(client: socket.socket) -> int:
    """Bytes until the other side has ended the connection."""
    size = 0
    with suppress(ConnectionResetError):
        while piece := client.recv(1 << 20):
            size += len(piece)
    return size
