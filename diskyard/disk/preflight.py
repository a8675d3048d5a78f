"""Will it work? Answered from the head of a source and the room of a target, before the body is fetched."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from diskyard.disk import qcow2_format, vmdk_format
from diskyard.disk.head import Headed
from diskyard.disk.inspect import head_window, inspect
from diskyard.disk.probe import WRAPPINGS, Format
from diskyard.disk.space import check_room
from diskyard.errors import UnsupportedImage

HEAD: Final = 256 << 10
"""Bytes of the head that are looked at: every header, and a vhdx image's region table."""
_SMALLEST: Final = 4096
"""Below it, a qcow2 image has so many clusters that qemu-img is faster."""
_MOST_TABLES: Final = 1 << 18
"""With more of them, what is known of a qcow2 image is no small part of the memory: 128 TiB of usual clusters."""
_TABLES: Final = 4 << 20
"""Bytes of a vmdk image before its first grain, with its tables, that are kept where nothing can be fetched again."""


class Route(StrEnum):
    """How a disk's bytes come out of a source's."""

    STREAM = "stream"
    """They are the same bytes: straight onto the target."""
    DECODE = "decode"
    """They are unpacked while they pass: straight onto the target."""
    SPOOL = "spool"
    """The image is kept beside the target until it is converted."""


@dataclass(frozen=True)
class Preflight:
    """What the head says."""

    format: Format
    virtual_size: int | None
    """Bytes; None where only the whole body tells."""
    route: Route
    packed: tuple[Format, ...] = ()
    """What the image is packed in, from the outside in."""


def preflight(source: Headed, room: int | None) -> Preflight:
    """What a source is, and that its disk fits into `room` bytes.

    A wrapped source is answered as such: see `unwrap`. Raises UnsafeImage, UnsupportedImage,
    ImageTooLarge.
    """
    head = source.head(HEAD)
    if not head:
        raise UnsupportedImage("the source is empty: expected a disk image, found 0 bytes")
    kind, size = inspect(head_window(head, source.size))
    if kind in WRAPPINGS:
        return Preflight(kind, None, Route.STREAM)
    check_room(size, room)
    return Preflight(kind, size, _route(kind, source, head))


def _route(kind: Format, source: Headed, head: bytes) -> Route:
    if kind in (Format.RAW, Format.ISO):
        return Route.STREAM
    if kind is Format.QCOW2 and _qcow2_passes(head, ranged=source.ranged):
        return Route.DECODE
    if kind is Format.VMDK and _vmdk_passes(source, head):
        return Route.DECODE
    return Route.SPOOL


def _qcow2_passes(head: bytes, *, ranged: bool) -> bool:
    header = qcow2_format.header(head)
    table_seen = ranged or header.l1_offset + 8 * header.l1_entries <= HEAD
    return table_seen and header.cluster >= _SMALLEST and header.l1_entries <= _MOST_TABLES


def _vmdk_passes(source: Headed, head: bytes) -> bool:
    header = vmdk_format.header(head)
    if not header.streamable or header.directory is None:
        return header.streamable
    if header.overhead <= _TABLES:
        source.head(header.overhead)
    return source.ranged or header.overhead <= _TABLES
