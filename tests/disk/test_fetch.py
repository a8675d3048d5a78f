"""More connections are opened step by step, and only while that helps."""

from concurrent.futures import Future

import pytest

from diskyard.disk.fetch import LANES, Fetcher
from tests.disk.images import MIB
from tests.disk.sources import Bytes

BODY = bytes(64 * MIB)


class Clock:
    """Time that passes when it is told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Late(Future[int]):
    """A fetch of 1 MiB for which the copy has to wait."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        super().__init__()
        self.set_result(MIB)
        self._clock = clock
        self._seconds = seconds

    def result(self, timeout: float | None = None) -> int:
        self._clock.now += self._seconds
        self._seconds = 0.0
        return super().result(timeout)


def period(fetcher: Fetcher, clock: Clock, *, reads: int, waiting: float) -> int:
    """A second in which that many MiB came, and that much of it was spent waiting for them; what came of it."""
    end = clock.now + 1.0
    for _ in range(reads):
        fetcher.awaited(Late(clock, waiting / reads))
    clock.now = end
    return fetcher.widened()


@pytest.mark.parametrize(
    ("source", "reads", "waiting", "added"),
    [
        (Bytes(BODY), (10, 40), 0.9, (4, 8)),
        (Bytes(BODY), (10, 12), 0.9, (4, 0)),
        (Bytes(BODY), (10, 40), 0.3, (0, 0)),
        (Bytes(BODY), (500, 500), 0.9, (0, 0)),
        (Bytes(BODY, ranged=False), (10, 40), 0.9, (0, 0)),
        (Bytes(BODY, None), (10, 40), 0.9, (0, 0)),
    ],
    ids=["while it helps", "not when it did not", "not when others are slower", "not when much comes already",
         "not without ranges", "not without a validator"],
)  # fmt: skip
def test_connections_are_added(
    source: Bytes, reads: tuple[int, int], waiting: float, added: tuple[int, int]
) -> None:
    clock = Clock()
    fetcher = Fetcher(source, clock)
    try:
        found = tuple(period(fetcher, clock, reads=count, waiting=waiting) for count in reads)
    finally:
        fetcher.close()

    assert found == added


def test_there_is_a_last_step() -> None:
    clock = Clock()
    fetcher = Fetcher(Bytes(BODY), clock)

    added = [period(fetcher, clock, reads=4**step, waiting=0.9) for step in range(1, 5)]
    fetcher.close()

    assert added == [*LANES[1:], 0, 0]
