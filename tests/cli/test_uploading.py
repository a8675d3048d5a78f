"""What `image-upload` says before anything is made: the class that a claim needs, and the size."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.uploading import upload_image
from cli.wishes import UploadWish
from diskyard.api.meta import CLAIM, STORAGE_CLASS
from diskyard.api.names import cdi
from diskyard.errors import Refused
from diskyard.kube.http import HttpClient
from tests import builders, served


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpClient]:
    """A cluster with two classes, of which none is the default, and no volume."""
    with served.client(tmp_path_factory.mktemp("served")) as found:
        for name in ("ceph", "fast"):
            found.create(STORAGE_CLASS, builders.storage_class(name))
        yield found


def refusal(api: HttpClient, folder: Path, length: int = 1 << 20, **said: Any) -> str:
    """Why it can never work; nothing has been made."""
    image = folder / "win.iso"
    with image.open("wb") as file:
        file.truncate(length)
    asked = {"kind": "pvc", "name": "iso", "namespace": "default", "path": image, "size": "64Mi", **said}
    with pytest.raises(Refused) as refused:
        upload_image(api, UploadWish(**asked))
    assert api.list(CLAIM).items == ()
    return str(refused.value)


def test_that_nothing_can_be_bound_is_said_with_every_way_out(api: HttpClient, tmp_path: Path) -> None:
    said = refusal(api, tmp_path)

    assert "no --storage-class was given, no class is the default, and no free volume has no class" in said
    assert "Give one by --storage-class (there are: ceph, fast)" in said
    assert f"kubectl annotate storageclass NAME {cdi.DEFAULT_CLASS}=true" in said


def test_a_class_that_does_not_exist_is_named_with_those_that_do(api: HttpClient, tmp_path: Path) -> None:
    said = refusal(api, tmp_path, storage_class="csi-rbd-sc")

    assert (
        'there is no StorageClass "csi-rbd-sc", and no free volume of that class; there are: ceph, fast'
        in said
    )


def test_6g_are_6_000_000_000_bytes(api: HttpClient, tmp_path: Path) -> None:
    said = refusal(api, tmp_path, 6_000_000_512, size="6G", storage_class="fast")

    assert "(6000000512 bytes), and --size 6G is 6000000000 bytes: ask for --size" in said
