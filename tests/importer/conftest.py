"""Images on a real nginx, and the importer as a process of its own, as a pod runs it."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from diskyard.api.job import ImportJob, TerminationMessage
from diskyard.api.names import cdi
from tests.disk.images import converted, raw
from tests.imageserver import ImageServer, image_server
from tests.importer.publisher import Publisher
from tests.importer.registries import Registry, registry
from tests.importer.stores import GcsStore, S3Store, gcs_store, moto_store, swift_store


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImageServer]:
    """nginx with disk.raw and disk.qcow2."""
    folder = tmp_path_factory.mktemp("images")
    root = folder / "root"
    root.mkdir()
    converted(raw(root / "disk.raw"), root / "disk.qcow2", "qcow2", "-c")
    with image_server(root, folder / "nginx") as server:
        yield server


@pytest.fixture(scope="session")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Store]:
    with swift_store(tmp_path_factory.mktemp("swift")) as store:
        yield store


@pytest.fixture(scope="session")
def moto() -> Iterator[S3Store]:
    with moto_store() as store:
        yield store


@pytest.fixture(scope="session")
def gcs() -> Iterator[GcsStore]:
    with gcs_store() as store:
        yield store


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="session")
def opened(tmp_path_factory: pytest.TempPathFactory, store: Path) -> Iterator[Registry]:
    """Plain HTTP, and nobody is asked who he is."""
    with registry(tmp_path_factory.mktemp("open"), store) as found:
        yield found


@pytest.fixture
def pushed(opened: Registry, tmp_path: Path, request: pytest.FixtureRequest) -> Publisher:
    name = re.sub("[^a-z0-9]+", "-", request.node.name.lower()).strip("-")
    return Publisher(opened, tmp_path / "layout", name)


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    folder = tmp_path / "volume"
    folder.mkdir()
    return folder


@dataclass(frozen=True)
class Ended:
    """How an importer ended."""

    code: int
    message: TerminationMessage
    log: str


@dataclass
class Pod:
    """A volume and what runs an importer on it."""

    folder: Path

    @property
    def volume(self) -> Path:
        return self.folder / "volume"

    @property
    def disk(self) -> Path:
        return self.volume / cdi.DISK_FILE

    def start(self, job: ImportJob, **env: str) -> subprocess.Popen[str]:
        self.volume.mkdir(exist_ok=True)
        whole = job.to_env() | {
            "PATH": os.environ["PATH"],
            cdi.ENV_VOLUME_DIR: str(self.volume),
            cdi.ENV_TERMINATION_LOG: str(self.folder / "termination"),
            cdi.ENV_ACCESS_KEY: job.access_key,
            cdi.ENV_SECRET_KEY: job.secret_key,
        }
        command = [sys.executable, "-m", "importer"]
        return subprocess.Popen(command, env=whole | env, stderr=subprocess.PIPE, text=True)

    def run(self, job: ImportJob, **env: str) -> Ended:
        process = self.start(job, **env)
        _, log = process.communicate(timeout=120)
        return self.ended(process.returncode, log)

    def ended(self, code: int, log: str = "") -> Ended:
        said = self.folder / "termination"
        text = said.read_text() if said.exists() else ""
        return Ended(code, TerminationMessage.from_text(text), log)


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    return Pod(tmp_path)
