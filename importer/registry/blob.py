"""Blobs by their digest: no byte of a blob counts until the last one has proved it."""

import hashlib
from typing import Protocol

from diskyard.disk.head import fill
from diskyard.disk.source import Source
from diskyard.errors import ChecksumMismatch
from importer.registry.manifest import MAX_DOCUMENT, Descriptor


class Store(Protocol):
    """Where the parts of one image lie: a registry's repository, or a layout in a file."""

    name: str
    """The image's, for messages."""

    def manifest(self, version: str) -> bytes:
        """The manifest of a tag or a digest; the caller verifies. Raises SourceMissing, AccessDenied."""

    def blob(self, descriptor: Descriptor) -> Source:
        """A blob's bytes; the caller verifies."""


class Verified:
    """A blob that ends with ChecksumMismatch where its bytes are not the ones that its digest promises."""

    ranged = False

    def __init__(self, source: Source, descriptor: Descriptor, name: str) -> None:
        self.size: int | None = descriptor.size
        self.validator: str | None = descriptor.digest
        self._promised = descriptor
        self._name = name
        self._source = source
        self._hash = hashlib.new(descriptor.digest.partition(":")[0])
        self._position = 0

    def readinto(self, buf: memoryview, offset: int) -> int | None:
        if offset != self._position:
            raise ValueError(f"a digest only goes forward: at {self._position}, asked for {offset}")
        count = self._source.readinto(buf, offset)
        if count is None:
            return None
        self._hash.update(buf[:count])
        self._position += count
        if self._position > self._promised.size or count == 0:
            self._verify()
        return count

    def close(self) -> None:
        self._source.close()

    def _verify(self) -> None:
        check(self._promised, self._position, self._hash.hexdigest(), self._name)


def check(promised: Descriptor, size: int, found: str, name: str) -> None:
    """Nothing where a blob is the promised one. Raises ChecksumMismatch."""
    algorithm, _, digest = promised.digest.partition(":")
    if size != promised.size:
        raise ChecksumMismatch(
            f"checksum validation failed: a blob of {name} has the wrong size: expected {promised.size} bytes for "
            f"{promised.digest}, found {'more' if size > promised.size else size}. The registry's storage, or a proxy, "
            "is at fault: push the image again"
        )
    if found != digest:
        raise ChecksumMismatch(
            f"checksum validation failed: checksum mismatch in a blob of {name}: expected {promised.digest}, found "
            f"{algorithm}:{found}. The registry's storage, or a proxy, is at fault: push the image again"
        )


def document(source: Source, descriptor: Descriptor, name: str) -> bytes:
    """A small blob as a whole, verified. Raises ChecksumMismatch."""
    if descriptor.size > MAX_DOCUMENT:
        raise ChecksumMismatch(
            f"a document of {name} has {descriptor.size} bytes: expected at most {MAX_DOCUMENT}"
        )
    buf = bytearray(descriptor.size + 1)
    count = fill(Verified(source, descriptor, name), memoryview(buf), 0)
    return bytes(buf[:count])
