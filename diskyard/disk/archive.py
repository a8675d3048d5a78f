"""Tar archives from a stream that only goes forward: one member after the other, no body kept, all of it bounded.

ustar (POSIX.1-1988), pax (POSIX.1-2001) and GNU's long names (tar(5)); our own reader, for the standard library's
trusts the sizes of extended headers and copies every body twice.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from diskyard.disk.source import Source
from diskyard.errors import UnsafeImage, UnsupportedImage

BLOCK: Final = 512
MAX_MEMBERS: Final = 1 << 20
MAX_NAME: Final = 4096
"""Bytes: PATH_MAX."""
MAX_EXTENDED: Final = 1 << 20
"""Bytes of one extended header."""
MAX_DEPTH: Final = 128
MAX_PASSED: Final = 256 << 30
"""Bytes of bodies that nobody wants: packed zeros cost who sends them nothing, and us minutes."""
_MOST_BEFORE: Final = 64
"""Headers before one member that say something of it, or of all: honest archives have up to three."""
_BUFFER: Final = 64 << 10
_LATEST: Final = 1 << 40
"""Seconds since 1970 that no file system goes beyond."""


class Kind(StrEnum):
    """What a member is; the values are words for messages."""

    FILE = "file"
    FOLDER = "directory"
    SYMLINK = "symbolic link"
    HARD_LINK = "hard link"
    DEVICE = "device or pipe"
    SPARSE = "sparse file"
    """A file without its holes; we list such, and do not read them."""


@dataclass(frozen=True, slots=True)
class Member:
    """One entry of an archive."""

    name: str
    """As it stands there: perhaps absolute, perhaps with `..` in it."""
    kind: Kind
    size: int
    mode: int
    changed: int
    """Seconds since 1970."""
    target: str = ""
    """Of a link."""

    @property
    def parts(self) -> tuple[str, ...]:
        """The name's parts, without a leading slash and dots that mean nothing."""
        return tuple(part for part in self.name.split("/") if part not in ("", "."))


class Archive:
    """The members of a tar archive: iterate once, and read the body of the one that came last."""

    def __init__(self, source: Source, most: int = MAX_PASSED) -> None:
        """`most`: bytes of bodies that are passed over, where they must be read for that."""
        self._stream = _Stream(source, most)
        self._left = 0
        self._padding = 0

    @property
    def position(self) -> int:
        """Where in the source the next byte of the current member's body lies."""
        return self._stream.position

    def __iter__(self) -> Iterator[Member]:
        """In their order. Raises UnsupportedImage where the archive is damaged, UnsafeImage where it is absurd."""
        shared: dict[str, str] = {}
        count = 0
        while (member := self._member(shared)) is not None:
            count += 1
            if count > MAX_MEMBERS:
                raise UnsafeImage(f"the tar archive has more than {MAX_MEMBERS} members: expected fewer")
            yield member

    def readinto(self, buf: memoryview) -> int | None:
        """Bytes of the current member put into `buf`; 0 at its end, None for a pause of the source."""
        if not self._left or not buf:
            return 0
        count = self._stream.readinto(buf[: self._left])
        if count == 0:
            raise _cut_short(self._stream.position)
        self._left -= count or 0
        return count

    def finish(self) -> None:
        """Read what follows the last member, to the end of the source."""
        while self._stream.skip(_BUFFER):
            pass

    def _member(self, shared: dict[str, str]) -> Member | None:
        """The next member; extended headers before it apply to it, global ones (`shared`) to all that follow."""
        own: dict[str, str] = {}
        for _ in range(_MOST_BEFORE + 1):
            self._pass(self._left + self._padding)
            header = self._stream.exactly(BLOCK)
            if not header.strip(b"\0"):
                return None
            kind, size = _checked(header)
            if kind in b"xg":
                (own if kind == b"x" else shared).update(_pax(self._extended(size)))
            elif kind in b"LK":
                own["path" if kind == b"L" else "linkpath"] = _text(self._extended(size).rstrip(b"\0"))
            elif kind == b"V":
                self._began(size)
            else:
                return self._entry(header, kind, size, shared | own)
        raise UnsafeImage(f"the tar archive has more than {_MOST_BEFORE} extended headers before one member")

    def _entry(self, header: bytes, kind: bytes, size: int, said: Mapping[str, str]) -> Member:
        size = _whole(said["size"]) if "size" in said else size
        name = said.get("path") or _name(header)
        what = _kind(kind, name, said)
        if kind == b"S":
            self._pass_map(header[482])
        self._began(size if what in (Kind.FILE, Kind.SPARSE) else 0)
        target = said.get("linkpath") or _text(header[157:257].split(b"\0")[0])
        for text in (name, target):
            if "\0" in text:
                raise UnsupportedImage("the tar archive is damaged: a name has a zero byte in it")
            if len(text.encode(errors="surrogateescape")) > MAX_NAME or text.count("/") > MAX_DEPTH:
                raise UnsafeImage(f"the tar archive has a name of {len(text)} characters: {text[:80]!r}...")
        changed = 0 if header[136] == 0xFF else min(_number(header[136:148]), _LATEST)
        return Member(name, what, self._left, _number(header[100:108]) & 0o7777, changed, target)

    def _began(self, size: int) -> None:
        self._left, self._padding = size, -size % BLOCK

    def _extended(self, size: int) -> bytes:
        if size > MAX_EXTENDED:
            raise UnsafeImage(
                f"the tar archive has an extended header of {size} bytes: expected at most {MAX_EXTENDED}"
            )
        body = self._stream.exactly(size)
        if len(body) < size:
            raise _cut_short(self._stream.position)
        self._left, self._padding = 0, -size % BLOCK
        return body

    def _pass(self, length: int) -> None:
        while length:
            count = self._stream.skip(length)
            if not count:
                raise _cut_short(self._stream.position)
            length -= count
        self._left = self._padding = 0

    def _pass_map(self, more: int) -> None:
        """The blocks of an old GNU sparse map that stand before the body."""
        for _ in range(MAX_EXTENDED // BLOCK):
            if not more:
                return
            block = self._stream.exactly(BLOCK)
            if not block:
                raise _cut_short(self._stream.position)
            more = block[504]
        raise UnsafeImage("the tar archive has a sparse file with an endless map of holes")


class _Stream:
    """A Source read in small pieces where headers are, and straight into the reader's buffer where bodies are."""

    def __init__(self, source: Source, most: int) -> None:
        self._source = source
        self._most = most
        self._buffer = memoryview(bytearray(_BUFFER))
        self._kept = self._buffer[:0]
        self._fetched = 0
        self._passed = 0

    @property
    def position(self) -> int:
        """What has been handed out."""
        return self._fetched - len(self._kept)

    def readinto(self, buf: memoryview) -> int | None:
        if not self._kept:
            if len(buf) >= _BUFFER:
                count = self._source.readinto(buf, self._fetched)
                self._fetched += count or 0
                return count
            count = self._source.readinto(self._buffer, self._fetched)
            if not count:
                return count
            self._fetched += count
            self._kept = self._buffer[:count]
        piece = self._kept[: len(buf)]
        buf[: len(piece)] = piece
        self._kept = self._kept[len(piece) :]
        return len(piece)

    def exactly(self, length: int) -> bytes:
        """That many bytes; none at all where the source ends before the first."""
        buf = bytearray(length)
        view, filled = memoryview(buf), 0
        while filled < length:
            count = self.readinto(view[filled:])
            if count == 0:
                if filled:
                    raise _cut_short(self.position)
                return b""
            filled += count or 0
        return bytes(buf)

    def skip(self, length: int) -> int:
        """Pass over at most `length` bytes; how many there were, 0 at the end."""
        if not self._kept:
            if self._source.ranged and self._source.size is not None:
                step = min(length, max(0, self._source.size - self._fetched))
                self._fetched += step
                return step
            count = None
            while count is None:
                count = self._source.readinto(self._buffer, self._fetched)
            self._fetched += count
            self._kept = self._buffer[:count]
        step = min(length, len(self._kept))
        self._kept = self._kept[step:]
        self._passed += step
        if self._passed > self._most:
            raise UnsafeImage(
                f"the tar archive has more than {self._most} bytes beside what is read of it: pack it again without"
            )
        return step


_KINDS: Final[Mapping[bytes, Kind]] = {
    b"0": Kind.FILE, b"\0": Kind.FILE, b"7": Kind.FILE, b"1": Kind.HARD_LINK, b"2": Kind.SYMLINK,
    b"3": Kind.DEVICE, b"4": Kind.DEVICE, b"5": Kind.FOLDER, b"6": Kind.DEVICE, b"S": Kind.SPARSE,
}  # fmt: skip


def _kind(mark: bytes, name: str, said: Mapping[str, str]) -> Kind:
    kind = _KINDS.get(mark)
    if kind is None:
        raise UnsupportedImage(
            f"the tar archive has {name[:80]!r} of type {mark!r}, which we do not know. Pack it again with GNU tar"
        )
    if kind is Kind.FILE and _SPARSE in said:
        return Kind.SPARSE
    return Kind.FOLDER if mark == b"\0" and name.endswith("/") else kind


def _checked(header: bytes) -> tuple[bytes, int]:
    """The type and the size of a header whose checksum is right."""
    plain = header[:148] + b" " * 8 + header[156:]
    signed = sum(struct.unpack("512b", plain))
    if _number(header[148:156]) not in (sum(plain), signed):
        raise UnsupportedImage("the tar archive is damaged: a header has the wrong checksum. Pack it again")
    return header[156:157], _number(header[124:136])


def _number(field: bytes) -> int:
    """Octal digits, or since GNU tar 1.13 a binary number behind a set bit."""
    if field[0] in (0x80, 0xFF):
        number = int.from_bytes(field[1:], "big") if field[0] == 0x80 else -1
    else:
        try:
            number = int(field.split(b"\0")[0].strip() or b"0", 8)
        except ValueError:
            number = -1
    if number < 0:
        raise UnsupportedImage(f"the tar archive is damaged: expected a number in a header, found {field!r}")
    return number


def _name(header: bytes) -> str:
    name = header[:100].split(b"\0")[0]
    prefix = header[345:500].split(b"\0")[0] if header[257:263] == b"ustar\0" else b""
    return _text(prefix + b"/" + name if prefix else name)


_SPARSE: Final = "GNU.sparse."
_MEANT: Final = (b"path", b"linkpath", b"size")
"""What we read of an extended header. Nothing else is kept: there may be any number of keys."""


def _pax(body: bytes) -> dict[str, str]:
    """Records `LENGTH KEY=VALUE\\n`; an empty value takes an earlier one back."""
    said, start, end = {}, 0, len(body.rstrip(b"\0"))
    while start < end:
        digits, blank, _ = body[start : start + 8].partition(b" ")
        stop = start + int(digits) if blank and digits.isdigit() else start
        key, equals, value = body[start + len(digits) + 1 : stop - 1].partition(b"=")
        if not equals or body[stop - 1 : stop] != b"\n":
            raise UnsupportedImage("the tar archive is damaged: an extended header cannot be read")
        if key in _MEANT:
            said[_text(key)] = _text(value)
        elif key.startswith(_SPARSE.encode()):
            said[_SPARSE] = "yes"
        start = stop
    return said


def _whole(digits: str) -> int:
    if not (digits.isascii() and digits.isdigit() and len(digits) < 20):
        raise UnsupportedImage(f"the tar archive is damaged: expected a size, found {digits[:30]!r}")
    return int(digits)


def _text(raw: bytes) -> str:
    return raw.decode(errors="surrogateescape")


def _cut_short(position: int) -> UnsupportedImage:
    return UnsupportedImage(
        f"the tar archive is cut short after {position} bytes: offer the whole file at the source"
    )
