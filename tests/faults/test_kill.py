"""kill -9 at any byte: the next importer finishes the very same disk, and fetches little again."""

import base64
import gzip
import os
import random
from pathlib import Path

import pytest

from tests.disk.images import MIB, converted, late, left_behind
from tests.faults.kills import crash, crash_local
from tests.importer.conftest import Pod

PART = 32 << 20

LARGE = 2 * PART + 8 * MIB
SMALL = 12 * MIB
AGAIN = 64 * MIB
TABLES = MIB
"""Bytes of tables and heads that a run reads beside the body."""


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    return Pod(tmp_path)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One disk that no compression shortens, in the forms that are streamed."""
    folder = tmp_path_factory.mktemp("killed")
    disk = folder / "raw"
    disk.write_bytes(os.urandom(LARGE))
    converted(disk, folder / "qcow2", "qcow2")
    converted(disk, folder / "vmdk", "vmdk", "-o", "subformat=streamOptimized")
    words = folder / "words.raw"
    words.write_bytes(base64.b64encode(disk.read_bytes()))
    converted(words, folder / "words", "qcow2", "-c")
    (folder / "small").write_bytes(disk.read_bytes()[:SMALL])
    converted(folder / "small", folder / "ordered", "qcow2", "-o", "cluster_size=4k")
    (folder / "late").write_bytes(late((folder / "ordered").read_bytes(), range(6)))
    (folder / "gz").write_bytes(gzip.compress(disk.read_bytes()[:SMALL], 1))
    return folder


RUNS = [
    *(("raw", run) for run in range(7)),
    *(("qcow2", run) for run in range(6)),
    *(("vmdk", run) for run in range(2)),
]


@pytest.mark.parametrize(("kind", "run"), RUNS)
def test_killed_at_any_byte(images: Path, pod: Pod, kind: str, run: int) -> None:
    body = (images / kind).read_bytes()
    at = random.Random(f"{kind} {run}").randrange(1, len(body) - MIB)

    found = crash(pod, body, at)

    assert found.again <= AGAIN + TABLES
    assert pod.disk.read_bytes() == (images / "raw").read_bytes()
    assert left_behind(pod.volume) == ["disk.img"]


def test_killed_again_and_again(images: Path, pod: Pod) -> None:
    body = (images / "words").read_bytes()

    found = crash(pod, body, len(body) - 4 * MIB, times=3)

    assert found.again <= 3 * (AGAIN + TABLES)
    assert pod.disk.read_bytes() == (images / "words.raw").read_bytes()
    assert left_behind(pod.volume) == ["disk.img"]


@pytest.mark.parametrize("run", range(2))
def test_a_compressed_stream_starts_over_and_no_more_than_that(images: Path, pod: Pod, run: int) -> None:
    body = (images / "gz").read_bytes()
    at = random.Random(f"gz {run}").randrange(1, len(body) - MIB)

    found = crash(pod, body, at)

    assert found.again <= found.at
    assert pod.disk.read_bytes() == (images / "small").read_bytes()
    assert left_behind(pod.volume) == ["disk.img"]


@pytest.mark.parametrize("at", [10 * MIB, 11 * MIB])
def test_what_waits_aside_for_its_tables_is_gone_with_who_kept_it(images: Path, pod: Pod, at: int) -> None:
    body = (images / "late").read_bytes()

    found = crash(pod, body, at, ranged=False)

    assert found.again <= found.at
    right = pod.disk.read_bytes() == (images / "small").read_bytes()
    assert right
    assert left_behind(pod.volume) == ["disk.img"]


@pytest.mark.parametrize("run", range(2))
def test_a_local_file_by_the_command_line(images: Path, tmp_path: Path, run: int) -> None:
    at = random.Random(f"file {run}").randrange(1, LARGE)

    crash_local(images / "qcow2", tmp_path / "disk.img", at)

    assert (tmp_path / "disk.img").read_bytes() == (images / "raw").read_bytes()
    assert left_behind(tmp_path) == ["disk.img"]
