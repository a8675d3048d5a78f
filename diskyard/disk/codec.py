"""Unpacking one cluster: known length out, no more than that, whatever comes in."""

from threading import local
from typing import Final, TypeVar

import deflate
import zstandard

from diskyard.errors import UnsupportedImage

Bytes = TypeVar("Bytes", bytes, bytearray)

_OWN: Final = local()
"""A thread's zstd context: making one takes longer than to unpack a cluster."""
_UNSAID: Final = -1
"""What a zstd frame says of its length where it says nothing."""


def inflate(packed: memoryview | bytes, length: int) -> bytearray:
    """The `length` bytes of a raw deflate stream; what follows it is ignored. Raises UnsupportedImage."""
    try:
        return _whole(deflate.deflate_decompress(packed, length), length)
    except deflate.DeflateError as error:
        raise _damaged("deflate") from error


def unzlib(packed: memoryview | bytes, most: int) -> bytearray:
    """What a zlib stream holds, at most `most` bytes; what follows it is ignored. Raises UnsupportedImage."""
    try:
        return deflate.zlib_decompress(packed, most)
    except deflate.DeflateError as error:
        raise _damaged("zlib") from error


def unzstd(packed: memoryview | bytes, length: int) -> bytes:
    """The `length` bytes of a zstd frame; what follows it is ignored. Raises UnsupportedImage."""
    if not hasattr(_OWN, "zstd"):
        _OWN.zstd = zstandard.ZstdDecompressor()
    try:
        promised = zstandard.frame_content_size(packed)  # that much would be allocated, whatever `length` is
        if promised not in (_UNSAID, length):
            raise _damaged("zstd")
        out: bytes = _OWN.zstd.decompress(packed, length)
        return _whole(out, length)
    except zstandard.ZstdError as error:
        raise _damaged("zstd") from error


def _whole(out: Bytes, length: int) -> Bytes:
    if len(out) != length:
        raise UnsupportedImage(
            f"the image is damaged: a cluster unpacks to {len(out)} bytes, expected {length}. Export it again"
        )
    return out


def _damaged(kind: str) -> UnsupportedImage:
    return UnsupportedImage(
        f"the image is damaged: a cluster is not the {kind} stream it should be. Export it again"
    )
