"""A server with more to do than it takes on at once."""

import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from socket import create_connection
from urllib.parse import urlsplit

import pytest
import urllib3

from standalone.wire.crowd import Most
from tests.builders import eventually
from tests.served import Yard, served
from tests.standalone.wire.conftest import Answer, Wire

MAPS = "/api/v1/namespaces/default/configmaps"


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Wire]:
    with served(tmp_path, most=Most(reading=8, writing=2)) as yard:
        pool = urllib3.PoolManager(ca_certs=str(yard.authority))
        yield Wire(yard, pool)
        pool.clear()


def hold(yard: Yard, stack: ExitStack) -> None:
    """A writer that never sends the body that it has announced."""
    where = urlsplit(yard.url)
    plain = create_connection((where.hostname, where.port))
    known = ssl.create_default_context(cafile=str(yard.authority))
    secured = stack.enter_context(known.wrap_socket(plain, server_hostname=where.hostname))
    said = (
        f"POST {MAPS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {yard.token}\r\nContent-Length: 9\r\n\r\n"
    )
    secured.sendall(said.encode())


def test_one_writer_too_many_is_asked_to_come_back(small: Wire) -> None:
    def refused() -> Answer | None:
        answer = small.send("POST", MAPS, {"metadata": {"generateName": "a-"}})
        return answer if answer.status == 429 else None

    with ExitStack() as stack:
        hold(small.yard, stack)
        hold(small.yard, stack)
        answer = eventually(refused, 60)
        reading = small.get(MAPS)

    assert answer.headers["Retry-After"] == "1"
    assert answer.obj["reason"] == "TooManyRequests"
    assert reading.status == 200


def test_writers_come_in_again_when_others_have_gone(small: Wire) -> None:
    with ExitStack() as stack:
        hold(small.yard, stack)
        hold(small.yard, stack)

    def written() -> bool:
        return small.send("POST", MAPS, {"metadata": {"generateName": "a-"}}).status == 201

    assert eventually(written, 60)


def test_who_is_answered_before_all_has_come_is_told_that_the_connection_ends(small: Wire) -> None:
    where = urlsplit(small.yard.url)
    known = ssl.create_default_context(cafile=str(small.yard.authority))
    asked = f"POST {MAPS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer wrong\r\nContent-Length: 9\r\n\r\n"

    with (
        create_connection((where.hostname, where.port), timeout=60) as plain,
        known.wrap_socket(plain, server_hostname=where.hostname) as secured,
    ):
        secured.sendall(asked.encode())
        head = b"".join(iter(lambda: secured.recv(1), b"")).partition(b"\r\n\r\n")[0].decode()

    assert head.startswith("HTTP/1.1 401")
    assert "Connection: close" in head.splitlines()


def test_a_connection_is_kept_when_all_has_come(small: Wire) -> None:
    answer = small.send("POST", MAPS, {"metadata": {"name": "No Name"}})

    assert answer.status == 422
    assert "Connection" not in answer.headers
