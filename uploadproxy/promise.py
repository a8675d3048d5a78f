"""What a client promises of its bytes: headers of HTTP (RFC 9530, RFC 3230) and of tus. Pure."""

import base64
import binascii
from collections.abc import Mapping
from typing import Final

from diskyard.api import checksum
from diskyard.api.checksum import LENGTHS
from diskyard.disk.digest import Expected
from diskyard.errors import InvalidRequest

HEADERS: Final = ("Content-Digest", "Repr-Digest", "Digest")
_NAMES: Final = {"sha-512": "sha512", "sha-256": "sha256", "sha": "sha1", "md5": "md5"}
"""As they are registered -> as we call them; the strongest first."""
CHECKED: Final = ("sha1", "sha256", "sha512", "md5")
"""Algorithms of `Upload-Checksum`."""


def of_headers(headers: Mapping[str, str]) -> Expected | None:
    """The digest of a whole body. Raises InvalidRequest for one that cannot be read."""
    for name in HEADERS:
        if text := headers.get(name):
            return _strongest(name, text)
    return None


def of_chunk(text: str) -> Expected:
    """What `Upload-Checksum: sha1 base64` says. Raises InvalidRequest."""
    algorithm, _, encoded = text.strip().partition(" ")
    if algorithm not in CHECKED:
        raise InvalidRequest(
            f"Upload-Checksum: expected one of {', '.join(CHECKED)}, found {algorithm[:40]!r}"
        )
    return _expected("Upload-Checksum", algorithm, encoded)


def of_metadata(text: str) -> dict[str, str]:
    """`Upload-Metadata`: names, and texts (or other bytes) in base64. Raises InvalidRequest."""
    found: dict[str, str] = {}
    for entry in filter(None, (each.strip() for each in text.split(","))):
        name, _, encoded = entry.partition(" ")
        try:
            found[name] = base64.b64decode(encoded, validate=True).decode(errors="surrogateescape")
        except binascii.Error as error:
            raise InvalidRequest(f"Upload-Metadata: {name[:40]!r} is not base64: {error}") from error
    return found


def to_metadata(metadata: Mapping[str, str]) -> str:
    """`Upload-Metadata` again, as it was said."""
    encoded = {
        name: base64.b64encode(text.encode(errors="surrogateescape")).decode()
        for name, text in metadata.items()
    }
    return ",".join(f"{name} {text}".strip() for name, text in encoded.items())


def of_image(metadata: Mapping[str, str]) -> str:
    """`algorithm:hex` of the whole image, as the metadata promise it; empty: nothing. Raises InvalidRequest."""
    said = metadata.get("checksum", "")
    return str(checksum.parse(said)) if said else ""


def _strongest(name: str, text: str) -> Expected:
    said = {}
    for entry in text.split(","):
        algorithm, _, encoded = entry.strip().partition("=")
        said[algorithm.strip().lower()] = encoded.strip().strip(":")
    for registered, algorithm in _NAMES.items():
        if registered in said:
            return _expected(name, algorithm, said[registered])
    raise InvalidRequest(f"{name}: expected one of {', '.join(_NAMES)}, found {', '.join(said)[:80]!r}")


def _expected(name: str, algorithm: str, encoded: str) -> Expected:
    try:
        digest = base64.b64decode(encoded, validate=True).hex()
    except binascii.Error as error:
        raise InvalidRequest(f"{name}: the {algorithm} digest is not base64: {error}") from error
    if len(digest) != LENGTHS[algorithm]:
        raise InvalidRequest(
            f"{name}: a {algorithm} digest has {LENGTHS[algorithm] // 2} bytes, found {len(digest) // 2}"
        )
    return Expected(algorithm, digest)
