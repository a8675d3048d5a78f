"""Google Cloud Storage: its emulator for what is honest, a stricter server for tokens and generations."""

import hashlib
from contextlib import closing
from pathlib import Path

import pytest

from diskyard.api.job import ImportJob
from diskyard.disk.target import Target
from diskyard.errors import AccessDenied, InvalidRequest, SourceChanged, SourceMissing, SourceUnavailable
from importer.gcs import GOOGLE, GcsSource, Place, place
from importer.request import Access
from importer.transfer import transfer
from tests.disk.images import MIB, converted, raw, same
from tests.disk.source_suite import BODY, span
from tests.imageserver import fault_server, status
from tests.importer.conftest import Pod
from tests.importer.google import NAME, Google, google
from tests.importer.stores import GcsStore

CHUNK = 5 * MIB


def opened(server: Google, key: Path | None = None, name: str = "a disk") -> GcsSource:
    return GcsSource(Place("bucket", name, server.endpoint), str(key or ""), Access())


def key_of(server: Google, folder: Path) -> Path:
    path = folder / "credentials.json"
    path.write_text(server.key)
    return path


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("gs://b/a/b c.img", Place("b", "a/b c.img")),
        ("GS://b/o", Place("b", "o")),
        (f"{GOOGLE}/b/a%20b", Place("b", "a b")),
        ("http://127.0.0.1:4443/b/o/p", Place("b", "o/p", "http://127.0.0.1:4443")),
    ],
)
def test_a_url_names_a_place(url: str, expected: Place) -> None:
    assert place(url) == expected


@pytest.mark.parametrize("url", ["gs://b", "gs:///o", "https://h/b", "https://h/"])
def test_a_url_that_names_no_object_is_refused(url: str) -> None:
    with pytest.raises(InvalidRequest, match="does not name an object"):
        place(url)


def test_a_public_object_is_asked_for_as_it_is_stored() -> None:
    with google(BODY) as server, closing(opened(server)) as source:
        assert span(source, 0, CHUNK) == BODY[:CHUNK]

        assert source.validator == "1"
        assert all(headers["accept-encoding"] == "gzip" for _, headers in server.seen)
        assert not any("authorization" in headers for _, headers in server.seen)
        assert server.seen[1][0].endswith("/o/a%20disk?alt=media&generation=1")


def test_a_service_account_reads_by_a_token(tmp_path: Path) -> None:
    with google(BODY) as server:
        server.token = "nobody has it"

        with closing(opened(server, key_of(server, tmp_path))) as source:
            assert span(source, 0, CHUNK) == BODY[:CHUNK]

        assert server.tokens == 1


def test_a_token_that_expires_is_renewed(tmp_path: Path) -> None:
    with google(BODY) as server, closing(opened(server, key_of(server, tmp_path))) as source:
        assert span(source, 0, 100) == BODY[:100]
        server.token = "another hour"

        assert span(source, 3 * MIB, 100) == BODY[3 * MIB :][:100]
        assert server.tokens == 2


def test_an_object_that_is_overwritten_is_never_mixed() -> None:
    with google(BODY) as server, closing(opened(server)) as source:
        assert span(source, 0, 100) == BODY[:100]
        server.overwrite(BODY[::-1])

        with pytest.raises(SourceChanged, match=r"has changed while it was read \(generation 1\)"):
            span(source, 3 * MIB, 100)


def test_another_generation_is_another_validator(gcs: GcsStore) -> None:
    name = gcs.put(b"one")
    with closing(GcsSource(place(gcs.url(name)), "", Access())) as source:
        first = source.validator
    gcs.put(b"two", name)

    with closing(GcsSource(place(gcs.url(name)), "", Access())) as source:
        assert source.validator != first
        assert span(source, 0, 10) == b"two"


def test_an_object_that_is_not_there_is_named(gcs: GcsStore) -> None:
    with pytest.raises(SourceMissing, match=r"there is no gs://images/none at .*: correct the bucket or"):
        GcsSource(place(gcs.url("none")), "", Access())


def test_an_object_that_is_not_public_asks_for_a_key() -> None:
    with google(BODY) as server:
        server.token = "nobody has it"

        with pytest.raises(AccessDenied, match="not public: give a service account's key"):
            opened(server)


def test_an_account_without_permission_is_named(tmp_path: Path) -> None:
    with google(BODY) as server, fault_server(b"", status(403)) as store:
        where = Place("bucket", "a disk", f"http://127.0.0.1:{store.port}")

        with pytest.raises(AccessDenied, match=f"{NAME} may not read it: grant it Storage Object Viewer"):
            GcsSource(where, str(key_of(server, tmp_path)), Access())


def test_something_else_at_the_endpoint_is_said() -> None:
    with (
        fault_server(b"<html>hello") as server,
        pytest.raises(InvalidRequest, match=r"JSON at .*: correct the endpoint"),
    ):
        GcsSource(Place("b", "o", f"http://127.0.0.1:{server.port}"), "", Access())


@pytest.mark.parametrize(
    "text", ["", "{}", "[1]", '{"type": "authorized_user"}', "-----BEGIN PRIVATE KEY-----"]
)
def test_a_file_that_is_no_key_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "key").write_text(text)

    with google(BODY) as server, pytest.raises(InvalidRequest, match="not a service account's key"):
        opened(server, tmp_path / "key")


def test_a_key_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with google(BODY) as server, pytest.raises(InvalidRequest, match="cannot read the service account's key"):
        opened(server, tmp_path / "none")


def test_a_key_cannot_send_us_to_the_metadata_service(tmp_path: Path) -> None:
    with google(BODY) as server:
        key = key_of(server, tmp_path)
        key.write_text(key.read_text().replace(server.endpoint, "http://169.254.169.254"))

        with pytest.raises(InvalidRequest, match="metadata service"):
            opened(server, key)


def test_a_token_server_that_is_away_may_come_back(tmp_path: Path) -> None:
    with google(BODY) as server:
        key = key_of(server, tmp_path)
        with fault_server(b"") as gone:
            key.write_text(key.read_text().replace(server.endpoint, f"http://127.0.0.1:{gone.port}"))

        with pytest.raises(SourceUnavailable, match="cannot get a token"):
            opened(server, key)


def test_a_qcow2_becomes_the_same_disk(gcs: GcsStore, tmp_path: Path) -> None:
    disk = raw(tmp_path / "disk.raw")
    image = converted(disk, tmp_path / "disk.qcow2", "qcow2", "-c").read_bytes()
    checksum = f"sha256:{hashlib.sha256(image).hexdigest()}"

    result = transfer(
        ImportJob("gcs", gcs.url(gcs.put(image)), checksum=checksum), Target(tmp_path / "disk.img")
    )

    assert (result.format, result.digest) == ("qcow2", checksum)
    assert same(disk, tmp_path / "disk.img")


def test_a_pod_finds_the_key_where_the_environment_says(pod: Pod) -> None:
    with google(BODY) as server:
        server.token = "nobody has it"
        job = ImportJob("gcs", f"{server.endpoint}/bucket/a disk".replace(" ", "%20"))

        refused = pod.run(job)
        ended = pod.run(job, GOOGLE_APPLICATION_CREDENTIALS=str(key_of(server, pod.folder)))

        assert (refused.code, refused.message.reason) == (3, "AccessDenied")
        assert ended.code == 0
        assert pod.disk.read_bytes()[: len(BODY)] == BODY
