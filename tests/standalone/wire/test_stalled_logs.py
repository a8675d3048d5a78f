"""A reader of followed logs that takes nothing: it costs one place and a piece, and gives both up to who asks next."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import urllib3

from diskyard.api.meta import POD, Obj
from standalone.node.log import LogOptions
from standalone.wire.crowd import Most
from standalone.wire.logs import LIMIT
from tests import builders
from tests.builders import eventually
from tests.served import Yard, served
from tests.standalone.wire.conftest import Answer, Wire

PATH = "/api/v1/namespaces/default/pods/talks/log"


class Talk:
    """A container that never ends to talk; counts the pieces that were taken of it, and who still listens."""

    def __init__(self) -> None:
        self.taken = self.listening = 0
        self._lock = threading.Lock()

    def __call__(self, pod: Obj, options: LogOptions) -> Iterator[bytes]:
        with self._lock:
            self.listening += 1
        try:
            while options.follow:
                with self._lock:
                    self.taken += 1
                yield b"x" * (64 << 10)
            yield b"said\n"
        finally:
            with self._lock:
                self.listening -= 1


@pytest.fixture
def talk() -> Talk:
    return Talk()


@pytest.fixture
def wire(tmp_path: Path, talk: Talk) -> Iterator[Wire]:
    with served(tmp_path, talk, most=Most(paused=0.5)) as yard:
        yard.store.create(POD, builders.pod("talks"))
        pool = urllib3.PoolManager(ca_certs=str(yard.authority))
        yield Wire(yard, pool)
        pool.clear()


def stalled(yard: Yard, stack: ExitStack) -> socket.socket:
    """A reader that follows the log, and takes only the beginning of the answer."""
    where = urlsplit(yard.url)
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 10)
    plain.settimeout(60)
    plain.connect((where.hostname, where.port))
    known = ssl.create_default_context(cafile=str(yard.authority))
    secured = stack.enter_context(known.wrap_socket(plain, server_hostname=where.hostname))
    said = f"GET {PATH}?follow=true HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {yard.token}\r\n\r\n"
    secured.sendall(said.encode())
    assert secured.recv(12) == b"HTTP/1.1 200"
    return secured


def test_who_takes_nothing_costs_no_more_and_goes_for_who_asks(wire: Wire, talk: Talk) -> None:
    with ExitStack() as stack:
        for _ in range(LIMIT):
            stalled(wire.yard, stack)

        answer = eventually(lambda: _read(wire), 60)

        assert answer.raw == b"said\n"
        assert talk.taken < LIMIT * 500, "pieces of 64 KiB: what the kernel keeps of 16 connections, no more"
        eventually(lambda: talk.listening == LIMIT - 1, 60)
        stack.enter_context(stalled(wire.yard, stack))
    eventually(lambda: talk.listening == 0, 60)


def test_the_server_ends_though_nobody_reads(tmp_path: Path, talk: Talk) -> None:
    with ExitStack() as stack:
        with served(tmp_path, talk) as yard:
            yard.store.create(POD, builders.pod("talks"))
            reader = stalled(yard, stack)
        assert _ended(reader)
    eventually(lambda: talk.listening == 0, 60)


def _read(wire: Wire) -> Answer | None:
    """What is said to one who reads; None: every place is taken."""
    answer = wire.get(PATH)
    return answer if answer.status == 200 else None


def _ended(reader: socket.socket) -> bool:
    """Whether the connection ends, once what is on its way has been read."""
    with suppress(ConnectionResetError, ssl.SSLEOFError):
        while reader.recv(1 << 20):
            pass
    return True
