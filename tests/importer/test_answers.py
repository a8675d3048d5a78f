"""Answers that no honest server gives, and names that are not ASCII: words that say what was found, or the bytes."""

import json
import time
import zlib
from contextlib import closing
from pathlib import Path

import pytest

from diskyard.errors import AccessDenied, ChecksumMismatch, InvalidRequest, SourceUnavailable, UnsafeImage
from importer.gcs import GcsSource, Place
from importer.http import HttpSource
from importer.imageio import ImageioImage
from importer.ovirt import Ticket
from importer.poll import newest
from importer.registry.client import Repository
from importer.registry.layout import Layout
from importer.registry.reference import Reference
from importer.request import Access, header_lines
from importer.s3 import Login, S3Source
from importer.s3 import place as s3_place
from importer.sums import verified
from tests.disk.tars import entry, tar
from tests.imageserver import Exchange, fault_server, status

DEEP = b"[" * 60_000
ENDLESS = b'{"size": 1e999, "generation": "1"}'


def test_a_name_that_is_not_ascii_goes_over_the_wire_as_utf_8() -> None:
    with (
        fault_server(b"a disk") as server,
        closing(HttpSource(server.url("bild-ü €.img?k=ä".replace(" ", "")), Access())),
    ):
        pass

    assert server.seen[0]["path"] == "/bild-%C3%BC%E2%82%AC.img?k=%C3%A4"


def test_a_redirect_to_a_name_that_is_not_ascii_is_followed_byte_for_byte() -> None:
    with fault_server(b"a disk") as server:
        server.faults = [status(302, Location="/bild-ü%20%.img")]  # in latin-1, as http.server sends it
        with closing(HttpSource(server.url(), Access())):
            pass

    assert server.seen[1]["path"] == "/bild-%FC%20%.img"


NINES = "9" * 5000
UNREADABLE = [
    {"Content-Length": "\u00b2"},
    {"Content-Length": NINES},
    {"Content-Range": f"bytes 0-9/{NINES}"},
]


@pytest.mark.parametrize("said", UNREADABLE, ids=["a power", "very long", "very far"])
def test_a_length_that_is_no_number_is_found_out(said: dict[str, str]) -> None:
    def answer(exchange: Exchange) -> None:
        exchange.answer(206, {"ETag": '"v1"', **said}, b"0123456789")

    with fault_server(b"", *[answer] * 2) as server:
        with pytest.raises(SourceUnavailable, match="which is no number"):
            HttpSource(server.url(), Access())
        with pytest.raises(SourceUnavailable, match=r"headers that cannot be read|expected Content-Range"):
            S3Source(s3_place(server.url("b/k")), Login(anonymous=True), Access())


@pytest.mark.parametrize("line", ["X-Token: 5 €", "Ü: 1"])
def test_a_header_that_http_cannot_carry_is_refused(line: str) -> None:
    with pytest.raises(InvalidRequest, match="characters that HTTP cannot carry"):
        header_lines([line])


@pytest.mark.parametrize("answer", [DEEP, b"7", b'{"token": "\\u20ac"}', b'{"token": "a\\nb"}', b"{}"])
def test_a_token_server_that_gives_something_else_is_found_out(answer: bytes) -> None:
    with fault_server(b"") as server:
        realm = f'Bearer realm="{server.url("token")}"'
        server.faults = [status(401, WWW_Authenticate=realm), status(200, answer)]
        repository = Repository(
            Reference(f"127.0.0.1:{server.port}", "a/b", "1"), Access(insecure=True), None
        )

        with pytest.raises(SourceUnavailable, match="gave no token"):
            repository.manifest("1")


def test_a_challenge_takes_as_long_as_it_is() -> None:
    with fault_server(b"", *[status(401, WWW_Authenticate="Bearer " + "a" * 65_000)] * 2) as server:
        repository = Repository(
            Reference(f"127.0.0.1:{server.port}", "a/b", "1"), Access(insecure=True), None
        )
        begun = time.process_time()

        with pytest.raises(AccessDenied, match="without credentials"):
            repository.manifest("1")

    assert time.process_time() - begun < 5


@pytest.mark.parametrize(
    "answer", [DEEP, ENDLESS, b'{"size": "x", "generation": "1"}', b'{"size": 1}', b'"size"']
)
def test_metadata_of_an_object_that_cannot_be_is_found_out(answer: bytes) -> None:
    place = "http://127.0.0.1"
    with fault_server(answer) as server, pytest.raises(InvalidRequest, match="correct the endpoint"):
        GcsSource(Place("b", "o", f"{place}:{server.port}"), "", Access())


@pytest.mark.parametrize("options", [DEEP, b'{"features": ["extents"], "max_readers": 1e999}', b"[]"])
def test_an_imageio_server_that_says_nonsense_of_itself_is_one_of_few_talents(options: bytes) -> None:
    with fault_server(bytes(4096)) as server:
        server.options = options
        with closing(ImageioImage(Ticket((server.url(),), 4096, public=False), Access())) as image:
            assert [extent.zero for extent in image.extents()] == [False]


def test_an_extent_without_an_end_is_found_out() -> None:
    endless = status(200, b'[{"start": 0, "length": 1e999, "zero": false}]')
    with fault_server(b"", endless) as server:
        server.options = json.dumps({"features": ["extents"], "max_readers": 8}).encode()

        with pytest.raises(SourceUnavailable, match="expected an extent"):
            ImageioImage(Ticket((server.url(),), 4096, public=False), Access())


def test_a_number_of_any_length_is_ordered() -> None:
    long = "os-" + "9" * 5000

    assert newest(["os-08", long, "os-10", "os-"], "os-*") == long
    assert newest(["os-08", "os-7"], "os-*") == "os-08"


def test_an_archive_of_very_many_blobs_is_no_image(tmp_path: Path) -> None:
    others = (entry(f"other/{number}") for number in range(100))
    blobs = (entry(f"blobs/sha256/{number:064x}") for number in range((1 << 12) + 1))
    (tmp_path / "image.tar").write_bytes(tar([*others, *blobs]))

    with pytest.raises(UnsafeImage, match="more than 4096 blobs"):
        Layout(tmp_path / "image.tar")


def test_a_signed_file_that_unpacks_to_very_much_is_not_written_down(tmp_path: Path) -> None:
    """What gpgv is told to write comes before it knows who has signed it."""
    packer = zlib.compressobj(9, wbits=-15)
    literal = b"\xaf" + b"b\0" + bytes(4)
    packed = (
        packer.compress(literal)
        + b"".join(packer.compress(bytes(1 << 20)) for _ in range(64))
        + packer.flush()
    )
    document = b"\xa3\x01" + packed + b"\n-----BEGIN PGP SIGNED MESSAGE-----\n"
    assert len(document) < 1 << 17

    (tmp_path / "keys").touch()
    with pytest.raises(ChecksumMismatch, match="signed in SUMS unpacks to more than 4194304"):
        verified(document, None, tmp_path / "keys", "SUMS")
