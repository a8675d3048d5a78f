"""A compressed Source as a Source of what is inside: streamed, with bounded output for every step."""

import bz2
import lzma
import sys
from collections.abc import Callable
from typing import Final, Protocol, cast

from isal import igzip_lib

from diskyard.disk.probe import Format, probe
from diskyard.disk.source import Source, check_forward
from diskyard.errors import SourceUnavailable, UnsupportedImage

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_IsalError = cast(type[Exception], igzip_lib.IsalError)  # its stub has the instance for the class
_PACKED: Final = 256 << 10
"""Bytes asked of the source at once."""
_UNPACKED: Final = 1 << 20
"""Bytes unpacked at once: for more, memory is mapped anew each time."""
_FREE: Final = 1 << 14
_LEAST: Final = 4 << 10
"""Members that may hold anything; of more, each holds so many bytes, for it takes as long to open as to unpack them."""
_MEMORY: Final = 256 << 20
"""What an xz stream may ask for; `xz -9` asks for 65 MiB."""
_WINDOW: Final = 27
"""What a zstd stream may ask for: 128 MiB, as `zstd` allows without being told."""


class _Member(Protocol):
    """One decompressor: input that it has no room for, it keeps."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, packed: bytes, max_length: int, /) -> bytes: ...


def _gunzip() -> _Member:
    """isa-l's: a fifth (of what hardly shrinks) to two thirds less time than zlib's; the trailer is verified too."""
    return igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)


def _unxz() -> _Member:
    return lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_MEMORY)


def _unzst() -> _Member:
    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _WINDOW})


_OPENERS: Final[dict[Format, Callable[[], _Member]]] = {
    Format.GZ: _gunzip,
    Format.XZ: _unxz,
    Format.BZ2: bz2.BZ2Decompressor,
    Format.ZST: _unzst,
}


class Unpacked:
    """The bytes inside a gz, xz, bz2 or zst source of any number of members; offsets only go forward."""

    size: int | None = None
    validator: str | None = None
    ranged = False

    def __init__(self, source: Source, kind: Format) -> None:
        """Raises UnsupportedImage for what we cannot unpack."""
        if kind not in _OPENERS:
            raise UnsupportedImage(
                f"the source is compressed with {kind}: expected {', '.join(_OPENERS)} or no compression. "
                "Unpack it, or compress it with one of these"
            )
        self._kind = kind
        self._source = source
        self._buf = bytearray(_PACKED)
        self._read = 0
        self._position = 0
        self._pending = b""
        self._full = False
        self._member: _Member | None = None
        self._members = 0
        self._ended = False

    def readinto(self, buf: memoryview, offset: int) -> int | None:
        check_forward(self._position, offset)
        while not self._ended:
            if self._member is None:
                self._next_member()
                continue
            out = self._step(self._member, min(len(buf), _UNPACKED))
            if out:
                buf[: len(out)] = out
                self._position += len(out)
                return len(out)
        return 0

    def close(self) -> None:
        self._source.close()

    def _step(self, member: _Member, room: int) -> bytes:
        if not self._full and not self._pending and not self._fetch():
            raise SourceUnavailable(
                f"the {self._kind} stream breaks off after {self._read} bytes: the file at the source is cut short"
            )
        try:
            out = member.decompress(self._pending, room)
        except (_IsalError, lzma.LZMAError, zstd.ZstdError, OSError) as error:
            raise UnsupportedImage(
                f"the {self._kind} stream is damaged near byte {self._read}: {error}. Pack the image again"
            ) from error
        self._pending = b""
        self._full = len(out) == room
        if member.eof:
            self._pending, self._full, self._member = member.unused_data, False, None
        return out

    def _next_member(self) -> None:
        """Open what follows; padding is read, for the digest, and dropped. Anything else may be a damaged part."""
        self._pending = self._pending.lstrip(b"\0")
        while len(self._pending) < 16 and self._fetch():
            self._pending = self._pending.lstrip(b"\0")
        if probe(self._pending) is self._kind or (self._kind is Format.ZST and _skipped(self._pending)):
            self._member = _OPENERS[self._kind]()
            self._members += 1
            if self._members > _FREE and self._members * _LEAST > self._position:
                raise UnsupportedImage(
                    f"the {self._kind} stream has {self._members} members with {self._position} bytes in all of them: "
                    f"expected {_LEAST} in each. Pack the image again, as one"
                )
        elif self._pending:
            raise UnsupportedImage(
                f"the {self._kind} stream is damaged, or something else follows it, at byte "
                f"{self._read - len(self._pending)}. Pack the image again"
            )
        else:
            self._ended = True

    def _fetch(self) -> bool:
        count = None
        while count is None:
            count = self._source.readinto(memoryview(self._buf), self._read)
        self._read += count
        self._pending += bytes(self._buf[:count])
        return count > 0


def _skipped(head: bytes) -> bool:
    """Whether a zstd frame holds no content: RFC 8878 §3.1.2."""
    return head[1:4] == b"\x2a\x4d\x18" and head[0] & 0xF0 == 0x50
