"""DataVolumes by way of the node's image store: one download, many disks."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.builders import eventually
from tests.flows.yard import Yard, data_volume
from tests.imageserver import ImageServer

IMAGE = os.urandom(24 << 20)


@pytest.fixture
def image(images: ImageServer, request: pytest.FixtureRequest) -> str:
    """URL of an image that nobody has fetched."""
    name = f"{request.node.name}.img"
    (images.root / name).write_bytes(IMAGE)
    return images.url(name)


def checked(name: str, url: str, **annotations: str) -> dict[str, Any]:
    """A DataVolume of a file whose checksum is known."""
    source = {"http": {"url": url, "checksum": f"sha256:{hashlib.sha256(IMAGE).hexdigest()}"}}
    found = data_volume(name, source, "64Mi")
    found["metadata"].setdefault("annotations", {}).update(annotations)
    return found


def sent(images: ImageServer, url: str) -> int:
    """Bytes that were sent of an image."""
    return sum(hit.sent for hit in images.hits() if url.endswith(hit.path))


def disk(yard: Yard, name: str) -> bool:
    with (yard.volume(name) / "disk.img").open("rb") as file:
        return file.read(len(IMAGE)) == IMAGE


def running(obj: dict[str, Any]) -> str:
    return next(str(each["message"]) for each in obj["status"]["conditions"] if each["type"] == "Running")


def test_two_data_volumes_at_once_share_one_transfer(yard: Yard, images: ImageServer, image: str) -> None:
    names = ("shared-one", "shared-two")
    for name in names:
        yard.create(checked(name, image))

    done = [yard.wait("datavolumes", name, "Succeeded") for name in names]

    same = [disk(yard, name) for name in names]
    assert same == [True, True]
    once = (
        sent(images, image) < len(IMAGE) * 1.5
    )  # what an import asks for on a second connection may be cut short
    assert once, images.hits()
    copied = [running(each) for each in done if "nothing was fetched" in running(each)]
    assert len(copied) == 1, done


def test_a_data_volume_may_be_fetched_for_itself(yard: Yard, images: ImageServer, image: str) -> None:
    for name in ("alone-one", "alone-two"):
        yard.create(checked(name, image, **{"diskyard.io/image-store": "false"}))
        yard.wait("datavolumes", name, "Succeeded")

    eventually(lambda: sent(images, image) >= 2 * len(IMAGE))  # nginx notes what it has sent a little later


def test_the_images_of_a_node_are_listed_and_taken_away(yard: Yard, image: str) -> None:
    yard.create(checked("listed", image))
    yard.wait("datavolumes", "listed", "Succeeded")

    listed = told(yard.directory)
    pruned = told(yard.directory, "prune")

    assert image in listed
    assert f"sha256:{hashlib.sha256(IMAGE).hexdigest()[:12]}" in listed
    assert f"removed {image}" in pruned
    assert image not in told(yard.directory)


def told(directory: Path, *words: str) -> str:
    command = [sys.executable, "-m", "cli", "images", "--data-dir", str(directory), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
