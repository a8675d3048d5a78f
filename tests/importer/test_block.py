"""The importer on a block device: its container is killed, the next one in the same pod goes on."""

import hashlib
import json
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from datavolume_controller.progress import Target, parsed, report
from diskyard.api.job import ImportJob
from diskyard.api.names import cdi
from tests.builders import eventually
from tests.disk.images import MIB, left_behind
from tests.disk.loops import loop
from tests.imageserver import ImageServer
from tests.importer.conftest import Pod
from tests.importer.registries import free_port

SIZE = 144 * MIB


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Path]:
    with loop(tmp_path / "backing", SIZE + 4 * MIB) as found:
        yield found


def durable(journal: Path) -> int:
    """The offset that the journal tells."""
    text = journal.read_bytes().strip() if journal.exists() else b""
    return int(json.loads(text.split(b" ", 1)[1])["offset"]) if text else 0


@pytest.fixture
def body(images: ImageServer) -> bytes:
    """What `slow/block.raw` is."""
    made = os.urandom(SIZE)
    (images.root / "block.raw").write_bytes(made)
    return made


def environment(device: Path, scratch: Path) -> dict[str, str]:
    scratch.mkdir()
    return {cdi.ENV_BLOCK_DEVICE: str(device), cdi.ENV_SCRATCH_DIR: str(scratch)}


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_another_pod_goes_on_from_what_was_reported_last(
    images: ImageServer, pod: Pod, device: Path, tmp_path: Path, body: bytes, end: signal.Signals
) -> None:
    checksum = f"sha256:{hashlib.sha256(body).hexdigest()}"
    job = ImportJob("http", images.url("slow/block.raw"), owner_uid="owner", checksum=checksum)
    served = Target("127.0.0.1", "owner", "pod", free_port())
    env = environment(device, tmp_path / "first")
    process = pod.start(job, **env, POD_IP=served.address, **{cdi.ENV_METRICS_PORT: str(served.port)})
    eventually(lambda: offset(reported(served)) >= 64 * MIB, 60)
    journal = reported(served)
    process.send_signal(end)
    process.communicate()
    kept = pod.ended(process.returncode).message.journal or journal

    ended = pod.run(replace(job, journal=kept), **environment(device, tmp_path / "second"))

    assert ended.code == 0, ended.log
    assert offset(kept) >= offset(journal)
    assert ended.message.bytes_fetched <= SIZE - offset(kept) + MIB
    assert ended.message.digest == checksum
    assert device.read_bytes() == body + bytes(4 * MIB)
    assert ended.message.journal == ""


def reported(served: Target) -> str:
    """The journal that an importer reports, empty while it does not."""
    try:
        return parsed(report(served), served.owner_uid).journal
    except OSError:
        return ""


def offset(journal: str) -> int:
    return int(json.loads(journal)["offset"]) if journal else 0


def test_after_kill_9_at_most_64_mib_are_fetched_again(
    images: ImageServer, pod: Pod, device: Path, tmp_path: Path, body: bytes
) -> None:
    checksum = f"sha256:{hashlib.sha256(body).hexdigest()}"
    job = ImportJob("http", images.url("slow/block.raw"), checksum=checksum)
    scratch = tmp_path / "scratch"
    env = environment(device, scratch)
    journal = scratch / f".{device.name}.journal"
    process = pod.start(job, **env)
    eventually(lambda: durable(journal) >= 64 * MIB, 60)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    kept = durable(journal)

    ended = pod.run(job, **env)

    assert ended.code == 0, ended.log
    assert ended.message.bytes_fetched <= SIZE - kept + MIB
    assert ended.message.digest == checksum
    assert device.read_bytes() == body + bytes(4 * MIB)
    assert left_behind(scratch) == []
