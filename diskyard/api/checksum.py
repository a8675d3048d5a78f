"""`sha256:9f86d0...` -> Checksum: what a user promises about the bytes of a source. Pure.

The texts of the errors are CDI's; its clients read them.
"""

from dataclasses import dataclass
from typing import Final

from diskyard.errors import InvalidRequest

LENGTHS: Final = {"md5": 32, "sha1": 40, "sha256": 64, "sha512": 128}
"""Algorithm -> hex characters."""


@dataclass(frozen=True)
class Checksum:
    """An algorithm and the lower-case hex digest that it must give."""

    algorithm: str
    hex: str

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"


def parse(text: str) -> Checksum:
    """The checksum that a text says. Raises InvalidRequest."""
    algorithm, colon, digest = text.strip().partition(":")
    if not colon:
        raise InvalidRequest(f"invalid checksum format: expected 'algorithm:hash', got '{text[:200]}'")
    algorithm, digest = algorithm.strip().lower(), digest.strip().lower()
    if algorithm not in LENGTHS:
        raise InvalidRequest(
            f"unsupported hash algorithm '{algorithm[:40]}': supported algorithms are: {', '.join(LENGTHS)}"
        )
    if not digest:
        raise InvalidRequest("checksum hash value cannot be empty")
    if len(digest) != LENGTHS[algorithm]:
        raise InvalidRequest(
            f"invalid {algorithm} hash length: expected {LENGTHS[algorithm]} hex characters, got {len(digest)}"
        )
    for place, character in enumerate(digest):
        if character not in "0123456789abcdef":
            raise InvalidRequest(
                f"checksum hash is not valid hexadecimal: found {character!r} at character {place + 1}"
            )
    return Checksum(algorithm, digest)
