"""Is this image safe and one that we read? Answered from its own bytes, before qemu-img ever sees it.

Every refusal says what to change. The head alone refuses most images before their body is fetched; an image
that qemu-img shall open is inspected once more when all of it is here.
"""

import os
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from diskyard.disk import qcow2_format as qcow2
from diskyard.disk import vmdk_format as vmdk
from diskyard.disk.probe import PROBED, Format, matches
from diskyard.errors import UnsafeImage, UnsupportedImage

MAX_SIZE: Final = 64 << 40
"""The largest disk that we believe in: 64 TiB."""
_SECTOR: Final = 512
_MAX_L1: Final = 32 << 20
_MAX_REFCOUNT: Final = 8 << 20
_MAX_SNAPSHOTS: Final = 65536
_FLATTEN: Final = "Flatten it first: qemu-img convert -O qcow2 IMAGE FLAT.qcow2"


@dataclass(frozen=True)
class Window:
    """What can be seen of an image."""

    at: Callable[[int, int], bytes]
    """(offset, length) -> the bytes there; fewer, or none, where they cannot be seen."""
    size: int | None
    """Of the whole image, where known."""
    whole: bool
    """Whether all of it can be seen."""


def head_window(head: bytes, size: int | None) -> Window:
    """The head of an image that is not here yet."""
    return Window(lambda offset, length: head[offset : offset + length], size, whole=False)


def file_window(fd: int) -> Window:
    """An image in an open file."""
    size = os.fstat(fd).st_size
    return Window(lambda at, length: os.pread(fd, length, at) if 0 <= at < size else b"", size, whole=True)


def inspect(window: Window) -> tuple[Format, int | None]:
    """The format and the virtual size (None where the window does not show it).

    Raises UnsafeImage and UnsupportedImage. A raw disk's size is the window's.
    """
    found = matches(window.at(0, PROBED))
    if len(found) > 1:
        raise UnsafeImage(
            f"the image is {' and '.join(found)} at once: expected one format. Such files are made to be read "
            "differently by different programs; make the image again with qemu-img convert"
        )
    kind = found[0] if found else Format.RAW
    if kind in _REFUSED:
        raise UnsupportedImage(_REFUSED[kind])
    size = _INSPECTORS[kind](window)
    if size is not None and not 0 < size <= MAX_SIZE:
        raise UnsupportedImage(
            f"the {kind} image says that its disk has {size} bytes: expected between 1 byte and 64 TiB"
        )
    return kind, size


def inspect_file(path: Path, expected: Format) -> int:
    """The virtual size of an image that is here, after inspection. Raises UnsafeImage, UnsupportedImage."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        kind, size = inspect(file_window(fd))
    finally:
        os.close(fd)
    if kind is not expected or size is None:
        raise UnsafeImage(f"the image began as {expected} and is {kind} now that all of it is here")
    return size


def _flat(window: Window) -> int | None:
    return window.size


def layer(window: Window) -> tuple[qcow2.Header, str]:
    """The header of a qcow2 image that may be one of a chain, and the name of the image below it, never opened.

    Raises UnsafeImage and UnsupportedImage.
    """
    head = qcow2.header(window.at(0, PROBED))
    if not 0 < head.size <= MAX_SIZE:
        raise UnsupportedImage(f"the qcow2 layer's disk has {head.size} bytes: expected 1 to 64 TiB")
    _check_qcow2(head, window)
    name = window.at(head.backing_offset, min(head.backing_length, 1023)) if head.backing_offset else b""
    return head, name.decode(errors="replace")


def _qcow2(window: Window) -> int | None:
    head = qcow2.header(window.at(0, PROBED))
    if head.backing_offset:
        name = window.at(head.backing_offset, min(head.backing_length, 1023)).decode(errors="replace")
        raise UnsafeImage(
            f"Image is invalid because it has invalid backing file {name!r}: expected an image that holds its "
            f"whole disk. {_FLATTEN}"
        )
    _check_qcow2(head, window)
    return head.size


def _check_qcow2(head: qcow2.Header, window: Window) -> None:
    """What must be so of every image, alone or one of a chain."""
    if head.incompatible & qcow2.EXTERNAL_FILE or qcow2.EXTENSION_EXTERNAL_FILE in head.extensions:
        raise UnsafeImage(f"the qcow2 image keeps its data in another file (data_file). {_FLATTEN}")
    if head.encryption or qcow2.EXTENSION_ENCRYPTION in head.extensions:
        raise UnsupportedImage(
            "the qcow2 image is encrypted. Decrypt it first: qemu-img convert with its secret, to an image without"
        )
    unknown = head.incompatible & ~qcow2.KNOWN_FEATURES
    if unknown:
        raise UnsupportedImage(
            f"the qcow2 image needs features that we do not know (incompatible feature bits {unknown:#x}). {_FLATTEN}"
        )
    if head.incompatible & qcow2.CORRUPT:
        raise UnsupportedImage(
            "the qcow2 image is marked corrupt. Repair it first: qemu-img check -r all IMAGE"
        )
    if head.compression not in (qcow2.ZLIB, qcow2.ZSTD):
        raise UnsupportedImage(
            f"the qcow2 image is compressed in a way that we do not know ({head.compression})"
        )
    _qcow2_tables(head, window.size)


def _qcow2_tables(head: qcow2.Header, file_size: int | None) -> None:
    """Tables are bounded, aligned, inside the file, and enough for the disk."""
    if not 9 <= head.cluster_bits <= 21:
        raise UnsupportedImage(
            f"the qcow2 image has clusters of 2^{head.cluster_bits} bytes: expected 2^9 to 2^21"
        )
    if head.refcount_order > 6:
        raise UnsupportedImage(
            f"the qcow2 image has a refcount order of {head.refcount_order}: expected at most 6"
        )
    if head.version == 3 and not 104 <= head.length <= head.cluster:
        raise UnsupportedImage(
            f"the qcow2 header says that it has {head.length} bytes: expected 104 to a cluster"
        )
    needed = head.tables
    if not needed <= head.l1_entries <= _MAX_L1 // 8:
        raise UnsupportedImage(
            f"the qcow2 image has {head.l1_entries} L1 entries: expected {needed} to {_MAX_L1 // 8} for a disk of "
            f"{head.size} bytes"
        )
    if head.refcount_clusters * head.cluster > _MAX_REFCOUNT or head.snapshots > _MAX_SNAPSHOTS:
        raise UnsupportedImage(
            f"the qcow2 image has a refcount table of {head.refcount_clusters} clusters and {head.snapshots} "
            f"snapshots: expected at most {_MAX_REFCOUNT} bytes and {_MAX_SNAPSHOTS}"
        )
    end = head.l1_offset + 8 * head.l1_entries
    if head.l1_offset % head.cluster or (file_size is not None and head.l1_entries and end > file_size):
        raise UnsupportedImage(
            f"the qcow2 L1 table lies at {head.l1_offset} to {end} of a file of {file_size} bytes: the image is "
            "damaged or cut short"
        )


_CREATE_TYPE: Final = re.compile(rb'^[^\S\n]*createType\s*=\s*"([^"\r\n]*)"', re.MULTILINE | re.IGNORECASE)
"""Blanks before a word are those of its line alone: with newlines among them, looking takes as long as their square."""
_MAX_DESCRIPTION: Final = 1 << 20
_QEMU_DESCRIPTION: Final = 20 * _SECTOR
"""What of a descriptor qemu-img reads: DESC_SIZE in its block/vmdk.c."""
_EXTENT: Final = re.compile(
    rb"^[^\S\n]*(?:RW|RDONLY|NOACCESS)\s+\d+\s+(\S+)[^\S\r\n]*([^\r\n]*)", re.MULTILINE | re.IGNORECASE
)


def _vmdk(window: Window) -> int | None:
    """VMware's Virtual Disk Format 5.0: only images that hold all of their data in one sparse extent."""
    start = window.at(0, _SECTOR)
    if start[:4] != b"KDMV":
        raise UnsafeImage(
            "the vmdk file only describes a disk that lies in other files. Export it as one file: "
            "qemu-img convert -O vmdk -o subformat=streamOptimized DESCRIPTOR IMAGE.vmdk"
        )
    head = vmdk.header(start)
    if not head.size or not 0 < head.description <= _MAX_DESCRIPTION or head.described != _SECTOR:
        raise UnsafeImage(
            f"the vmdk image has a capacity of {head.size} bytes and a descriptor of {head.description} bytes at "
            f"{head.described}: expected an image that describes itself at {_SECTOR} (monolithicSparse or "
            "streamOptimized)"
        )
    if not _SECTOR <= head.grain <= 2048 * _SECTOR:
        raise UnsupportedImage(f"the vmdk image has grains of {head.grain} bytes: expected 512 to 1 MiB")
    descriptor = window.at(_SECTOR, max(head.description, _QEMU_DESCRIPTION))
    if descriptor or window.whole:
        _vmdk_descriptor(descriptor[: head.description].rstrip(b"\0"), descriptor)
    if window.whole and window.size and head.directory is None:
        vmdk.check_footer(head, window.at(window.size - vmdk.FOOTER, _SECTOR))
    return head.size


def _vmdk_descriptor(text: bytes, around: bytes) -> None:
    """`around`: what qemu-img looks through for a parent, however long the header says that the descriptor is."""
    kinds = [kind.decode(errors="replace") for kind in _CREATE_TYPE.findall(text)]
    if len(kinds) != 1 or kinds[0].lower() not in ("monolithicsparse", "streamoptimized"):
        raise UnsafeImage(
            f"the vmdk image is of type {', '.join(kinds) or 'unknown'}: expected monolithicSparse or "
            "streamOptimized, which hold their own data"
        )
    extents = _EXTENT.findall(text)
    if len(extents) != 1 or extents[0][0].upper() != b"SPARSE":
        raise UnsafeImage(
            f"the vmdk image has {len(extents)} extents "
            f"({', '.join(kind.decode(errors='replace') for kind, _ in extents[:4])}): expected one, SPARSE, its own"
        )
    if b"parentfilenamehint" in around.lower():
        raise UnsafeImage(
            "the vmdk image is a difference to a parent image. Flatten it first: qemu-img convert"
        )


def _vdi(window: Window) -> int | None:
    """VirtualBox: VDICore.h, header of version 1.1."""
    head = window.at(0, _SECTOR)
    if len(head) < 0x188:
        raise UnsupportedImage("the vdi header is cut short: expected 512 bytes")
    (kind,) = struct.unpack_from("<I", head, 0x4C)
    if kind not in (1, 2):
        raise UnsafeImage(
            f"the vdi image is of type {kind}: expected 1 (dynamic) or 2 (fixed), which need no other file. "
            "Clone it to a full image first: VBoxManage clonemedium"
        )
    (size,) = struct.unpack_from("<Q", head, 0x170)
    return int(size)


def _vhd(window: Window) -> int | None:
    """Virtual Hard Disk Image Format Specification (Microsoft, 2006): a dynamic disk begins with its footer's copy."""
    head = window.at(0, _SECTOR)
    if len(head) < _SECTOR:
        raise UnsupportedImage("the vhd header is cut short: expected 512 bytes")
    size, kind = struct.unpack_from(">Q", head, 48)[0], struct.unpack_from(">I", head, 60)[0]
    if kind not in (2, 3):
        raise UnsafeImage(
            f"the vhd image is of type {kind}: expected 2 (fixed) or 3 (dynamic), which need no other file. "
            "Merge it with its parent first"
        )
    return int(size)


_METADATA_REGION: Final = bytes.fromhex("06a27c8b90479a4bb8fe575f050f886e")
_VIRTUAL_SIZE: Final = bytes.fromhex("2442a52f1bcd7648b2115dbed83bf4b8")
_FILE_PARAMETERS: Final = bytes.fromhex("3767a1ca36fa434db3b633f0aa44e76b")


def _vhdx(window: Window) -> int | None:
    """MS-VHDX 2.2.3 (region table at 192 KiB) and 2.6 (metadata)."""
    table = window.at(192 << 10, 64 << 10)
    regions = _vhdx_entries(table, b"regi", 16, "<8xI")
    if not regions:
        return _not_seen(window, table, "vhdx region table")
    place = next((entry for entry in regions if entry[:16] == _METADATA_REGION), None)
    if place is None:
        raise UnsupportedImage("the vhdx image has no metadata region: it is damaged")
    (start,) = struct.unpack_from("<Q", place, 16)
    table = window.at(start, 64 << 10)
    items = _vhdx_entries(table, b"metadata", 32, "<10xH")
    if not items:
        return _not_seen(window, table, "vhdx metadata table")
    values = {bytes(item[:16]): struct.unpack_from("<II", item, 16) for item in items}
    parameters = _vhdx_value(window, start, values, _FILE_PARAMETERS)
    if parameters[4] & 2:
        raise UnsafeImage("the vhdx image is a difference to a parent image. Merge it with its parent first")
    return int.from_bytes(_vhdx_value(window, start, values, _VIRTUAL_SIZE), "little")


def _vhdx_entries(table: bytes, mark: bytes, first: int, count_at: str) -> list[bytes]:
    """The 32-byte entries of a table, none where it is not one."""
    if not table.startswith(mark) or len(table) < 64:
        return []
    (count,) = struct.unpack_from(count_at, table)
    if count > 2047:
        raise UnsupportedImage(
            f"a vhdx table has {count} entries: expected at most 2047. The image is damaged"
        )
    ends = range(first + 32, min(first + 32 * count, len(table)) + 1, 32)
    return [table[end - 32 : end] for end in ends]


def _vhdx_value(window: Window, start: int, values: dict[bytes, tuple[int, int]], name: bytes) -> bytes:
    offset, length = values.get(name, (0, 0))
    value = window.at(start + offset, 8) if offset and length >= 8 else b""
    if len(value) < 8:
        raise UnsupportedImage("the vhdx metadata is cut short: the image is damaged")
    return value


def _not_seen(window: Window, table: bytes, name: str) -> int | None:
    """None for a table that lies behind the head and is read later; one that is here and wrong is damage."""
    if table or window.whole:
        raise UnsupportedImage(
            f"expected the {name} in its place, found something else: the image is damaged"
        )
    return None


_INSPECTORS: Final[dict[Format, Callable[[Window], int | None]]] = {
    Format.RAW: _flat, Format.ISO: _flat, Format.GZ: lambda _: None, Format.XZ: lambda _: None,
    Format.BZ2: lambda _: None, Format.ZST: lambda _: None, Format.TAR: lambda _: None, Format.QCOW2: _qcow2,
    Format.VMDK: _vmdk, Format.VDI: _vdi, Format.VHD: _vhd, Format.VHDX: _vhdx,
}  # fmt: skip
_REFUSED: Final[dict[Format, str]] = {
    Format.HTML: "the source is a web page (HTML or XML), not a disk image: the server may want a login, or the link "
    "leads to a page about the image. Use the link of the download itself",
    Format.ZIP: "the source is a zip archive, not a disk image: unpack it, and import the disk inside",
    Format.SEVEN_ZIP: "the source is a 7z archive, not a disk image: unpack it, and import the disk inside",
    Format.QED: "qed images are not read any more. Convert it first: qemu-img convert -f qed -O qcow2 IMAGE NEW.qcow2",
    Format.LUKS: "the image is encrypted with LUKS. Decrypt it first: qemu-img convert with its secret, to qcow2",
}
