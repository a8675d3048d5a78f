"""The cases that tusd publishes for its own handlers, and what has failed in the field with other servers.

tusd: pkg/handler/{head,patch,post,terminate,options}_test.go. The field: a retried PATCH stored twice (SeaweedFS 10945;
test_tus.py), a failed one that took acknowledged bytes along (10876; here), HEAD ahead of what is on disk (test_tus.py,
test_kills.py) or behind it (TusDotNet.Azure 12; test_model.py), a lock kept by a half-open socket (tus-java 80;
test_vanish.py), 409 for ever (opencloud-desktop 971; test_tus.py), an upload that starts over where it said it would go
on (FileRise 67, tusd 234; test_foreign.py, test_tus_js.py), a page that stops after a chunk (filebrowser 5987;
tests/flows/test_page.py).
"""

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from standalone.store.objects import Objects
from tests.uploadproxy.front import front
from tests.uploadproxy.images import MIB, holds, noise
from tests.uploadproxy.pod import BODY, TUS, Pod, upload_pod

RAW = noise(2 * MIB)
UPLOADS = "/v1/uploads"


@pytest.fixture(scope="module")
def pod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pod]:
    """One server for all that never completes an upload; each test begins its own."""
    with upload_pod(tmp_path_factory.mktemp("pod")) as found:
        yield found.start()


def test_head_tells_length_offset_and_metadata_and_is_never_kept(pod: Pod) -> None:
    said = f"filename {base64.b64encode(b'Win10.iso').decode()},empty"
    url = pod.create(len(RAW), **{"Upload-Metadata": said})
    pod.patch(url, 0, RAW[:1000])

    answer = pod.session.head(url, headers=TUS, timeout=60)

    expected = {
        "Upload-Length": str(len(RAW)), "Upload-Offset": "1000", "Upload-Metadata": said, "Cache-Control": "no-store",
        "Tus-Resumable": "1.0.0",
    }  # fmt: skip
    assert answer.status_code == 200
    assert answer.headers.items() >= expected.items()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 400),
        ({"Upload-Length": "-5"}, 400),
        ({"Upload-Length": "a lot"}, 400),
        ({"Upload-Length": "9" * 20}, 413),
        ({"Upload-Defer-Length": "1"}, 400),
        ({"Upload-Length": "5", "Upload-Metadata": "key not-base64!"}, 400),
        ({"Upload-Length": "5", "Tus-Resumable": "0.2.2"}, 412),
    ],
    ids=["no length", "negative", "no number", "too large", "told later", "no metadata", "another version"],
)
def test_what_is_no_announcement_begins_nothing(pod: Pod, headers: dict[str, str], status: int) -> None:
    answer = pod.session.post(pod.url + UPLOADS, headers={**TUS, **headers}, timeout=60)

    assert answer.status_code == status, answer.text
    assert "Location" not in answer.headers


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Upload-Offset": "7"}, 409),
        ({"Upload-Offset": "2000"}, 409),
        ({"Upload-Offset": "-1"}, 400),
        ({"Upload-Offset": ""}, 400),
        ({"Upload-Offset": "1000", "Content-Type": "application/octet-stream"}, 415),
        ({"Upload-Offset": "1000", "Upload-Checksum": "sha1 AAAAAAAAAAAAAAAAAAAAAAAAAAA="}, 460),
        ({"Upload-Offset": "1000", "Upload-Checksum": "crc99 AAAA"}, 400),
        ({"Upload-Offset": "1000", "Tus-Resumable": "2.0.0"}, 412),
    ],
    ids=["behind", "ahead", "negative", "none", "no chunk", "damaged", "no such sum", "another version"],
)
def test_a_patch_that_fails_takes_nothing_along_that_was_acknowledged(
    pod: Pod, headers: dict[str, str], status: int
) -> None:
    url = pod.create(len(RAW))
    pod.patch(url, 0, RAW[:1000])

    answer = pod.session.patch(url, data=RAW[1000:1500], headers={**BODY, **headers}, timeout=60)

    assert answer.status_code == status, answer.text
    assert pod.offset(url) == 1000


def test_a_chunk_beyond_the_end_is_refused_whether_its_length_is_said_or_not(pod: Pod) -> None:
    url = pod.create(1000)

    said = pod.patch(url, 0, RAW[:1001])
    unsaid = pod.patch(url, 0, iter([RAW[:600], RAW[600:1200]]))

    assert (said.status_code, unsaid.status_code) == (413, 413)


def test_a_chunk_may_be_empty_or_of_untold_length(pod: Pod) -> None:
    url = pod.create(len(RAW))

    empty = pod.patch(url, 0, b"")
    chunked = pod.patch(url, 0, iter([RAW[:600], RAW[600:1200]]))

    assert (empty.status_code, empty.headers["Upload-Offset"]) == (204, "0")
    assert (chunked.status_code, chunked.headers["Upload-Offset"]) == (204, "1200")
    assert pod.offset(url) == 1200


def test_nothing_is_known_of_an_upload_that_never_was(pod: Pod) -> None:
    url = f"{pod.url}{UPLOADS}/{'0' * 32}"

    codes = [
        pod.session.head(url, headers=TUS, timeout=60).status_code,
        pod.patch(url, 0, RAW).status_code,
        pod.session.delete(url, headers=TUS, timeout=60).status_code,
    ]

    assert codes == [404, 404, 404]


def test_an_image_of_no_bytes_is_refused_with_a_reason(pod: Pod) -> None:
    url = pod.create(0)

    answer = pod.patch(url, 0, b"")

    assert answer.status_code in (400, 410), answer.text
    assert "empty" in answer.text or "no bytes" in answer.text, answer.text


def test_clients_without_patch_say_it_by_a_header(store: Objects, tmp_path: Path) -> None:
    with front(store, tmp_path) as place:
        url = place.proxy() + place.create(place.proxy(), len(RAW))
        headers = {**place.patching(0), "X-HTTP-Method-Override": "PATCH"}

        answer = place.session.post(url, data=RAW, headers=headers, timeout=60)

        assert answer.status_code == 204, answer.text
        assert place.pod.ended()[0] == 0
        assert holds(place.pod.disk, RAW)
