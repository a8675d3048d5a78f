"""The places where flows run, and a web server of images, for as long as the flows of one worker run."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster.server import Cluster
from tests.flows.cluster import Clustered, installed
from tests.flows.place import Place
from tests.flows.proxied import proxied
from tests.flows.yard import Yard, running
from tests.imageserver import ImageServer, image_server

SIZE = 64 << 20


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where this worker's yard and images lie."""
    return tmp_path_factory.mktemp("flows")


@pytest.fixture(scope="session")
def yard(folder: Path) -> Iterator[Yard]:
    """One yard for every test that does not stop it."""
    with running(folder / "yard") as found:
        yield found


@pytest.fixture(scope="session")
def cluster(real: Cluster, folder: Path) -> Iterator[Clustered]:
    """A real cluster with our chart, controllers, webhooks and node."""
    with installed(real, folder / "cluster") as found:
        yield found


@pytest.fixture(scope="session")
def uploading(real: Cluster, cluster: Place, folder: Path) -> Iterator[Place]:
    """The same with an upload proxy."""
    with proxied(real, folder / "proxy"):
        yield cluster


@pytest.fixture(scope="session", params=["yard", pytest.param("cluster", marks=pytest.mark.cluster)])
def place(request: pytest.FixtureRequest) -> Place:
    """Each place in turn: what is said of it holds in all of them."""
    found: Place = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="session")
def elsewhere(place: Place) -> str:
    """Another namespace of it."""
    place.core().create_namespace({"metadata": {"name": "elsewhere"}})
    return "elsewhere"


@pytest.fixture(scope="session")
def images(folder: Path) -> Iterator[ImageServer]:
    """nginx, with what the fixtures below put there."""
    root = folder / "images"
    root.mkdir(mode=0o755)
    folder.chmod(0o755)
    with image_server(root, folder / "nginx") as server:
        yield server


@pytest.fixture(scope="session")
def qcow2(images: ImageServer) -> str:
    """URL of a compressed qcow2: 64 MiB with data at both ends and a hole between."""
    raw = images.folder / "disk.raw"
    with raw.open("wb") as file:
        file.write(os.urandom(3 << 20))
        file.seek(SIZE - (1 << 20))
        file.write(os.urandom(1 << 20))
    image = images.root / "disk.qcow2"
    subprocess.run(["qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", raw, image], check=True)
    return images.url(image.name)


@pytest.fixture(scope="session")
def slow_image(images: ImageServer) -> str:
    """URL of 96 MiB of noise that arrive slowly, over however many connections."""
    (images.root / "noise.img").write_bytes(os.urandom(96 << 20))
    return images.url("crawl/noise.img")


@pytest.fixture(scope="session")
def guest_url(images: ImageServer, guest_image: Path) -> str:
    """URL of a disk that boots."""
    shutil.copy(guest_image, images.root / "guest.qcow2")
    return images.url("guest.qcow2")


@pytest.fixture(scope="session")
def hostile(images: ImageServer) -> Callable[[str], str]:
    """URLs of things that are no images, or that reach outside themselves."""
    (images.root / "page.html").write_text("<!DOCTYPE html><html><body>Please log in</body></html>" * 40)
    secret = images.folder / "secret"
    secret.write_bytes(b"the host's own words" * 4096)
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", secret, images.root / "backing.qcow2"],
        check=True,
    )
    return images.url
