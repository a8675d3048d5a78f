"""A plain connection reads as much as it is asked for, and waits no longer than it may."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from importer.connection import TIMEOUT, Whole

LONG = 1 << 20
GATHERED = 256 << 10
PIECE = bytes(range(250)) * 10


@pytest.fixture
def pair() -> Iterator[tuple[Whole, socket.socket]]:
    ours, theirs = socket.socketpair()
    with Whole.of(ours) as whole, theirs:
        yield whole, theirs


def test_a_long_read_comes_back_in_two_full_ones_however_small_the_packets_are(
    pair: tuple[Whole, socket.socket],
) -> None:
    whole, theirs = pair
    buf = memoryview(bytearray(LONG))

    with ThreadPoolExecutor(1) as sending:
        sending.submit(lambda: [theirs.sendall(PIECE) for _ in range(LONG // len(PIECE) + 1)])
        first = whole.recv_into(buf)
        second = whole.recv_into(buf[first:])
        whole.recv_into(bytearray(len(PIECE)))

    assert (first, first + second) == (LONG - GATHERED, LONG)
    assert buf == (PIECE * (LONG // len(PIECE) + 1))[:LONG]


def test_a_long_read_ends_where_the_other_side_does(pair: tuple[Whole, socket.socket]) -> None:
    whole, theirs = pair
    theirs.sendall(PIECE)
    theirs.shutdown(socket.SHUT_WR)

    assert whole.recv_into(bytearray(LONG)) == len(PIECE)
    assert whole.recv_into(bytearray(LONG)) == 0


@pytest.mark.parametrize("length", [10, LONG])
def test_nothing_is_waited_for_longer_than_patience_lasts(
    pair: tuple[Whole, socket.socket], length: int
) -> None:
    whole, _ = pair
    assert whole.gettimeout() == TIMEOUT
    whole.settimeout(0.05)

    with pytest.raises(TimeoutError):
        whole.recv_into(bytearray(length))


def test_a_short_read_takes_what_there_is(pair: tuple[Whole, socket.socket]) -> None:
    whole, theirs = pair
    theirs.sendall(b"head")

    assert whole.recv_into(bytearray(8192)) == 4
