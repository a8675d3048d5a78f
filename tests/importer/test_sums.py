"""Files of checksums: their lines, and signatures by real keys."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from diskyard.errors import ChecksumMismatch, DiskyardError, InvalidRequest, SourceMissing
from importer.request import Access
from importer.sums import MAX_SUMS, found, got, lines, promised
from tests.imageserver import ImageServer
from tests.importer.signers import Signer, signing

IMAGE = "https://images.example/releases/disk%20one.qcow2?token=1"
NAME = "disk one.qcow2"
WEB = partial(got, access=Access())
MD5, SHA1, SHA256, SHA512 = "a" * 32, "b" * 40, "c" * 64, "d" * 128


@pytest.mark.parametrize(
    ("line", "name", "algorithm"),
    [
        (f"{SHA256}  disk.img", "disk.img", "sha256"),
        (f"{SHA512} *disk.img", "disk.img", "sha512"),
        (f"{SHA1.upper()}  disk.img\r", "disk.img", "sha1"),
        (f"{MD5}  ./images/disk.img", "./images/disk.img", "md5"),
        (f"{SHA256}  a b  c.img", "a b  c.img", "sha256"),
        (f"\\{SHA256}  a\\\\b\\nc", "a\\b\nc", "sha256"),
        (f"SHA256 (disk.img) = {SHA256}", "disk.img", "sha256"),
        (f"SHA512 (disk (1).img) = {SHA512}", "disk (1).img", "sha512"),
    ],
)
def test_a_line_says(line: str, name: str, algorithm: str) -> None:
    ((path, checksum),) = lines(line)

    assert (path, checksum.algorithm) == (name, algorithm)
    assert checksum.hex == checksum.hex.lower()


@pytest.mark.parametrize(
    "line",
    [
        "", "# a comment", f"# {SHA256}  disk.img", "disk.img", SHA256, f"{SHA256[:-1]}  disk.img",
        f"SHA256 (disk.img) = {SHA1}", f"xyz {SHA256}  disk.img", "-----BEGIN PGP SIGNATURE-----",
    ],
)  # fmt: skip
def test_other_lines_say_nothing(line: str) -> None:
    assert list(lines(line)) == []


def test_the_strongest_checksum_of_a_name_counts() -> None:
    text = f"MD5 (d) = {MD5}\nSHA512 (d) = {SHA512}\nSHA256 (d) = {SHA256}\n{SHA1}  other\n"

    assert str(found(text, "d", "SUMS")) == f"sha512:{SHA512}"


def test_a_name_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(InvalidRequest, match=r"no checksum for 'c': it has a, b\. Correct"):
        found(f"{SHA256}  a\n{SHA256}  x/b\n", "c", "SUMS")


def test_a_name_with_two_checksums_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="several sha256 checksums"):
        found(f"{SHA256}  amd64/d\n{'e' * 64}  arm64/d\n", "d", "SUMS")


def test_a_file_without_checksums_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="has no checksums"):
        found("<html>not found</html>", "d", "SUMS")


def test_a_file_is_found_by_url_and_by_path(images: ImageServer, tmp_path: Path) -> None:
    text = f"{SHA256}  disk one.qcow2\n"
    (images.root / "SHA256SUMS").write_text(text)
    (tmp_path / "SHA256SUMS").write_text(text)

    for place in (images.url("SHA256SUMS"), str(tmp_path / "SHA256SUMS")):
        assert promised(IMAGE, place, WEB).hex == SHA256


def test_a_file_that_is_missing_or_too_large_is_refused(images: ImageServer, tmp_path: Path) -> None:
    (images.root / "LARGE").write_bytes(bytes(MAX_SUMS + 1))

    with pytest.raises(SourceMissing, match="404"):
        promised(IMAGE, images.url("none"), WEB)
    with pytest.raises(SourceMissing, match="there is no file"):
        promised(IMAGE, str(tmp_path / "none"), WEB)
    with pytest.raises(InvalidRequest, match=f"more than {MAX_SUMS} bytes"):
        promised(IMAGE, images.url("LARGE"), WEB)


@pytest.fixture(scope="module")
def signers() -> Iterator[list[Signer]]:
    """Two keys: the right one and a stranger's."""
    with signing() as signer, signing() as stranger:
        yield [signer, stranger]


@dataclass(frozen=True)
class Release:
    """A file of checksums and who may sign it."""

    signer: Signer
    stranger: Signer
    folder: Path

    def sums(self, text: bytes) -> str:
        (self.folder / "SUMS").write_bytes(text)
        return str(self.folder / "SUMS")

    def signature(self, signature: bytes) -> str:
        (self.folder / "SUMS.gpg").write_bytes(signature)
        return str(self.folder / "SUMS.gpg")

    @property
    def keyring(self) -> str:
        return str(self.signer.keyring(self.folder / "keys.gpg"))


@pytest.fixture
def release(signers: list[Signer], tmp_path: Path) -> Release:
    return Release(*signers, tmp_path)


TEXT = f"{SHA256}  {NAME}\n- dashed\n".encode()


@pytest.mark.parametrize("armour", ["--armor", "--no-armor"])
def test_a_detached_signature_is_verified(release: Release, armour: str) -> None:
    signature = release.signer.gpg(armour, "--detach-sign", given=TEXT)

    said = promised(IMAGE, release.sums(TEXT), WEB, release.signature(signature), release.keyring)

    assert said.hex == SHA256


def test_a_signature_in_line_is_verified_and_what_is_around_it_is_not_believed(release: Release) -> None:
    signed = release.signer.gpg("--clearsign", given=TEXT)
    around = f"{'e' * 64}  {NAME}\n".encode()

    assert promised(IMAGE, release.sums(signed), WEB, keyring=release.keyring).hex == SHA256
    assert promised(IMAGE, release.sums(around + signed), WEB, keyring=release.keyring).hex == SHA256
    assert promised(IMAGE, release.sums(signed + around), WEB, keyring=release.keyring).hex == SHA256


def test_a_signature_in_line_does_not_hide_the_lines_from_those_who_have_no_keyring(release: Release) -> None:
    signed = release.signer.gpg("--clearsign", given=TEXT)

    assert promised(IMAGE, release.sums(signed), WEB).hex == SHA256


def test_an_armoured_keyring_is_read(release: Release) -> None:
    keyring = release.signer.keyring(release.folder / "keys.asc", "--armor")
    signed = release.signer.gpg("--clearsign", given=TEXT)

    assert promised(IMAGE, release.sums(signed), WEB, keyring=str(keyring)).hex == SHA256


def test_a_file_that_was_changed_after_it_was_signed_is_refused_with_the_key(release: Release) -> None:
    signature = release.signature(release.signer.gpg("--detach-sign", given=TEXT))
    changed = release.sums(TEXT.replace(b"c", b"e"))

    with pytest.raises(ChecksumMismatch, match=f"does not match the file: key {release.signer.key}"):
        promised(IMAGE, changed, WEB, signature, release.keyring)


def test_a_stranger_s_signature_is_refused_with_the_key(release: Release) -> None:
    signature = release.signature(release.stranger.gpg("--detach-sign", given=TEXT))

    with pytest.raises(
        ChecksumMismatch, match=f"key that is not in the keyring: key {release.stranger.key}, keyring"
    ):
        promised(IMAGE, release.sums(TEXT), WEB, signature, release.keyring)


def test_no_signature_where_a_keyring_wants_one_is_refused(release: Release) -> None:
    with pytest.raises(ChecksumMismatch, match="is not signed"):
        promised(IMAGE, release.sums(TEXT), WEB, keyring=release.keyring)
    with pytest.raises(ChecksumMismatch, match="is none"):
        promised(IMAGE, release.sums(TEXT), WEB, release.signature(b"nonsense"), release.keyring)


def test_what_makes_no_sense_is_told(release: Release) -> None:
    signature = release.signature(release.signer.gpg("--detach-sign", given=TEXT))
    refusals: list[tuple[str, str, type[DiskyardError], str]] = [
        (signature, "", InvalidRequest, "give a keyring"),
        (signature, str(release.folder / "none"), InvalidRequest, "cannot read the keyring"),
        (str(release.folder / "none"), release.keyring, SourceMissing, "there is no file"),
    ]

    for place, keyring, kind, words in refusals:
        with pytest.raises(kind, match=words):
            promised(IMAGE, release.sums(TEXT), WEB, place, keyring)
