"""A digest is computed where one is promised or asked for, and is that of all bytes of the source."""

import hashlib
import os
from pathlib import Path

import pytest

from diskyard.disk.digest import Expected
from diskyard.disk.ingest import ingest
from diskyard.disk.target import Expect, Target
from diskyard.errors import ChecksumMismatch, SourceUnavailable
from tests.disk.images import left_behind
from tests.disk.sources import Bytes, breaking

PART = 32 << 20


@pytest.mark.parametrize("name", ["disk.raw", "zlib.qcow2"])
def test_a_wrong_checksum_leaves_nothing_and_says_both(gallery: Path, tmp_path: Path, name: str) -> None:
    body = (gallery / name).read_bytes()
    expect = Expect("x", "x", Expected("md5", "0" * 32))

    with pytest.raises(ChecksumMismatch) as refusal:
        ingest(Bytes(body), Target(tmp_path / "disk.img"), expect=expect)

    assert "0" * 32 in str(refusal.value)
    assert hashlib.md5(body, usedforsecurity=False).hexdigest() in str(refusal.value)
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256", "sha512"])
def test_the_right_checksum_is_kept(gallery: Path, tmp_path: Path, algorithm: str) -> None:
    body = (gallery / "zlib.qcow2").read_bytes()
    promised = hashlib.new(algorithm, body, usedforsecurity=False).hexdigest()

    result = ingest(Bytes(body), Target(tmp_path / "d"), expect=Expect(digest=Expected(algorithm, promised)))

    assert result.digest == f"{algorithm}:{promised}"


@pytest.mark.parametrize("name", ["disk.raw", "zlib.qcow2"])
def test_no_digest_is_said_that_nobody_asked_for(gallery: Path, tmp_path: Path, name: str) -> None:
    result = ingest(Bytes((gallery / name).read_bytes()), Target(tmp_path / "disk.img"))

    assert result.digest == ""


@pytest.fixture(scope="module")
def noise() -> bytes:
    """Four journal steps that no compression shortens."""
    return os.urandom(4 * PART)


@pytest.mark.parametrize(
    ("first", "then", "goes_on"), [("", "md5", False), ("md5", "", True), ("", "", True)]
)
def test_what_was_not_hashed_from_its_beginning_starts_over(
    tmp_path: Path, noise: bytes, first: str, then: str, goes_on: bool
) -> None:
    broken = Bytes(noise, before=breaking(3 * PART, SourceUnavailable("gone")))
    with pytest.raises(SourceUnavailable):
        ingest(broken, Target(tmp_path / "disk.img"), expect=Expect("origin", algorithm=first))

    result = ingest(Bytes(noise), Target(tmp_path / "disk.img"), expect=Expect("origin", algorithm=then))

    assert bool(result.resumed_at) is goes_on
    assert result.digest == (f"md5:{hashlib.md5(noise, usedforsecurity=False).hexdigest()}" if then else "")
