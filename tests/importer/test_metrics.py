"""The figures that an importer serves, and the connections of those who ask."""

import socket
import ssl
import threading
import warnings
from collections.abc import Iterator

import pytest

from importer import metrics
from importer.report import Report

LOCALHOST = "127.0.0.1"


@pytest.fixture
def port() -> Iterator[int]:
    handler = metrics._handler(Report("uid"), metrics._context(LOCALHOST))
    with metrics._Server((LOCALHOST, 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def asked(port: int) -> bytes:
    """All that comes until the server has ended the connection."""
    known = ssl._create_unverified_context()
    with socket.create_connection((LOCALHOST, port), 60) as link, known.wrap_socket(link) as safe:
        safe.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        return b"".join(iter(lambda: safe.recv(1 << 16), b""))


def test_a_connection_is_closed_with_its_answer(port: int) -> None:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        answer = asked(port)

    assert answer.startswith(b"HTTP/1.0 200 OK")
    assert [text for one in said if f"laddr=('{LOCALHOST}', {port})" in (text := str(one.message))] == []
