"""What an importer holds at most, whatever it reads from: measured in a process of its own, as the kernel tells it."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diskyard.api.job import ImportJob
from diskyard.api.names import cdi
from tests.disk.images import MIB, converted
from tests.disk.tars import entry, tar
from tests.importer.stores import SECRET, USER

SIZE = 96 * MIB
CEILING = 96 * MIB
RAW_CEILING = 64 * MIB
"""Of raw over HTTP, however many connections."""
MEASURED = (
    "import resource, subprocess, sys; done = subprocess.run([sys.executable, '-m', 'importer']);"
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(done.returncode)"
)
Ask = Callable[[str], Any]


def peak(job: ImportJob, volume: Path) -> int:
    """Bytes that were resident at most in an importer that did its job."""
    keys = {cdi.ENV_ACCESS_KEY: job.access_key, cdi.ENV_SECRET_KEY: job.secret_key}
    env = job.to_env() | keys | {"PATH": os.environ["PATH"], cdi.ENV_VOLUME_DIR: str(volume)}
    command = [sys.executable, "-c", MEASURED]
    done = subprocess.run(command, env=env, check=True, capture_output=True, text=True, timeout=240)
    assert (volume / "disk.img").stat().st_size == SIZE
    return int(done.stdout) * 1024


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("memory") / "raw"
    path.write_bytes(os.urandom(SIZE))
    return path


def http(path: str) -> Callable[[Ask, bytes, bytes], ImportJob]:
    def served(ask: Ask, raw: bytes, qcow2: bytes) -> ImportJob:
        images = ask("images")
        (images.root / "memory.img").write_bytes(qcow2 if "qcow2" in path else raw)
        return ImportJob("http", images.url(path.replace("qcow2", "memory.img")))

    return served


def s3(ask: Ask, raw: bytes, _: bytes) -> ImportJob:
    store = ask("swift")
    return ImportJob("s3", store.url(store.put(raw)), access_key=USER, secret_key=SECRET)


def s3_over_several(ask: Ask, raw: bytes, _: bytes) -> ImportJob:
    """nginx answers an unsigned request for a public object as S3 does, and slowly."""
    images = ask("images")
    (images.root / "memory.img").write_bytes(raw)
    return ImportJob("s3", images.url("narrow/memory.img"), anonymous=True)


def registry(ask: Ask, _: bytes, qcow2: bytes) -> ImportJob:
    return ImportJob("registry", ask("pushed").push(tar([entry("disk/image", qcow2)])), insecure_tls=True)


SOURCES = {
    "raw over one connection": http("memory.img"),
    "raw over several connections": http("narrow/memory.img"),
    "a qcow2": http("qcow2"),
    "raw from S3": s3,
    "raw from S3 over several connections": s3_over_several,
    "a qcow2 in a registry's layer": registry,
}


@pytest.mark.parametrize("served", SOURCES.values(), ids=SOURCES)
def test_stays_below_its_ceiling(
    disk: Path, volume: Path, served: Callable[[Ask, bytes, bytes], ImportJob], request: pytest.FixtureRequest
) -> None:
    qcow2 = disk.with_name("qcow2")
    if not qcow2.exists():
        converted(disk, qcow2, "qcow2", "-c")
    job = served(request.getfixturevalue, disk.read_bytes(), qcow2.read_bytes())

    raw = job.source == "http" and "qcow2" not in request.node.name
    assert peak(job, volume) < (RAW_CEILING if raw else CEILING)
