"""What turns a source's bytes, as they come, into pieces of a disk."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from diskyard.disk.extent import Range

Codec = Callable[[memoryview | bytes, int], bytes | bytearray]
"""(packed, length) -> exactly `length` bytes. Raises UnsupportedImage. Runs on a worker's thread."""


@dataclass(frozen=True, slots=True)
class Piece:
    """`length` bytes of the disk from `start`: zeros, a view of what came, or a view and what unpacks it."""

    start: int
    length: int
    view: memoryview | bytes | None = None
    """None: zeros."""
    codec: Codec | None = None

    @property
    def end(self) -> int:
        """The first byte behind it."""
        return self.start + self.length


class Decoder(Protocol):
    """Chunks of a source in order in, pieces of the disk out; bytes that are never named stay zero."""

    size: int
    """Bytes of the disk; of a raw stream, what has come so far."""
    anywhere: bool
    """Whether chunks may begin anywhere; else only at multiples of `copy.CHUNK`."""

    def feed(self, offset: int, chunk: memoryview) -> Iterable[Piece]:
        """The pieces that a chunk completes, in the disk's order. Their views live as long as the chunk.

        Raises UnsupportedImage where the image is damaged, Fragmented where it is too disordered to follow.
        """

    def rest(self) -> Iterable[Piece]:
        """What the end of the source completes."""

    def missed(self) -> list[Range]:
        """What had passed before we knew that we need it; feeding each of these completes the disk."""


class Fragmented(Exception):
    """The image is not laid out in order: it must be here as a whole before it is read."""
