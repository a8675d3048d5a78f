"""Will it work? Answered from the head of a source and the room of a target, before the body is fetched."""

from dataclasses import dataclass
from enum import StrEnum

from diskyard.disk.head import Headed
from diskyard.disk.inspect import head_window, inspect
from diskyard.disk.probe import COMPRESSIONS, Format
from diskyard.errors import ImageTooLarge, UnsupportedImage

HEAD = 256 << 10
"""Bytes of the head that are looked at: every header, and a vhdx image's region table."""


class Route(StrEnum):
    """How a disk's bytes come out of a source's."""

    STREAM = "stream"
    """They are the same bytes: straight onto the target."""
    SPOOL = "spool"
    """The image is kept beside the target until it is converted."""


@dataclass(frozen=True)
class Preflight:
    """What the head says."""

    format: Format
    virtual_size: int | None
    """Bytes; None where only the whole body tells."""

    @property
    def route(self) -> Route:
        return Route.STREAM if self.format in (Format.RAW, Format.ISO) else Route.SPOOL


def preflight(source: Headed, room: int | None) -> Preflight:
    """What a source is, and that its disk fits into `room` bytes.

    A compressed source is answered as such: unpack it and ask again. Raises UnsafeImage, UnsupportedImage,
    ImageTooLarge.
    """
    head = source.head(HEAD)
    if not head:
        raise UnsupportedImage("the source is empty: expected a disk image, found 0 bytes")
    kind, size = inspect(head_window(head, source.size))
    if kind in COMPRESSIONS:
        return Preflight(kind, None)
    check_room(size, room)
    return Preflight(kind, size)


def check_room(size: int | None, room: int | None) -> None:
    """Nothing where a disk fits. Raises ImageTooLarge in CDI's words, which its clients read."""
    if size is not None and room is not None and size > room:
        raise ImageTooLarge(
            f"virtual image size {size} is larger than the reported available storage {room}. A larger PVC is required"
        )
