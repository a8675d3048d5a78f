"""From every kind of source, on the real thing that serves it: the same disk, as it is, decoded and converted."""

import gzip
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from diskyard.api.job import ImportJob
from diskyard.disk.target import Target
from importer.transfer import transfer
from tests.disk.images import MIB, converted, left_behind, raw
from tests.disk.loops import loop
from tests.disk.tars import entry, tar
from tests.importer import oci
from tests.importer.stores import SECRET, USER

Ask = Callable[[str], Any]
Served = Callable[[Ask, Path, bytes], ImportJob]
"""What puts an image where a source finds it, and the job that fetches it; `Ask` gives the server by its name."""


def http(path: str) -> Served:
    def served(ask: Ask, folder: Path, body: bytes) -> ImportJob:
        images = ask("images")
        (images.root / folder.name).write_bytes(body)
        return ImportJob("http", images.url(f"{path}{folder.name}"))

    return served


def s3(name: str) -> Served:
    def served(ask: Ask, folder: Path, body: bytes) -> ImportJob:
        store = ask(name)
        return ImportJob("s3", store.url(store.put(body)), access_key=USER, secret_key=SECRET)

    return served


def gcs(ask: Ask, folder: Path, body: bytes) -> ImportJob:
    store = ask("gcs")
    return ImportJob("gcs", store.url(store.put(body)), anonymous=True)


def registry(ask: Ask, folder: Path, body: bytes) -> ImportJob:
    return ImportJob("registry", ask("pushed").push(tar([entry("disk/image", body)])), insecure_tls=True)


def archive(ask: Ask, folder: Path, body: bytes) -> ImportJob:
    layout = oci.Layout(folder / "layout")
    made = layout.write(layout.image([tar([entry("disk/image", body)])], "+zstd"))
    oci.copy(f"oci:{made}", f"oci-archive:{folder / 'image.tar'}:v1")
    return ImportJob("registry", f"oci-archive:{folder / 'image.tar'}:v1")


def file(ask: Ask, folder: Path, body: bytes) -> ImportJob:
    (folder / "image").write_bytes(body)
    return ImportJob("file", str(folder / "image"))


SOURCES: dict[str, Served] = {
    "http": http(""),
    "http without ranges": http("no-ranges/"),
    "http after a redirect": http("moved/"),
    "Swift's S3": s3("swift"),
    "moto's S3": s3("moto"),
    "Google Cloud Storage": gcs,
    "a registry": registry,
    "an OCI archive": archive,
    "a file": file,
}
SIZE = 8 * MIB


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One disk: as it is, to be decoded, to be converted, and packed."""
    folder = tmp_path_factory.mktemp("shelf")
    disk = raw(folder / "raw", SIZE)
    converted(disk, folder / "qcow2", "qcow2", "-c")
    converted(disk, folder / "vhdx", "vhdx")
    (folder / "qcow2.gz").write_bytes(gzip.compress((folder / "qcow2").read_bytes(), 1))
    return folder


@pytest.mark.parametrize("target", ["file", "device"])
@pytest.mark.parametrize("name", ["raw", "qcow2", "vhdx", "qcow2.gz"])
@pytest.mark.parametrize("served", SOURCES.values(), ids=SOURCES)
def test_becomes_the_disk(
    shelf: Path, tmp_path: Path, served: Served, name: str, target: str, request: pytest.FixtureRequest
) -> None:
    place = Target(tmp_path / "volume" / "disk.img", room=SIZE)
    place.folder.mkdir()
    if target == "device":
        place = replace(place, path=request.getfixturevalue("device"), scratch=place.folder)
    job = served(request.getfixturevalue, tmp_path, (shelf / name).read_bytes())

    result = transfer(job, place)

    assert result.virtual_size == SIZE
    assert place.path.read_bytes() == (shelf / "raw").read_bytes()
    assert left_behind(tmp_path / "volume") == (["disk.img"] if target == "file" else [])


@pytest.fixture
def device(tmp_path: Path) -> Any:
    with loop(tmp_path / "backing", SIZE) as found:
        yield found
