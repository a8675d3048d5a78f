"""The digest of a source's bytes, in source order, and what it was promised to be."""

import hashlib
import hmac
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from diskyard import linux
from diskyard.errors import ChecksumMismatch

DEFAULT_ALGORITHM: Final = "sha256"
_CHUNK: Final = 1 << 20


@dataclass(frozen=True)
class Expected:
    """The digest that the source's bytes must have: lower-case hex."""

    algorithm: str
    hex: str


class Digest:
    """One running digest: bytes in, `algorithm:hex` out."""

    def __init__(self, algorithm: str = DEFAULT_ALGORITHM) -> None:
        self.algorithm = algorithm
        self._hash = hashlib.new(algorithm, usedforsecurity=False)

    def update(self, buf: bytes | memoryview) -> None:
        """Take the next bytes of the source."""
        self._hash.update(buf)

    def prime(self, path: Path, length: int) -> None:
        """Take the first `length` bytes of a file that holds the source's bytes; its holes are zeros."""
        zeros = bytes(_CHUNK)
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            for start, count, hole in linux.extents(fd, length):
                for at in range(start, start + count, _CHUNK):
                    step = min(_CHUNK, start + count - at)
                    self._hash.update(memoryview(zeros)[:step] if hole else os.pread(fd, step, at))
        finally:
            os.close(fd)

    def verify(self, expected: Expected | None, name: str) -> None:
        """Nothing where the bytes are the promised ones. Raises ChecksumMismatch with both values."""
        found = self._hash.hexdigest()
        if expected and not hmac.compare_digest(found, expected.hex):
            raise ChecksumMismatch(
                f"checksum validation failed: checksum mismatch: expected {expected.algorithm}:{expected.hex}, "
                f"found {self.algorithm}:{found} over the bytes of {name}. The source is not the file that the "
                "checksum was made of: correct the checksum or the URL"
            )

    def __str__(self) -> str:
        return f"{self.algorithm}:{self._hash.hexdigest()}"
