"""SHA256SUMS files as a source of truth: the line of one image, in a file that a key of the user's has signed.

GNU coreutils' lines, BSD's lines, comments, and text that is signed in line (RFC 4880 §7). Signatures are verified
by `gpgv` against the given keyring and nothing else: no network, no key of this machine's, no trust database.
"""

import base64
import binascii
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from diskyard.api.checksum import LENGTHS, Checksum
from diskyard.errors import ChecksumMismatch, InvalidRequest, SourceMissing, SourceUnavailable
from importer.request import Access, get, shown

MAX_SUMS: Final = 4 << 20
"""Bytes of a file of checksums."""
MAX_SIGNATURE: Final = 64 << 10
MAX_KEYRING: Final = 16 << 20
_NAMED: Final = 20
"""Names that a message lists."""
_SECONDS: Final = 30
_GNU: Final = re.compile(r"(\\?)([0-9a-fA-F]{32,128})[ \t]+\*?(.+)")
_BSD: Final = re.compile(r"(MD5|SHA1|SHA256|SHA512)[ \t]*\((.+)\)[ \t]*=[ \t]*([0-9a-fA-F]{32,128})")
_ALGORITHMS: Final = {length: algorithm for algorithm, length in LENGTHS.items()}
_SIGNED: Final = "-----BEGIN PGP SIGNED MESSAGE-----"
_SIGNATURE: Final = "-----BEGIN PGP SIGNATURE-----"
_KEYS: Final = b"-----BEGIN PGP PUBLIC KEY BLOCK-----"
_BAD: Final = {
    "BADSIG": "does not match the file",
    "REVKEYSIG": "was made by a key that has been revoked",
    "EXPKEYSIG": "was made by a key that has expired",
    "EXPSIG": "has expired",
    "NO_PUBKEY": "was made by a key that is not in the keyring",
    "ERRSIG": "cannot be verified",
}
"""What gpgv says on its status lines (GnuPG, doc/DETAILS) -> words; the first that it says counts."""


Fetch = Callable[[str, int], bytes]
"""A small document at a URL, or at most a byte more than so many of it. Raises what a source does."""


def promised(image: str, url: str, fetch: Fetch, signature: str = "", keyring: str = "") -> Checksum:
    """The checksum that the file at `url` promises for an image, which it knows by the last part of its name.

    `url` and `signature` (detached) are URLs or paths; with a keyring, a signature is demanded: `signature`, or
    one in the file itself. Raises InvalidRequest, ChecksumMismatch, SourceMissing, AccessDenied, SourceUnavailable.
    """
    name = unquote(urlsplit(image).path).rpartition("/")[2]
    return found(document(url, fetch, signature, keyring), name, shown(url))


def document(url: str, fetch: Fetch, signature: str = "", keyring: str = "") -> str:
    """The file of checksums itself, as `promised` has it: signed where a keyring is given. Raises the same."""
    if signature and not keyring:
        raise InvalidRequest("a signature needs the public keys that may have made it: give a keyring, too")
    fetched = _fetched(url, fetch, MAX_SUMS)
    if keyring:
        detached = _fetched(signature, fetch, MAX_SIGNATURE) if signature else None
        fetched = verified(fetched, detached, Path(keyring), shown(url))
    return fetched.decode(errors="replace")


def found(text: str, name: str, where: str) -> Checksum:
    """The strongest checksum that a text has for a file name. Raises InvalidRequest, which lists the names."""
    known: dict[str, set[Checksum]] = {}
    for path, checksum in lines(text):
        known.setdefault(path.rpartition("/")[2], set()).add(checksum)
    if not known:
        raise InvalidRequest(
            f"{where} has no checksums: expected lines such as 'HEX  NAME' or 'SHA256 (NAME) = HEX'"
        )
    if name not in known:
        names = sorted(known)
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        raise InvalidRequest(
            f"{where} has no checksum for {name!r}: it has {', '.join(names[:_NAMED])}{more}. Correct the URL of the "
            "image or that of the checksums, or give the checksum itself"
        )
    strongest = max(known[name], key=lambda each: len(each.hex))
    if sum(each.algorithm == strongest.algorithm for each in known[name]) > 1:
        raise InvalidRequest(
            f"{where} has several {strongest.algorithm} checksums for {name!r}: expected one. Give the right one itself"
        )
    return strongest


def lines(text: str) -> Iterator[tuple[str, Checksum]]:
    """Path and checksum of every line that has one; what is signed in line counts without its armour."""
    for line in _unarmoured(text).splitlines():
        if match := _BSD.fullmatch(line.strip()):
            algorithm, path, digest = match.groups()
            if len(digest) == LENGTHS[algorithm.lower()]:
                yield path, Checksum(algorithm.lower(), digest.lower())
        elif match := _GNU.fullmatch(line.rstrip("\r")):
            escaped, digest, path = match.groups()
            if algorithm := _ALGORITHMS.get(len(digest)):
                yield _unescaped(path) if escaped else path, Checksum(algorithm, digest.lower())


def verified(document: bytes, signature: bytes | None, keyring: Path, where: str) -> bytes:
    """What of a document a key of the keyring has signed: all of it, or the text inside where it is signed in line.

    Raises ChecksumMismatch with the key's id, InvalidRequest where there is no keyring or no gpgv.
    """
    if signature is None and _SIGNED.encode() not in document:
        raise ChecksumMismatch(
            f"{where} is not signed: expected a signature in it, or a detached one beside it. Say where that is "
            "(--signature-url)"
        )
    with tempfile.TemporaryDirectory(prefix="diskyard-sums-") as name:
        folder = Path(name)
        (folder / "keys").write_bytes(_keys(keyring))
        (folder / "document").write_bytes(document)
        files = [folder / "document"]
        if signature is not None:
            (folder / "signature").write_bytes(signature)
            files.insert(0, folder / "signature")
        _check(_status(folder, files, where), where, keyring)
        return document if signature is not None else (folder / "text").read_bytes()


def _status(folder: Path, files: list[Path], where: str) -> list[list[str]]:
    """gpgv's status lines, in words. What it unpacks is bounded: it writes before it knows whose it is."""
    output = ["--output", str(folder / "text")] if len(files) == 1 else []
    command = [
        "prlimit", f"--fsize={MAX_SUMS}", "gpgv", "--homedir", str(folder), "--keyring", str(folder / "keys"),
        "--status-fd", "1", "--weak-digest", "SHA1", *output, "--", *map(str, files),
    ]  # fmt: skip
    if not shutil.which("gpgv"):
        raise InvalidRequest("signatures are verified by gpgv, which is not installed: apt-get install gpgv")
    try:
        done = subprocess.run(command, check=False, capture_output=True, timeout=_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise ChecksumMismatch(f"gpgv did not verify the signature within {_SECONDS} seconds") from error
    if done.returncode == -signal.SIGXFSZ:
        raise ChecksumMismatch(
            f"what is signed in {where} unpacks to more than {MAX_SUMS} bytes: expected a file of checksums"
        )
    said = done.stdout.decode(errors="replace").splitlines()
    return [line.split()[1:] for line in said if line.startswith("[GNUPG:] ")]


def _check(status: list[list[str]], where: str, keyring: Path) -> None:
    """Nothing where a good signature is there and none is bad."""
    kinds = {words[0] for words in status}
    if {"GOODSIG", "VALIDSIG"} <= kinds and "BADSIG" not in kinds:
        return
    for kind, meaning in _BAD.items():
        for words in status:
            if words[0] == kind:
                raise ChecksumMismatch(
                    f"the signature of {where} {meaning}: key {words[1]}, keyring {keyring}. Someone has changed the "
                    "file, or the keyring is the wrong one: nothing is imported"
                )
    raise ChecksumMismatch(
        f"the signature of {where} is none: expected an OpenPGP signature by a key of {keyring}, found something else"
    )


def _keys(keyring: Path) -> bytes:
    """Public keys as gpgv reads them: without their armour."""
    try:
        with keyring.open("rb") as file:
            keys = file.read(MAX_KEYRING + 1)
    except OSError as error:
        raise InvalidRequest(f"cannot read the keyring {keyring}: {error.strerror}") from error
    if len(keys) > MAX_KEYRING:
        raise InvalidRequest(f"the keyring {keyring} has more than {MAX_KEYRING} bytes")
    if _KEYS not in keys:
        return keys
    try:
        return b"".join(_dearmoured(block) for block in keys.split(_KEYS)[1:])
    except binascii.Error as error:
        raise InvalidRequest(f"the keyring {keyring} is damaged: {error}") from error


def _dearmoured(block: bytes) -> bytes:
    """RFC 4880 §6.2: headers, an empty line, base64, a checksum line that begins with `=`."""
    _, _, body = block.replace(b"\r\n", b"\n").partition(b"\n\n")
    body = body.partition(b"-----END")[0]
    return base64.b64decode(b"".join(line for line in body.split() if not line.startswith(b"=")))


def _unarmoured(text: str) -> str:
    """RFC 4880 §7: the text between the headers and the signature, its dashes unescaped."""
    start = text.find(_SIGNED)
    if start < 0:
        return text
    _, _, body = text[start:].replace("\r\n", "\n").partition("\n\n")
    body = body.partition(f"\n{_SIGNATURE}")[0]
    return "\n".join(line.removeprefix("- ") for line in body.split("\n"))


def _unescaped(path: str) -> str:
    """coreutils: a line that begins with a backslash has \\n, \\r and \\\\ in its name."""
    meant: Mapping[str, str] = {"n": "\n", "r": "\r", "\\": "\\"}
    return re.sub(r"\\(.)", lambda match: meant.get(match[1], match[0]), path)


def _fetched(place: str, fetch: Fetch, limit: int) -> bytes:
    """The small document at a URL or a path, whole."""
    document = _read(place, limit) if "://" not in place else fetch(place, limit)
    if len(document) > limit:
        raise InvalidRequest(f"{shown(place)} has more than {limit} bytes: expected a file of checksums")
    return document


def _read(place: str, limit: int) -> bytes:
    try:
        with Path(place).open("rb") as file:
            return file.read(limit + 1)
    except FileNotFoundError as error:
        raise SourceMissing(f"there is no file at {place}: correct the path") from error
    except OSError as error:
        raise InvalidRequest(f"cannot read {place}: {error.strerror}") from error


def got(url: str, limit: int, access: Access) -> bytes:
    """A small document of a web server's, or at most a byte more than so many of it. Raises what `get` does."""
    answer = get(url, access, {}, {200})
    try:
        document, view = bytearray(), memoryview(bytearray(64 << 10))
        while len(document) <= limit and (count := answer.readinto(view)):
            document += view[:count]
        length = answer.headers.get("Content-Length", "")
        if len(document) <= limit and length.isdecimal() and len(document) != int(length):
            raise SourceUnavailable(f"{shown(url)} broke off after {len(document)} of {length} bytes")
        return bytes(document)
    finally:
        answer.close()
