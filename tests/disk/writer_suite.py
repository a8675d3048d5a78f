"""What every DiskWriter must do: subclass the suite in a test, and give the fixture `kept`."""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from diskyard.disk.writer import DiskWriter, aligned, write_sparse

SIZE = 1 << 20
Opened = Callable[[], DiskWriter]
Step = tuple[str, tuple[int, int]]
"""data, zeros, sparse or page; offset and length."""

PLACES = st.tuples(st.integers(0, SIZE - 1), st.integers(1, 200_000))
STEPS = st.lists(st.tuples(st.sampled_from(("data", "zeros", "sparse", "page")), PLACES), max_size=12)


class Kept:
    """A disk of SIZE bytes that held something else before: `opened` writes it, `path` reads it."""

    def __init__(self, path: Path, opened: Opened) -> None:
        self.path = path
        self.opened = opened

    def content(self) -> bytes:
        with self.path.open("rb") as file:
            return file.read(SIZE)


class WriterSuite:
    """For DiskWriters of any kind."""

    def test_a_disk_begins_as_zeros_once_it_is_zeroed(self, kept: Kept) -> None:
        with closing(kept.opened()) as writer:
            writer.zero(0, SIZE)
            writer.flush()

        assert kept.content() == bytes(SIZE)

    def test_writes_lie_where_they_were_put_whatever_their_edges(self, kept: Kept) -> None:
        expected = bytearray(SIZE)
        with closing(kept.opened()) as writer:
            writer.zero(0, SIZE)
            for offset, length in ((0, 1), (4095, 2), (8192, 4096), (70_000, 65_537), (SIZE - 3, 3)):
                body = random.Random(offset).randbytes(length)
                writer.pwrite(memoryview(body), offset)
                expected[offset : offset + length] = body
            writer.flush()

        assert kept.content() == expected

    def test_zeros_take_the_place_of_what_was_written(self, kept: Kept) -> None:
        with closing(kept.opened()) as writer:
            writer.zero(0, SIZE)
            writer.pwrite(memoryview(b"\xff" * 300_000), 0)
            writer.flush()
        with closing(kept.opened()) as writer:
            writer.zero(4097, 200_001)
            writer.flush()

        assert kept.content()[:300_000] == b"\xff" * 4097 + bytes(200_001) + b"\xff" * (300_000 - 204_098)

    def test_takes_what_several_threads_write_at_once(self, kept: Kept) -> None:
        body = random.Random(1).randbytes(SIZE)
        with closing(kept.opened()) as writer, ThreadPoolExecutor(4) as pool:
            writer.zero(0, SIZE)
            step = 50_000
            parts = [(at, memoryview(body)[at : at + step]) for at in range(0, SIZE, step)]
            list(pool.map(lambda part: writer.pwrite(part[1], part[0]), parts))
            writer.flush()

        assert kept.content() == body

    def test_any_writes_and_zeros_leave_what_a_list_of_bytes_would_hold(self, kept: Kept) -> None:
        @settings(max_examples=25, deadline=None)
        @given(steps=STEPS)
        def holds(steps: list[Step]) -> None:
            expected = bytearray(SIZE)
            with closing(kept.opened()) as writer:
                writer.zero(0, SIZE)
                for number, step in enumerate(steps):
                    _take(writer, expected, step, number)
                writer.flush()

            assert kept.content() == expected

        holds()


def _take(writer: DiskWriter, expected: bytearray, step: Step, number: int) -> None:
    kind, (offset, length) = step
    if kind == "page":
        offset, length = offset // 4096 * 4096, -(-length // 4096) * 4096
    length = min(length, SIZE - offset)
    body = _body(kind, number, length)
    if kind == "zeros":
        writer.zero(offset, length)
    elif kind == "sparse":
        write_sparse(writer, memoryview(body), offset)
    else:
        writer.pwrite(_aligned(body), offset)
    expected[offset : offset + length] = body


def _body(kind: str, number: int, length: int) -> bytes:
    if kind == "zeros":
        return bytes(length)
    noise = random.Random(number).randbytes(length)
    return bytes(length // 2) + noise[length // 2 :] if kind == "sparse" else noise


def _aligned(body: bytes) -> memoryview:
    """In a buffer that O_DIRECT takes."""
    buf = memoryview(aligned(len(body)))
    buf[:] = body
    return buf
