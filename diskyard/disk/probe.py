"""The first bytes of an image -> what it is. Decided once, from bytes alone, and then forced everywhere."""

from enum import StrEnum
from typing import Final

PROBED: Final = 64 << 10
"""Bytes of the head that probing looks at."""


class Format(StrEnum):
    """What bytes can be; the values are the names that users read, qemu's where it has one."""

    RAW = "raw"
    ISO = "iso"
    QCOW2 = "qcow2"
    VMDK = "vmdk"
    VDI = "vdi"
    VHD = "vpc"
    VHDX = "vhdx"
    QED = "qed"
    LUKS = "luks"
    GZ = "gz"
    XZ = "xz"
    ZST = "zst"
    BZ2 = "bz2"
    TAR = "tar"
    ZIP = "zip"
    SEVEN_ZIP = "7z"
    HTML = "html"


COMPRESSIONS: Final = frozenset({Format.GZ, Format.XZ, Format.ZST, Format.BZ2})
WRAPPINGS: Final = COMPRESSIONS | {Format.TAR}
"""What may have an image inside."""

_MAGIC: Final[tuple[tuple[Format, int, bytes], ...]] = (
    (Format.QCOW2, 0, b"QFI\xfb"),
    (Format.VMDK, 0, b"KDMV"),
    (Format.VMDK, 0, b"COWD"),
    (Format.VMDK, 0, b"# Disk DescriptorFile"),
    (Format.VDI, 0x40, b"\x7f\x10\xda\xbe"),
    (Format.VHD, 0, b"conectix"),
    (Format.VHDX, 0, b"vhdxfile"),
    (Format.QED, 0, b"QED\0"),
    (Format.LUKS, 0, b"LUKS\xba\xbe"),
    (Format.GZ, 0, b"\x1f\x8b\x08"),
    (Format.XZ, 0, b"\xfd7zXZ\0"),
    (Format.ZST, 0, b"\x28\xb5\x2f\xfd"),
    (Format.TAR, 0x101, b"ustar"),
    (Format.ISO, 0x8001, b"CD001"),
    (Format.ZIP, 0, b"PK\x03\x04"),
    (Format.SEVEN_ZIP, 0, b"7z\xbc\xaf\x27\x1c"),
)
"""Format, offset, bytes. ISO 9660: ECMA-119 8.1; the others: each format's own specification."""


def matches(head: bytes) -> list[Format]:
    """Every format whose mark is in the head, each once, in the order of the table; none means raw."""
    found = [kind for kind, offset, magic in _MAGIC if head[offset : offset + len(magic)] == magic]
    if head[:3] == b"BZh" and head[4:10] in (b"1AY&SY", b"\x17\x72\x45\x38\x50\x90"):
        found.append(Format.BZ2)
    if _is_html(head):
        found.append(Format.HTML)
    return list(dict.fromkeys(found))


def probe(head: bytes) -> Format:
    """What the head says: the first match, raw where there is none."""
    return next(iter(matches(head)), Format.RAW)


def _is_html(head: bytes) -> bool:
    start = head[:512].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return start.startswith((b"<!doctype html", b"<html", b"<?xml", b"<head"))
