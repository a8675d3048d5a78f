"""Unpacking one cluster: known length out, no more than that, whatever comes in."""

import sys
from typing import TypeVar

import deflate

from diskyard.errors import UnsupportedImage

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Bytes = TypeVar("Bytes", bytes, bytearray)


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
    try:
        return _whole(zstd.ZstdDecompressor().decompress(packed, length), length)
    except zstd.ZstdError as error:
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
