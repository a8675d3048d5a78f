"""What limits a transfer, and for how long nothing has moved."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from diskyard.disk.ingest import ingest
from diskyard.disk.meter import Meter
from diskyard.disk.target import Expect, Limit, Progress, Target
from tests.builders import eventually
from tests.disk.images import MIB
from tests.disk.sources import Bytes


class Clock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def passing(self, seconds: float) -> Callable[[int], None]:
        """For `before`: a read that takes so long."""

        def before(_: int) -> None:
            self.now += seconds

        return before


class SlowDisk:
    """A writer that takes a while."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds

    def pwrite(self, buf: memoryview, offset: int) -> None:
        self._clock.now += self._seconds

    def zero(self, offset: int, length: int) -> None:
        self._clock.now += self._seconds

    def resize(self, size: int) -> None:
        pass

    def flush(self) -> None:
        self._clock.now += self._seconds

    def close(self) -> None:
        pass


class Wired(Bytes):
    """A source on a line that has been silent for so long."""

    seconds = 0.0

    def silence(self) -> float | None:
        return self.seconds


def limit(read: float, write: float, think: float) -> Limit:
    """Of a copy that takes so many seconds for each."""
    clock = Clock()
    meter = Meter(clock)
    buf = memoryview(bytearray(8))
    meter.source(Bytes(b"12345678", before=clock.passing(read))).readinto(buf, 0)
    clock.now += think
    meter.writer(SlowDisk(clock, write)).pwrite(buf, 0)
    return meter.limit()


def test_the_slowest_of_three_limits() -> None:
    assert limit(read=3, write=1, think=1) is Limit.SOURCE
    assert limit(read=1, write=3, think=1) is Limit.DISK
    assert limit(read=1, write=1, think=3) is Limit.CPU


def test_each_period_is_judged_by_itself() -> None:
    clock = Clock()
    meter = Meter(clock)
    meter.source(Bytes(b"1", before=clock.passing(9))).readinto(memoryview(bytearray(1)), 0)
    first = meter.limit()
    meter.writer(SlowDisk(clock, 1)).flush()

    assert (first, meter.limit()) == (Limit.SOURCE, Limit.DISK)


def test_a_read_that_gives_nothing_is_what_is_waited_for() -> None:
    clock, answer = Clock(), threading.Event()
    meter = Meter(clock)
    source = meter.source(Bytes(b"1", before=lambda _: answer.wait(10) and None))
    reader = threading.Thread(target=source.readinto, args=(memoryview(bytearray(1)), 0))
    reader.start()
    clock.now += 73
    found = eventually(lambda: meter.limit() is Limit.SOURCE)
    still = meter.still()
    answer.set()
    reader.join()

    assert found
    assert still == 73
    assert meter.still() == 0


@pytest.mark.parametrize(("silence", "found"), [(0.01, Limit.NETWORK), (0.8, Limit.SOURCE)])
def test_a_source_whose_bytes_come_all_the_time_is_limited_by_the_network(
    silence: float, found: Limit
) -> None:
    clock = Clock()
    meter = Meter(clock)

    def before(_: int) -> None:
        for _ in range(3):
            clock.now += 1
            meter.look()

    source = Wired(b"12345678", before=before)
    source.seconds = silence
    meter.source(source).readinto(memoryview(bytearray(8)), 0)

    assert meter.limit() is found


class Packed(Wired):
    """One that unpacks, and has enough to do."""

    def waits(self) -> bool:
        return False


def test_a_source_that_is_at_work_itself_is_limited_by_the_processor() -> None:
    clock = Clock()
    meter = Meter(clock)

    def before(_: int) -> None:
        for _ in range(3):
            clock.now += 1
            meter.look()

    meter.source(Packed(b"12345678", before=before)).readinto(memoryview(bytearray(8)), 0)

    assert meter.limit() is Limit.CPU


def test_a_long_read_whose_bytes_come_does_not_stand_still() -> None:
    clock = Clock()
    meter = Meter(clock)
    still = []

    def before(_: int) -> None:
        clock.now += 73
        still.append(meter.still())

    source = Wired(b"12345678", before=before)
    source.seconds = 0.2
    meter.source(source).readinto(memoryview(bytearray(8)), 0)

    assert still == [0.2]


def test_a_disk_that_takes_nothing_is_what_is_waited_for() -> None:
    clock = Clock()
    meter = Meter(clock)
    clock.now += 73

    assert (meter.limit(), meter.still()) == (Limit.DISK, 73)


def test_a_transfer_that_stands_still_says_so_while_it_does(tmp_path: Path) -> None:
    moving = threading.Event()
    seen: list[Progress] = []

    def watch(progress: Progress) -> None:
        seen.append(progress)
        if progress.still > 1 and progress.limit is Limit.SOURCE:
            moving.set()

    def before(offset: int) -> None:
        if offset >= 2 * MIB:
            assert moving.wait(60)

    ingest(
        Bytes(bytes(8 * MIB), before=before), Target(tmp_path / "disk"), expect=Expect(), on_progress=watch
    )

    assert moving.is_set()
    assert seen[-1].phase == "complete"
    assert seen[-1].still == 0


def test_a_stall_is_worded_for_people() -> None:
    progress = Progress("transferring", still=73.2, limit=Limit.SOURCE)

    assert progress.waiting("images.example") == "waiting for images.example for 73 s"
    assert Progress(still=73.2, limit=Limit.DISK).waiting("images.example") == "waiting for the disk for 73 s"
    assert Progress(still=59).waiting("images.example") == ""
