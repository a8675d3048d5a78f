"""Blobs by their digest: no byte of a blob counts until the last one has proved it."""

import hashlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Final, Protocol

from diskyard.disk.head import fill, read
from diskyard.disk.source import Source, check_forward, silence
from diskyard.errors import ChecksumMismatch
from importer.registry.manifest import MAX_DOCUMENT, Descriptor

_CHUNK: Final = 4 << 20
"""Bytes fetched at once: long enough for one connection to go on, see `importer.http`."""
_BUFFERS: Final = 3


class Store(Protocol):
    """Where the parts of one image lie: a registry's repository, or a layout in a file."""

    name: str
    """The image's, for messages."""

    def manifest(self, version: str) -> bytes:
        """The manifest of a tag or a digest; the caller verifies. Raises SourceMissing, AccessDenied."""

    def blob(self, descriptor: Descriptor) -> Source:
        """A blob's bytes; the caller verifies."""


class Verified:
    """A blob, fetched and hashed a little ahead of its reader.

    It ends with ChecksumMismatch where its bytes are not the ones that its digest promises.
    """

    ranged = False

    def __init__(self, source: Source, descriptor: Descriptor, name: str) -> None:
        self.size: int | None = descriptor.size
        self.validator: str | None = descriptor.digest
        self._promised = descriptor
        self._name = name
        self._source = source
        self._hash = hashlib.new(descriptor.digest.partition(":")[0])
        self._thread = ThreadPoolExecutor(1, "blob")
        self._fetched = 0
        self._position = 0
        self._chunk = memoryview(b"")
        length = min(_CHUNK, descriptor.size + 1)
        self._ahead = deque(self._asked(memoryview(bytearray(length))) for _ in range(_BUFFERS))
        self._buffer: memoryview | None = None
        self.waits = False
        """Whether its reader has used up all that has come."""

    def readinto(self, buf: memoryview, offset: int) -> int | None:
        check_forward(self._position, offset)
        if not self._chunk:
            self._next()
        count = min(len(buf), len(self._chunk))
        buf[:count] = self._chunk[:count]
        self._chunk = self._chunk[count:]
        self._position += count
        return count

    def silence(self) -> float | None:
        return silence(self._source)

    def close(self) -> None:
        self._source.close()
        self._thread.shutdown(cancel_futures=True)

    def _next(self) -> None:
        """The next chunk, empty at the verified end; the last one's buffer is filled again."""
        if self._buffer is not None:
            self._ahead.append(self._asked(self._buffer))
            self._buffer = None
        if self._ahead:
            self.waits = not self._ahead[0].done()
            chunk = self._ahead[0].result()
            self.waits = False
            self._ahead.popleft()
            self._buffer = chunk.buffer
            self._chunk = chunk.buffer[: chunk.length]

    def _asked(self, buffer: memoryview) -> "Future[_Chunk]":
        return self._thread.submit(self._filled, buffer)

    def _filled(self, buffer: memoryview) -> "_Chunk":
        """In the thread: the blob's next bytes. Raises ChecksumMismatch behind the last of them."""
        count = fill(self._source, buffer, self._fetched)
        self._hash.update(buffer[:count])
        self._fetched += count
        if count < len(buffer) or self._fetched > self._promised.size:
            check(self._promised, self._fetched, self._hash.hexdigest(), self._name)
        return _Chunk(buffer, count)


@dataclass(frozen=True)
class _Chunk:
    """A buffer, and how much of it is filled."""

    buffer: memoryview
    length: int


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
    with closing(Verified(source, descriptor, name)) as verified:
        return read(verified, 0, descriptor.size + 1)
