"""Killed after its disk has taken its name: the next run says that it is complete, and imports nothing again."""

import hashlib
import os
from pathlib import Path

import pytest

from diskyard.disk.digest import Expected
from diskyard.disk.ingest import ingest
from diskyard.disk.target import Expect, Progress, Target
from diskyard.errors import ChecksumMismatch
from tests.disk.images import left_behind, same
from tests.disk.sources import Bytes

ORIGIN = Expect("origin", algorithm="sha256")


def killed(target: Target, body: bytes) -> None:
    """What a run leaves that is killed between the disk's rename and the journal's end: both of them."""
    kept = target.folder / "kept"

    def keep(_: Progress) -> None:
        if not kept.exists():
            os.link(target.journal, kept)

    ingest(Bytes(body), target, expect=ORIGIN, on_progress=keep)
    kept.rename(target.journal)


@pytest.mark.parametrize("name", ["disk.raw", "zlib.qcow2", "disk.vdi"])
def test_a_complete_disk_is_not_imported_again(gallery: Path, tmp_path: Path, name: str) -> None:
    body = (gallery / name).read_bytes()
    target = Target(tmp_path / "disk")
    killed(target, body)
    written = target.path.stat()

    result = ingest(Bytes(body, before=only_the_head), target, expect=ORIGIN)

    assert result.digest == f"sha256:{hashlib.sha256(body).hexdigest()}"
    assert (result.virtual_size, result.bytes_written) == (written.st_size, 0)
    assert os.path.samestat(target.path.stat(), written)
    assert left_behind(tmp_path) == ["disk"]


def only_the_head(offset: int) -> None:
    assert offset < 1 << 20


def test_another_version_of_the_source_is_imported(gallery: Path, tmp_path: Path) -> None:
    target = Target(tmp_path / "disk")
    killed(target, bytes(1 << 20))

    ingest(Bytes((gallery / "disk.raw").read_bytes(), "v2"), target, expect=ORIGIN)

    assert same(gallery / "disk.raw", target.path)


def test_another_disk_of_that_name_is_replaced(gallery: Path, tmp_path: Path) -> None:
    body = (gallery / "disk.raw").read_bytes()
    target = Target(tmp_path / "disk")
    killed(target, body)
    (tmp_path / "other").write_bytes(b"other")
    (tmp_path / "other").rename(target.path)

    ingest(Bytes(body), target, expect=ORIGIN)

    assert same(gallery / "disk.raw", target.path)


def test_a_complete_disk_is_held_to_the_digest_that_is_asked_for_now(gallery: Path, tmp_path: Path) -> None:
    body = (gallery / "disk.raw").read_bytes()
    target = Target(tmp_path / "disk")
    killed(target, body)

    with pytest.raises(ChecksumMismatch):
        ingest(Bytes(body), target, expect=Expect("origin", digest=Expected("sha256", "0" * 64)))
