"""The header and the markers of a streamOptimized vmdk image. Pure.

Source of the layout: VMware, Virtual Disk Format 5.0, "Stream-Optimized Compressed Sparse Extents".
"""

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from diskyard.errors import UnsupportedImage

SECTOR: Final = 512
TABLE_ENTRIES: Final = 512
TABLE: Final = 4 * TABLE_ENTRIES
"""Bytes of a grain table."""
FOOTER: Final = 2 * SECTOR
"""Bytes from the footer to the end of the image."""
MAX_TABLES: Final = 1 << 18
"""Grain tables of a disk that is streamed: 8 TiB with the usual grain."""
ZEROED: Final = 1
"""The table entry of a grain that was written as zeros, where the header allows it."""
_AT_END: Final = (1 << 64) - 1
_REDUNDANT: Final = 1 << 1
_ZEROED_GRAINS: Final = 1 << 2
_COMPRESSED_WITH_MARKERS: Final = 3 << 16
_DEFLATE: Final = 1
_LATEST: Final = 3
_MAX_OVERHEAD: Final = 1 << 30
_MAX_METADATA: Final = 4 << 20


class Kind(IntEnum):
    """What follows a marker; the numbers of the format, but for GRAIN, which has none."""

    GRAIN = -1
    END = 0
    TABLE = 1
    DIRECTORY = 2
    FOOTER = 3


@dataclass(frozen=True)
class Header:
    """What the disk is, and where its tables are. Offsets and sizes in bytes."""

    version: int
    flags: int
    size: int
    grain: int
    described: int
    """Where the descriptor lies."""
    description: int
    """Bytes of the descriptor."""
    table_entries: int
    directory: int | None
    """The grain directory; None where only the footer knows."""
    overhead: int
    """Where grains and markers begin."""
    compression: int

    @property
    def tables(self) -> int:
        """Grain tables of the whole disk."""
        return -(-self.size // (self.grain * TABLE_ENTRIES))

    @property
    def zeroed_grains(self) -> bool:
        """Whether a table entry of 1 means zeros."""
        return bool(self.flags & _ZEROED_GRAINS)

    @property
    def streamable(self) -> bool:
        """Whether the disk can be read from the markers as they pass."""
        return (
            self.flags & _COMPRESSED_WITH_MARKERS == _COMPRESSED_WITH_MARKERS
            and self.compression == _DEFLATE
            and 1 <= self.version <= _LATEST
            and self.table_entries == TABLE_ENTRIES
            and self.grain in (SECTOR << bits for bits in range(3, 12))
            and self.tables <= MAX_TABLES
            and SECTOR <= self.overhead <= _MAX_OVERHEAD
            and not (self.directory is None and self.flags & _REDUNDANT)
        )


@dataclass(frozen=True, slots=True)
class Marker:
    """What lies at one place of the stream."""

    kind: Kind
    value: int
    """Of a grain: its first sector on the disk; else: sectors that follow."""
    size: int
    """Bytes that follow: the packed grain behind 12 bytes of marker, metadata behind a sector."""

    @property
    def start(self) -> int:
        """Bytes from the marker to what follows it."""
        return 12 if self.kind is Kind.GRAIN else SECTOR

    @property
    def length(self) -> int:
        """Bytes to the next marker."""
        return -(-(self.start + self.size) // SECTOR) * SECTOR


def damaged(what: str) -> UnsupportedImage:
    """The error for an image that contradicts itself."""
    return UnsupportedImage(f"the vmdk image is damaged or cut short: {what}. Export it again")


def header(head: bytes) -> Header:
    """The header at the start, or in the footer, of a sparse image. Raises UnsupportedImage where it is none."""
    if len(head) < 79 or head[:4] != b"KDMV":
        raise damaged(f"expected a header of 512 bytes, found {len(head)} bytes")
    version, flags, capacity, grain, place, length, entries, _, directory, overhead = struct.unpack_from(
        "<IIQQQQIQQQ", head, 4
    )
    (compression,) = struct.unpack_from("<H", head, 77)
    return Header(
        version, flags, capacity * SECTOR, grain * SECTOR, place * SECTOR, length * SECTOR, entries,
        None if directory == _AT_END else directory * SECTOR, overhead * SECTOR, compression,
    )  # fmt: skip


def check_footer(head: Header, foot: bytes) -> int:
    """Where the grain directory is. Raises UnsupportedImage for a footer that contradicts the header.

    qemu-img believes the footer.
    """
    found = header(foot)
    if found.directory is None or _disk(found) != _disk(head):
        raise damaged("its footer says something else than its header")
    return found.directory


def _disk(head: Header) -> tuple[int, ...]:
    return head.size, head.grain, head.table_entries, head.flags, head.compression


def marker(sector: memoryview | bytes, grain: int) -> Marker:
    """The marker at the start of a sector. Raises UnsupportedImage where what follows cannot be that long."""
    value, size, number = struct.unpack_from("<QII", sector)
    if size:
        if size > 2 * grain:
            raise damaged(f"a grain of {grain} bytes is packed into {size}")
        return Marker(Kind.GRAIN, value, size)
    if number > Kind.FOOTER or value > _MAX_METADATA // SECTOR:
        raise damaged(f"expected a marker of type 0 to 3, found type {number} with {value} sectors")
    return Marker(Kind(number), value, value * SECTOR)
