"""The header of a qcow2 image, parsed once, for the inspector and for the decoder.

Source of the layout: QEMU, docs/interop/qcow2.rst.
"""

import struct
from dataclasses import dataclass
from typing import Final

from diskyard.errors import UnsupportedImage

HEADER: Final = 112
"""Bytes from which every field that we read can be had."""

DIRTY: Final = 1 << 0
CORRUPT: Final = 1 << 1
EXTERNAL_FILE: Final = 1 << 2
COMPRESSION: Final = 1 << 3
EXTENDED_L2: Final = 1 << 4
KNOWN_FEATURES: Final = DIRTY | CORRUPT | EXTERNAL_FILE | COMPRESSION | EXTENDED_L2

EXTENSION_EXTERNAL_FILE: Final = 0x44415441
EXTENSION_ENCRYPTION: Final = 0x0537BE77
_EXTENSION_END: Final = 0
_MAX_EXTENSIONS: Final = 64

ZLIB: Final = 0
ZSTD: Final = 1


@dataclass(frozen=True)
class Header:
    """The fields that say what the image is and where its tables are. Offsets and sizes in bytes."""

    version: int
    backing_offset: int
    backing_length: int
    cluster_bits: int
    size: int
    encryption: int
    l1_entries: int
    l1_offset: int
    refcount_offset: int
    refcount_clusters: int
    snapshots: int
    snapshots_offset: int
    incompatible: int
    refcount_order: int
    length: int
    compression: int
    extensions: tuple[int, ...]

    @property
    def cluster(self) -> int:
        """Bytes of a cluster."""
        return 1 << self.cluster_bits

    @property
    def l2_entries(self) -> int:
        """Clusters that one L2 table maps."""
        return self.cluster // (16 if self.incompatible & EXTENDED_L2 else 8)

    @property
    def tables(self) -> int:
        """L2 tables of the whole disk."""
        return -(-self.size // (self.cluster * self.l2_entries))


def header(head: bytes) -> Header:
    """The header at the start of an image. Raises UnsupportedImage where it is cut short or of another version."""
    if len(head) < 72 or head[:4] != b"QFI\xfb":
        raise UnsupportedImage(f"expected a qcow2 header of at least 72 bytes, found {len(head)} bytes")
    (
        version, backing_offset, backing_length, cluster_bits, size, encryption, l1_entries, l1_offset,
        refcount_offset, refcount_clusters, snapshots, snapshots_offset,
    ) = struct.unpack_from(">IQIIQIIQQIIQ", head, 4)  # fmt: skip
    if version not in (2, 3):
        raise UnsupportedImage(
            f"expected qcow2 of version 2 or 3, found version {version}. Convert it: qemu-img convert -O qcow2"
        )
    incompatible, refcount_order, length, compression = 0, 4, 72, ZLIB
    if version == 3:
        if len(head) < HEADER:
            raise UnsupportedImage(
                f"the qcow2 header is cut short: expected {HEADER} bytes, found {len(head)}"
            )
        incompatible, _, _, refcount_order, length = struct.unpack_from(">QQQII", head, 72)
        compression = head[104] if length > 104 else ZLIB
    return Header(
        version, backing_offset, backing_length, cluster_bits, size, encryption, l1_entries, l1_offset,
        refcount_offset, refcount_clusters, snapshots, snapshots_offset, incompatible, refcount_order,
        length, compression, _extensions(head, length),
    )  # fmt: skip


def _extensions(head: bytes, start: int) -> tuple[int, ...]:
    found: list[int] = []
    while start + 8 <= len(head):
        kind, length = struct.unpack_from(">II", head, start)
        if kind == _EXTENSION_END:
            break
        if len(found) == _MAX_EXTENSIONS:
            raise UnsupportedImage(
                f"the qcow2 header has more than {_MAX_EXTENSIONS} extensions: it is damaged"
            )
        found.append(kind)
        start += 8 + -(-length // 8) * 8
    return tuple(found)
