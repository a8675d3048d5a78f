"""Quantities, and the arithmetic of overheads that clients compare sizes with."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diskyard.api.quantity import MIB, canonical, human, parse, required, round_down, round_up, usable, value
from diskyard.errors import InvalidRequest


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("10Gi", 10 << 30), ("512Mi", 512 << 20), ("1Ki", 1024), ("6G", 6 * 10**9), ("1k", 1000),
        ("0", 0), ("1e3", 1000), ("1.5Gi", 3 << 29), (".5Ki", 512), ("+3", 3), ("-1Gi", -(1 << 30)),
        ("0100Mi", 100 << 20), (42, 42), ("1500m", 2), ("1E", 10**18), ("1Ei", 1 << 60),
    ],
)  # fmt: skip
def test_reads(text: str | int, size: int) -> None:
    assert parse(text) == size


def test_small_fractions_are_exact() -> None:
    assert value("500m") == Decimal("0.5")


@pytest.mark.parametrize(
    "text", ["", "Gi", "1gi", "1 Gi", "0x10", "1GiB", "ten", "1e", "--1", "1e999", "٣Gi"]
)
def test_refuses_and_shows_how(text: str) -> None:
    with pytest.raises(InvalidRequest, match="10Gi"):
        parse(text)


@given(st.integers(min_value=0, max_value=1 << 62))
def test_what_is_written_reads_back(size: int) -> None:
    assert parse(canonical(size)) == size


def test_writes_the_shortest_exact_form() -> None:
    assert [canonical(10 << 30), canonical(1536 << 20), canonical(1000), canonical(0)] == [
        "10Gi", "1536Mi", "1000", "0",
    ]  # fmt: skip


def test_tells_people() -> None:
    assert [human(512), human(1536), human(3 << 30), human(5 << 50)] == [
        "512 B", "1.5 KiB", "3.0 GiB", "5120.0 TiB",
    ]  # fmt: skip


def test_rounds_to_whole_mebibytes() -> None:
    assert (round_up(1), round_up(MIB), round_down(MIB + 1)) == (MIB, MIB, MIB)


def test_ten_gibibytes_on_a_file_system_need_what_cdi_says() -> None:
    assert required(10 << 30, 0.06) == 11381663335


@given(st.integers(min_value=MIB, max_value=1 << 50), st.sampled_from([0.0, 0.06, 0.055, 0.5, 1.0]))
def test_a_disk_fits_the_claim_that_was_asked_for_it(size: int, overhead: float) -> None:
    assert usable(required(size, overhead), overhead) >= round_down(size)
