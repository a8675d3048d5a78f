"""The one loop: fetch, write, with bounded memory; and how far it is, said in steady steps."""

from collections.abc import Callable
from typing import Final

from diskyard.disk.head import fill
from diskyard.disk.image import Image
from diskyard.disk.source import Source
from diskyard.disk.writer import DiskWriter, aligned, write_plain, write_sparse

CHUNK: Final = 4 << 20
"""Bytes that are fetched and written at once."""


def copy(
    source: Source, writer: DiskWriter, start: int, *, limit: int, on_chunk: Callable[[int, int], None]
) -> int:
    """Write a source's bytes from `start` to its end, as they are; the offset of its end.

    `on_chunk(offset, written)` hears the source's offset and the bytes written since the last call. Stops
    behind `limit` with what it has: the caller refuses.
    """
    buf = memoryview(aligned(CHUNK))
    offset = start
    while offset <= limit:
        count = fill(source, buf, offset)
        if count:
            written = write_sparse(writer, buf[:count], offset)
            offset += count
            on_chunk(offset, written)
        if count < CHUNK:
            break
    return offset


def copy_image(
    image: Image, writer: DiskWriter, *, sparse: bool, on_chunk: Callable[[int, int], None]
) -> None:
    """Write a flat disk, extent by extent."""
    write = write_sparse if sparse else write_plain
    buf = memoryview(aligned(CHUNK))
    for extent in image.extents():
        if extent.zero:
            writer.zero(extent.start, extent.length)
            on_chunk(extent.end, 0)
            continue
        for offset in range(extent.start, extent.end, CHUNK):
            piece = buf[: min(CHUNK, extent.end - offset)]
            image.preadinto(piece, offset)
            on_chunk(offset + len(piece), write(writer, piece, offset))
