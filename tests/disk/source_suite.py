"""What every Source must do: subclass the suite in a test, and give the fixture `served`."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from diskyard.disk.head import fill
from diskyard.disk.source import Source

BODY = b"".join(n.to_bytes(4, "big") for n in range(1_500_000))
"""6 MB in which no two places look the same."""
WHOLE = 5 << 20
"""A read long enough for a connection that goes on to the end."""

Served = Callable[[bytes], Source]
"""Puts bytes where the Source under test finds them, and opens it; the fixture closes it."""


def span(source: Source, offset: int, length: int) -> bytes:
    """The bytes from an offset, fewer at the end."""
    buf = bytearray(length)
    return bytes(buf[: fill(source, memoryview(buf), offset)])


class SourceSuite:
    """For Sources of any kind."""

    def test_gives_every_byte_in_order(self, served: Served) -> None:
        source = served(BODY)

        assert source.size in (None, len(BODY))
        read = b"".join(span(source, offset, 700_001) for offset in range(0, len(BODY), 700_001))
        assert read == BODY

    def test_gives_at_least_a_byte_and_touches_no_other(self, served: Served) -> None:
        source = served(BODY)
        buf = bytearray(b"\xee" * 1000)

        count = source.readinto(memoryview(buf)[:100], 0)

        assert count
        assert 1 <= count <= 100
        assert buf == BODY[:count] + b"\xee" * (1000 - count)

    def test_says_the_end_with_a_zero(self, served: Served) -> None:
        source = served(BODY[:10])

        assert span(source, 0, 100) == BODY[:10]
        assert source.readinto(memoryview(bytearray(5)), 10) == 0

    def test_an_empty_one_ends_at_once(self, served: Served) -> None:
        source = served(b"")

        assert not source.size
        assert source.readinto(memoryview(bytearray(5)), 0) == 0


class RangedSourceSuite(SourceSuite):
    """For Sources that can be read anywhere, by several threads."""

    def test_says_that_it_is_ranged_and_how_long(self, served: Served) -> None:
        source = served(BODY)

        assert source.ranged
        assert source.size == len(BODY)

    def test_reads_anywhere_in_any_order(self, served: Served) -> None:
        source = served(BODY)

        for offset, length in ((5_999_990, 100), (3, 5), (4_000_000, 65_536), (4_065_536, 9), (0, 1), (3, 5)):
            assert span(source, offset, length) == BODY[offset : offset + length]

    def test_reads_for_several_threads_at_once(self, served: Served) -> None:
        source = served(BODY)
        offsets = range(0, len(BODY), 500_000)

        with ThreadPoolExecutor(4) as threads:
            pieces = threads.map(lambda offset: span(source, offset, 500_000), offsets)

        assert b"".join(pieces) == BODY

    def test_a_walk_to_the_end_goes_on_beside_small_reads(self, served: Served) -> None:
        source = served(BODY)

        assert span(source, 0, WHOLE) == BODY[:WHOLE]
        assert span(source, 17, 4) == BODY[17:21]
        assert span(source, WHOLE, WHOLE) == BODY[WHOLE:]

    def test_nothing_is_behind_its_end(self, served: Served) -> None:
        source = served(BODY)

        assert source.readinto(memoryview(bytearray(5)), len(BODY) + 1000) == 0
