"""tuspy, which nobody here wrote, before a real upload pod; tus-js-client is in test_tus_js.py."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from tusclient.client import TusClient
from tusclient.exceptions import TusCommunicationError, TusUploadFailed

from standalone.store.objects import Objects
from tests.uploadproxy.front import Front, front
from tests.uploadproxy.images import MIB, holds, noise

RAW = noise(5 * MIB + 17)


@pytest.fixture
def place(store: Objects, tmp_path: Path) -> Iterator[Front]:
    with front(store, tmp_path) as found:
        yield found


@pytest.fixture
def image(tmp_path: Path) -> Path:
    file = tmp_path / "Win10.iso"
    file.write_bytes(RAW)
    return file


def client(place: Front, url: str) -> TusClient:
    return TusClient(f"{url}/v1/uploads", headers=place.bearer())


@pytest.mark.parametrize("checked", [False, True], ids=["as it is", "with a checksum of each chunk"])
def test_an_image_goes_in_by_chunks(place: Front, image: Path, checked: bool) -> None:
    with image.open("rb") as file:
        client(place, place.proxy()).uploader(
            file_stream=file, chunk_size=MIB, upload_checksum=checked, metadata={"filename": image.name}
        ).upload()

    assert place.pod.ended()[0] == 0
    assert holds(place.pod.disk, RAW)


def test_another_client_goes_on_by_another_proxy(place: Front, image: Path) -> None:
    first, second = place.proxy(), place.proxy()
    with image.open("rb") as file:
        before = client(place, first).uploader(file_stream=file, chunk_size=MIB)
        before.upload(stop_at=2 * MIB)
    with image.open("rb") as file:
        after = client(place, second).uploader(
            file_stream=file, chunk_size=2 * MIB, url=second + before.url.removeprefix(first)
        )
        offset = after.offset
        after.upload()

    assert offset == 2 * MIB
    assert place.pod.ended()[0] == 0
    assert holds(place.pod.disk, RAW)


def test_a_wrong_promise_of_the_whole_is_told(place: Front, image: Path) -> None:
    wrong = f"sha256:{hashlib.sha256(b'other').hexdigest()}"
    with image.open("rb") as file, pytest.raises(TusUploadFailed) as refused:
        client(place, place.proxy()).uploader(file_stream=file, metadata={"checksum": wrong}).upload()

    assert refused.value.status_code == 400
    assert hashlib.sha256(RAW).hexdigest() in str(refused.value.response_content)
    assert place.pod.left() == []


def test_who_has_no_token_is_told(place: Front, image: Path) -> None:
    stranger = TusClient(f"{place.proxy()}/v1/uploads", headers={"Authorization": "Bearer abc"})

    with image.open("rb") as file, pytest.raises(TusCommunicationError) as refused:
        stranger.uploader(file_stream=file).upload()

    assert refused.value.status_code == 401
