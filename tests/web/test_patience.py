"""Clients that say nothing, or too slowly: they are sent away, and others are answered meanwhile."""

import asyncio
import socket
import ssl
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web

from diskyard.web import tls
from diskyard.web.patience import Limits
from diskyard.web.server import Place, Running, start
from tests.builders import eventually
from tests.web.test_server import LOCALHOST, said

QUICK = Limits(first=0.3, later=0.3, silent=1000, period=0.05)


async def hello(_: web.Request) -> web.Response:
    return web.Response(text="hello")


async def patient(request: web.Request) -> web.StreamResponse:
    """Says something for longer than silence is borne."""
    answer = web.StreamResponse()
    await answer.prepare(request)
    for _ in range(4):
        await asyncio.sleep(0.2)
        await answer.write(b".")
    await answer.write_eof()
    return answer


def served(limits: Limits, *also: str) -> Running:
    app = web.Application()
    app.router.add_get("/", hello)
    app.router.add_get("/patient", patient)
    return start(app, Place(LOCALHOST, 0, also=also, limits=limits))


@pytest.fixture
def running() -> Iterator[Running]:
    found = served(QUICK)
    yield found
    found.stop()


def ended(connection: socket.socket) -> bool:
    """Whether the server has let go of the connection."""
    connection.settimeout(0.01)
    try:
        return connection.recv(4096) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


@pytest.mark.parametrize("first_words", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: "])
def test_a_connection_that_never_asks_is_ended(running: Running, first_words: bytes) -> None:
    with socket.create_connection((LOCALHOST, running.port)) as silent:
        silent.sendall(first_words)

        assert eventually(lambda: ended(silent))
        assert said(running) == "hello"


def test_a_request_that_dribbles_in_is_ended_all_the_same(running: Running) -> None:
    with socket.create_connection((LOCALHOST, running.port)) as slow:
        slow.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")
        begun = time.monotonic()

        def dribbled_out() -> bool:
            with suppress(ConnectionError):
                slow.sendall(b"x")
                return ended(slow)
            return True

        assert eventually(dribbled_out)
        assert time.monotonic() - begun < 30


def test_an_answer_may_take_longer_than_silence_is_borne(running: Running) -> None:
    with socket.create_connection((LOCALHOST, running.port)) as client:
        client.sendall(b"GET /patient HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        client.settimeout(60)
        answer = b""
        while piece := client.recv(4096):
            answer += piece

    assert answer.count(b"\r\n.\r\n") == 4


def test_the_longest_silent_go_when_there_are_too_many() -> None:
    running = served(Limits(silent=50, period=0.05))
    with ExitStack() as stack:
        stack.callback(running.stop)
        silent = [
            stack.enter_context(socket.create_connection((LOCALHOST, running.port))) for _ in range(400)
        ]

        assert said(running) == "hello"
        eventually(lambda: sum(map(ended, silent)) >= 350)
        assert said(running) == "hello"
        assert not ended(silent[-1])


def version_6() -> tuple[str, ...]:
    """`::1`, on machines that have it."""
    with suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        return ("::1",)
    return ()


def test_one_port_is_served_on_several_addresses() -> None:
    further = ("127.0.0.2", *version_6())
    running = served(Limits(), *further)
    try:
        for host in (LOCALHOST, *further):
            with socket.create_connection((host, running.port)) as client:
                client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                assert client.recv(4096).startswith(b"HTTP/1.1 200")
        assert running.at("::1") == f"http://[::1]:{running.port}"
    finally:
        running.stop()


def test_strangers_who_never_greet_do_not_keep_others_out(tmp_path: Path) -> None:
    authority = tls.authority(tmp_path, "test", datetime.now(UTC))
    pair = tls.server(authority, tmp_path, (LOCALHOST,), datetime.now(UTC))
    app = web.Application()
    app.router.add_get("/", hello)
    running = start(app, Place(LOCALHOST, 0, tls.context(pair), limits=Limits(handshakes=10)))
    with ExitStack() as stack:
        stack.callback(running.stop)
        strangers = [
            stack.enter_context(socket.create_connection((LOCALHOST, running.port))) for _ in range(100)
        ]
        trusted = ssl.create_default_context(cafile=str(authority.certificate))

        with urllib.request.urlopen(running.url, timeout=60, context=trusted) as answer:
            assert answer.read() == b"hello"
        eventually(lambda: sum(map(ended, strangers)) >= 90)
