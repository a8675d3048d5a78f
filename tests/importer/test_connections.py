"""More connections where each is limited, one where a server takes no more: the disk is the same."""

import os
from contextlib import closing
from pathlib import Path

import pytest

from diskyard.disk.ingest import ingest
from diskyard.disk.target import Expect, Target
from importer.http import HttpSource
from importer.request import Access
from importer.retry import Retrying
from tests.disk.images import MIB
from tests.imageserver import Hit, ImageServer

SIZE = 96 * MIB


@pytest.fixture(scope="module")
def body(images: ImageServer) -> bytes:
    noise = os.urandom(SIZE)
    (images.root / "noise.raw").write_bytes(noise)
    return noise


def imported(images: ImageServer, path: str, disk: Path) -> list[Hit]:
    """The answers that it took, once all of them are logged."""
    images.forget()
    with closing(Retrying(HttpSource(images.url(path), Access()))) as source:
        ingest(source, Target(disk), expect=Expect(path))
    return images.hits()


def test_a_server_that_limits_each_connection_is_asked_over_several(
    images: ImageServer, body: bytes, tmp_path: Path
) -> None:
    hits = imported(images, "narrow/noise.raw", tmp_path / "disk.img")

    assert (tmp_path / "disk.img").read_bytes() == body
    assert len(hits) > 4
    assert all(hit.status == 206 for hit in hits)
    assert sum(hit.sent for hit in hits) <= SIZE + 8 * MIB


def test_a_server_that_takes_one_connection_is_asked_over_one(
    images: ImageServer, body: bytes, tmp_path: Path
) -> None:
    hits = imported(images, "one-at-a-time/noise.raw", tmp_path / "disk.img")

    assert (tmp_path / "disk.img").read_bytes() == body
    assert any(hit.status == 503 for hit in hits)
