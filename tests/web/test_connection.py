"""Connections that threads borrow: what a thread reads is what was sent, and nothing is left hanging."""

import asyncio
import gc
import hashlib
import os
import socket
import ssl
import threading
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import requests
import trustme
from aiohttp import web

from diskyard.web import connection, tls
from diskyard.web.bridge import call, lasting
from diskyard.web.channel import Channel
from diskyard.web.connection import borrowed
from diskyard.web.server import Place, Running, start

LOCALHOST = "127.0.0.1"
PATIENT, IMPATIENT = 120.0, 0.5


def summed(first: bytes, channel: Channel) -> str:
    digest, buf = hashlib.sha256(first), memoryview(bytearray(300_000))
    while count := channel.readinto(buf):
        digest.update(buf[:count])
    return digest.hexdigest()


async def take(request: web.Request) -> web.StreamResponse:
    """Answers with the body's digest, and says who has read it."""
    with borrowed(request, float(request.query.get("idle", PATIENT))) as loan:
        if loan is None:
            return web.Response(text=f"loop {hashlib.sha256(await request.read()).hexdigest()}")
        try:
            found = await lasting(partial(summed, loan.first, loan.channel), loan.channel.cancel)
        except TimeoutError as error:
            return web.Response(status=408, text=str(error))
        return web.Response(text=f"thread {found}")


async def refuse(request: web.Request) -> web.StreamResponse:
    with borrowed(request, PATIENT) as loan:
        return web.Response(status=400, text="thread" if loan else "loop")


async def leave(request: web.Request) -> web.StreamResponse:
    """Answers a client that does not read, and has the connection closed with bytes still to be sent."""
    answer, transport = web.StreamResponse(), request.transport
    await answer.prepare(request)
    while transport and not transport.get_write_buffer_size():
        await answer.write(bytes(60_000))
    request.protocol.force_close()
    return answer


@pytest.fixture(params=["plain", "tls"])
def running(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Running]:
    app = web.Application(client_max_size=1 << 30)
    app.router.add_post("/", take)
    app.router.add_post("/refuse", refuse)
    app.router.add_post("/leave", leave)
    app.on_response_prepare.append(connection.close_after)
    context = None
    if request.param == "tls":
        authority = trustme.CA()
        issued = authority.issue_cert(LOCALHOST)
        authority.cert_pem.write_to_path(tmp_path / "ca.crt")
        issued.cert_chain_pems[0].write_to_path(tmp_path / "tls.crt")
        issued.private_key_pem.write_to_path(tmp_path / "tls.key")
        context = tls.context(tls.Pair(tmp_path / "tls.crt", tmp_path / "tls.key"))
    found = start(app, Place(LOCALHOST, tls=context, lends=True))
    yield found
    found.stop()


@pytest.fixture
def client(tmp_path: Path) -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        session.verify = str(tmp_path / "ca.crt")
        yield session


def test_a_thread_reads_a_large_body_as_it_was_sent(running: Running, client: requests.Session) -> None:
    body = os.urandom(9_000_001)

    answers = [client.post(running.url, data=body, timeout=60) for _ in range(2)]

    expected = f"thread {hashlib.sha256(body).hexdigest()}"
    assert [each.text for each in answers] == [expected] * 2
    assert answers[0].headers["Connection"] == "close"


def test_small_and_chunked_bodies_come_as_ever(running: Running, client: requests.Session) -> None:
    body = os.urandom(5_000_000)

    small = client.post(running.url, data=body[:100_000], timeout=60)
    chunked = client.post(running.url, data=iter([body]), timeout=60)

    assert small.text == f"loop {hashlib.sha256(body[:100_000]).hexdigest()}"
    assert chunked.text == f"loop {hashlib.sha256(body).hexdigest()}"
    assert "Connection" not in small.headers


def test_who_is_refused_can_read_why(running: Running, client: requests.Session) -> None:
    answer = client.post(running.url + "/refuse", data=bytes(6_000_000), timeout=60)

    assert (answer.status_code, answer.text) == (400, "thread")


def begun(running: Running, folder: Path, idle: float, path: str = "/") -> socket.socket:
    """A connection on which a part of a large body has been sent."""
    sock = socket.create_connection((LOCALHOST, running.port), 60)
    if running.url.startswith("https"):
        context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
        sock = context.wrap_socket(sock, server_hostname=LOCALHOST)
    head = f"POST {path}?idle={idle} HTTP/1.1\r\nHost: x\r\nContent-Length: 50000000\r\n\r\n"
    sock.sendall(head.encode() + bytes(1_000_000))
    return sock


def test_who_falls_silent_is_given_up(running: Running, tmp_path: Path) -> None:
    with begun(running, tmp_path, IMPATIENT) as sock:
        answer = sock.recv(4096)

    assert answer.startswith(b"HTTP/1.1 408 ")


def test_a_server_that_stops_waits_for_nobody(running: Running, tmp_path: Path) -> None:
    with begun(running, tmp_path, PATIENT) as sock:
        sending = threading.Thread(target=send_on, args=(sock,))
        sending.start()

        running.stop(0.1)

        sending.join(60)
        assert not sending.is_alive()


def test_what_aiohttp_has_let_go_of_is_closed_with_its_server(running: Running, tmp_path: Path) -> None:
    with begun(running, tmp_path, PATIENT, "/leave") as sock:
        sock.recv(1)
        gc.collect()
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")

            running.stop(0.1)

            gc.collect()
        left = [str(each.message) for each in seen if each.category is ResourceWarning]
    assert left == []


def test_a_thread_is_waited_for_however_often_its_caller_is_cancelled() -> None:
    begun, told, go = (threading.Event() for _ in range(3))

    def work() -> None:
        begun.set()
        go.wait(60)

    async def cancelled_twice() -> bool:
        task = asyncio.create_task(lasting(work, told.set))
        await call(begun.wait, 60)
        task.cancel()
        await call(told.wait, 60)
        task.cancel()
        early, _ = await asyncio.wait({task}, timeout=0.1)
        go.set()
        await asyncio.wait({task})
        return task.cancelled() and not early

    assert asyncio.run(cancelled_twice())


def send_on(sock: socket.socket) -> None:
    """Send small pieces until the other side is gone."""
    try:
        while True:
            sock.sendall(bytes(1000))
    except OSError:
        return


def test_many_threads_read_at_once(running: Running, tmp_path: Path) -> None:
    body = os.urandom(5_000_000)
    found: list[str] = []

    def send() -> None:
        with requests.Session() as session:
            session.trust_env, session.verify = False, str(tmp_path / "ca.crt")
            found.append(session.post(running.url, data=body, timeout=60).text)

    threads = [threading.Thread(target=send) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert found == [f"thread {hashlib.sha256(body).hexdigest()}"] * 16
