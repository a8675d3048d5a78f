"""What firmware would find at the head of a disk: hints for people, never a reason to refuse."""

import struct
from dataclasses import dataclass
from typing import Final

_SECTORS: Final = (512, 4096)
_SIGNATURE: Final = b"\x55\xaa"
_PARTITION_TABLE: Final = slice(446, 510)
_FILE_SYSTEMS: Final = (
    ("ext4", 0x438, b"\x53\xef"), ("xfs", 0, b"XFSB"), ("btrfs", 0x10040, b"_BHRfS_M"), ("lvm", 0x218, b"LVM2 001"),
    ("ntfs", 3, b"NTFS    "), ("swap", 4086, b"SWAPSPACE2"), ("squashfs", 0, b"hsqs"),
)  # fmt: skip
"""Name, offset, bytes: what a disk without partitions may be. util-linux, libblkid/src/superblocks."""
_EL_TORITO: Final = (0x8807, b"EL TORITO SPECIFICATION")
"""The boot record of a CD: El Torito 1.0, figure 7; ISO 9660's second descriptor, as everyone writes it."""


@dataclass(frozen=True)
class Boot:
    """What the first bytes say."""

    table: str = ""
    """`gpt`, `mbr`; empty: no partition table."""
    loader: bool = False
    """Whether there is a boot sector."""
    content: str = ""
    """A file system that fills the whole disk, without partitions."""
    optical: bool = False
    """Whether it boots as a CD."""
    text: str = ""
    """Its beginning, where that is text."""
    empty: bool = False
    """Whether all that we have seen is zeros."""


def boot(head: bytes) -> Boot:
    """What is at the head of a raw disk or an ISO; the more of it, the more is seen, up to 128 KiB."""
    signed = head[510:512] == _SIGNATURE
    content = next((name for name, at, mark in _FILE_SYSTEMS if head[at : at + len(mark)] == mark), "")
    at, mark = _EL_TORITO
    return Boot(
        table=_table(head, signed=signed and content != "ntfs"),
        loader=signed and any(head[:440]),
        content=content,
        optical=head[at : at + len(mark)] == mark,
        text=_text(head[:512]),
        empty=not any(head),
    )


def _table(head: bytes, *, signed: bool) -> str:
    if any(head[size : size + 8] == b"EFI PART" for size in _SECTORS):
        return "gpt"
    entries = struct.iter_unpack("<B3xB3xII", head[_PARTITION_TABLE]) if signed else ()
    return "mbr" if any(kind and length and flag in (0, 0x80) for flag, kind, _, length in entries) else ""


def _text(head: bytes) -> str:
    """The first line of a text; empty for bytes that are none."""
    try:
        line = head.decode("ascii").strip()
    except UnicodeDecodeError:
        return ""
    printable = all(character.isprintable() or character in "\t\r\n" for character in line)
    return line.splitlines()[0][:72] if line and printable else ""
