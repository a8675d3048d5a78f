"""Looking at sources: which version is there now, by the servers that users have."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from diskyard.api.job import ImportJob
from diskyard.errors import AccessDenied, DiskyardError, InvalidRequest, SourceMissing
from importer.poll import found, newest
from tests.imageserver import ImageServer
from tests.importer.stores import SECRET, USER, GcsStore, S3Store


def http(url: str, **more: str) -> ImportJob:
    return ImportJob("http", url, **more)


def s3(store: S3Store, key: str, secret: str = SECRET) -> ImportJob:
    return ImportJob("s3", store.url(key), access_key=USER, secret_key=secret)


def put(images: ImageServer, name: str, contents: bytes) -> bytes:
    (images.root / name).write_bytes(contents)
    return contents


def test_another_file_on_a_web_server_is_another_version(images: ImageServer) -> None:
    put(images, "poll.img", b"one")
    first = found(http(images.url("poll.img")))
    assert first == found(http(images.url("poll.img")))
    put(images, "poll.img", b"another one")
    assert found(http(images.url("poll.img"))).digest != first.digest


def test_a_page_is_no_version(images: ImageServer) -> None:
    put(images, "poll.html", b"<html>Please log in</html>")
    with pytest.raises(SourceMissing, match="is a web page"):
        found(http(images.url("poll.html")))


def test_the_checksums_name_the_newest_file(images: ImageServer) -> None:
    sums = {
        name: hashlib.sha256(name.encode()).hexdigest() for name in ("os-9.img", "os-10.img", "other-11.img")
    }
    put(images, "POLLSUMS", "".join(f"{digest}  {name}\n" for name, digest in sums.items()).encode())
    asked = http(images.url("folder/"), checksum_url=images.url("POLLSUMS"))
    said = found(asked, "os-*.img")
    assert said.url == images.url("folder/os-10.img")
    assert said.digest == said.checksum == f"sha256:{sums['os-10.img']}"
    with pytest.raises(InvalidRequest, match=r"names no file that fits 'win-\*'"):
        found(asked, "win-*")


def test_the_newest_object_of_a_prefix(moto: S3Store) -> None:
    moto.put(b"1", "poll/os-1.img")
    first = found(s3(moto, "poll/"))
    moto.put(b"2", "poll/os-2.img")
    moto.put(b"x", "poll/notes.txt")
    second = found(s3(moto, "poll/"), "*.img")
    assert (first.url, second.url) == (moto.url("poll/os-1.img"), moto.url("poll/os-2.img"))
    assert first.digest != second.digest
    with pytest.raises(SourceMissing, match="no object below"):
        found(s3(moto, "poll/"), "*.iso")


def test_a_bucket_without_rights_says_so(swift: S3Store) -> None:
    with pytest.raises(AccessDenied):
        found(s3(swift, "poll/", "wrong"))


def test_an_object_that_is_replaced_is_another_version(swift: S3Store) -> None:
    swift.put(b"one", "poll-object.img")
    first = found(s3(swift, "poll-object.img"))
    swift.put(b"two", "poll-object.img")
    assert found(s3(swift, "poll-object.img")).digest != first.digest


def test_a_folder_of_a_web_server_needs_checksums(images: ImageServer) -> None:
    with pytest.raises(InvalidRequest, match="name the file of checksums"):
        found(http(images.url("folder/")))


def test_a_kind_without_versions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DiskyardError, match="no versions"):
        found(ImportJob("file", str(tmp_path)))


def test_numbers_count_as_numbers() -> None:
    assert newest(["os-9", "os-10", "os-1"], "os-*") == "os-10"
    assert newest(["a"], "b*") is None


def test_a_private_buckets_checksums_are_asked_for_as_its_images_are(swift: S3Store) -> None:
    digest = hashlib.sha256(b"an image").hexdigest()
    swift.put(b"an image", "sums/os-1.img")
    swift.put(f"{digest}  os-1.img\n".encode(), "sums/SHA256SUMS")
    asked = replace(s3(swift, "sums/"), checksum_url=swift.url("sums/SHA256SUMS"))
    said = found(asked, "os-*.img")
    assert (said.url, said.checksum) == (swift.url("sums/os-1.img"), f"sha256:{digest}")
    with pytest.raises(AccessDenied):
        found(replace(asked, secret_key="wrong"))


def test_another_generation_of_an_object_is_another_version(gcs: GcsStore) -> None:
    job = ImportJob("gcs", gcs.url(gcs.put(b"one", "poll.img")), anonymous=True)
    first = found(job)
    assert first == found(job)
    gcs.put(b"two", "poll.img")
    assert found(job).digest != first.digest


def test_the_checksums_in_googles_bucket_name_the_newest_object(gcs: GcsStore) -> None:
    lines = [f"{hashlib.sha256(name.encode()).hexdigest()}  {name}\n" for name in ("os-9.img", "os-10.img")]
    gcs.put("".join(lines).encode(), "os/SHA256SUMS")
    asked = ImportJob("gcs", gcs.url("os/"), anonymous=True, checksum_url=gcs.url("os/SHA256SUMS"))
    assert found(asked).url == gcs.url("os/os-10.img")
