"""Servers on threads of their own: where they are, when they end."""

import socket
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
from aiohttp import web

from diskyard.errors import Busy, InvalidRequest
from diskyard.web.bridge import call
from diskyard.web.server import Place, Running, start

LOCALHOST = "127.0.0.1"


def application() -> web.Application:
    async def name_of_thread(_: web.Request) -> web.Response:
        return web.Response(text=await call(lambda: threading.current_thread().name))

    app = web.Application()
    app.router.add_get("/", name_of_thread)
    return app


def said(running: Running) -> str:
    with urllib.request.urlopen(running.url, timeout=60) as answer:
        return str(answer.read().decode())


def test_a_server_answers_where_it_says_that_it_is() -> None:
    running = start(application(), Place(LOCALHOST))

    try:
        assert running.port > 0
        assert said(running).startswith("call")
    finally:
        running.stop()


def test_who_sends_what_is_no_http_is_told_and_fills_no_log(caplog: pytest.LogCaptureFixture) -> None:
    running = start(application(), Place(LOCALHOST))

    try:
        with socket.create_connection((LOCALHOST, running.port), 60) as stranger:
            stranger.sendall(b"\x00\xff nonsense\r\n\r\n")
            answer = stranger.recv(1 << 16)
    finally:
        running.stop()

    assert b"400 Bad Request" in answer
    assert not caplog.records


def test_a_taken_port_is_named_with_the_way_out() -> None:
    running = start(application(), Place(LOCALHOST))

    try:
        with pytest.raises(Busy, match=rf"port {running.port} of {LOCALHOST} is taken .* choose another"):
            start(application(), Place(LOCALHOST, running.port))
    finally:
        running.stop()


def test_an_address_that_is_not_ours_is_named() -> None:
    with pytest.raises(InvalidRequest, match=r"cannot listen on 192\.0\.2\.1"):
        start(application(), Place("192.0.2.1", 0))


def test_stopping_twice_is_as_once_and_frees_the_port() -> None:
    running = start(application(), Place(LOCALHOST))

    running.stop()
    running.stop()

    start(application(), Place(LOCALHOST, running.port)).stop()


def test_a_request_that_runs_is_answered_before_the_server_ends() -> None:
    entered, leave = threading.Event(), threading.Event()

    async def slow(_: web.Request) -> web.Response:
        entered.set()
        await call(leave.wait, 10)
        return web.Response(text="done")

    app = web.Application()
    app.router.add_get("/", slow)
    running = start(app, Place(LOCALHOST))

    with ThreadPoolExecutor(2) as pool:
        answer = pool.submit(said, running)
        assert entered.wait(10)
        stopped = pool.submit(running.stop, 10)
        leave.set()
        stopped.result(10)

    assert answer.result() == "done"


def test_calls_that_wait_for_another_server_of_the_process_leave_it_its_threads() -> None:
    inner, here = start(application(), Place(LOCALHOST)), threading.Barrier(32)

    def both() -> str:
        here.wait(60)  # as many as there are threads wait for the other server at once
        return said(inner)

    async def asked(_: web.Request) -> web.Response:
        return web.Response(text=await call(both))

    app = web.Application()
    app.router.add_get("/", asked)
    outer = start(app, Place(LOCALHOST))
    with ThreadPoolExecutor(32) as clients:
        answers = list(clients.map(lambda _: said(outer), range(32)))
    outer.stop()
    inner.stop()

    assert all(answer.startswith("call") for answer in answers)
