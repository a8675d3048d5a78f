"""The importer on a block device: its container is killed, the next one in the same pod goes on."""

import hashlib
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from diskyard.api.job import ImportJob
from diskyard.api.names import cdi
from tests.builders import eventually
from tests.disk.images import MIB, left_behind
from tests.disk.loops import loop
from tests.imageserver import ImageServer
from tests.importer.conftest import Pod

SIZE = 144 * MIB


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Path]:
    with loop(tmp_path / "backing", SIZE + 4 * MIB) as found:
        yield found


def durable(journal: Path) -> int:
    """The offset that the journal tells."""
    text = journal.read_bytes().strip() if journal.exists() else b""
    return int(json.loads(text.split(b" ", 1)[1])["offset"]) if text else 0


def test_after_kill_9_at_most_64_mib_are_fetched_again(
    images: ImageServer, pod: Pod, device: Path, tmp_path: Path
) -> None:
    body = os.urandom(SIZE)
    (images.root / "block.raw").write_bytes(body)
    job = ImportJob("http", images.url("slow/block.raw"))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    env = {cdi.ENV_BLOCK_DEVICE: str(device), cdi.ENV_SCRATCH_DIR: str(scratch)}
    journal = scratch / f".{device.name}.journal"
    process = pod.start(job, **env)
    eventually(lambda: durable(journal) >= 64 * MIB, 60)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    kept = durable(journal)

    ended = pod.run(job, **env)

    assert ended.code == 0, ended.log
    assert ended.message.bytes_fetched <= SIZE - kept + MIB
    assert ended.message.digest == f"sha256:{hashlib.sha256(body).hexdigest()}"
    assert device.read_bytes() == body + bytes(4 * MIB)
    assert left_behind(scratch) == []
