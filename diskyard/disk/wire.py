"""Extents on the wire: a volume read over connections, of whose disk what is zero is never sent. Both ends.

A request is an operation, an offset and a length; its answer a status, a length and so many bytes. One at a time on a
connection, several connections side by side. What is read comes as runs of data and of zeros, and each answer carries
a checksum of its data (TLS below keeps it from whoever listens; this keeps it from faults in memory). A volume of files
comes as one tar stream in frames, with a checksum at its end.
"""

import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from itertools import islice
from typing import Final, Protocol, TypeVar

from isal import isal_zlib

from diskyard import linux
from diskyard.disk.extent import Extent, coalesced
from diskyard.disk.writer import aligned
from diskyard.errors import DiskyardError, SourceChanged, SourceMissing, SourceUnavailable

CHUNK: Final = 4 << 20
"""Bytes that one answer covers at most."""
GRAIN: Final = 64 << 10
"""Zeros are looked for in pieces of this size."""
SHORT: Final = 256 << 10
"""Bytes of a hole that are looked through in less time than one more question takes."""
DELAYS: Final = (0.2, 0.5, 1.0, 3.0, 10.0, 30.0)
"""Seconds before each new attempt to reach the other end."""
_ABOUT, _EXTENTS, _READ, _FILES = range(4)
_REQUEST: Final = struct.Struct(">BQI")
_ANSWER: Final = struct.Struct(">BI")
_EXTENT: Final = struct.Struct(">QB")
_COUNT: Final = struct.Struct(">II")
"""(runs, checksum of the data): before an answer's runs."""
_RUN: Final = struct.Struct(">I")
_ZERO: Final = 1 << 31
_GOOD, _GONE, _CHANGED, _REFUSED = range(4)
_MOST_EXTENTS: Final = 4096
_MOST_TEXT: Final = 4096
_LARGEST: Final = 1 << 60

T = TypeVar("T")


class Link(Protocol):
    """A connection, as sockets and TLS sockets are."""

    def sendall(self, data: memoryview | bytes, /) -> None: ...
    def recv_into(self, buffer: memoryview, /) -> int: ...
    def close(self) -> None: ...


class Served(Protocol):
    """A disk that can say which version it is."""

    size: int
    validator: str

    def extents(self, start: int = 0) -> Iterator[Extent]:
        """The disk from `start` on, in order."""

    def preadinto(self, buf: memoryview, offset: int) -> None:
        """Fill all of `buf` from `offset`."""

    def check(self) -> None:
        """Raises SourceChanged where it is not that version any more."""


Send = Callable[[memoryview | bytes], object]


class Volume(Protocol):
    """What is served."""

    def disk(self) -> Served:
        """Its disk. Raises SourceMissing where there is none."""

    def files(self, send: Send) -> None:
        """All its files as a tar stream."""


def serve(volume: Volume, link: Link) -> None:
    """Answer every request of one connection, until it ends. Raises OSError."""
    buf = memoryview(aligned(CHUNK))
    while True:
        try:
            operation, offset, length = _REQUEST.unpack(_received(link, _REQUEST.size))
        except SourceUnavailable:
            return
        try:
            if operation == _FILES:
                _send_files(volume, link)
                return
            for part in _answer(volume.disk(), buf, operation, (offset, length)):
                link.sendall(part)
        except DiskyardError as error:
            text = str(error).encode()[:_MOST_TEXT]
            link.sendall(_ANSWER.pack(_status(error), len(text)) + text)


def _status(error: DiskyardError) -> int:
    if isinstance(error, SourceChanged):
        return _CHANGED
    return _REFUSED if error.fatal else _GONE


def _send_files(volume: Volume, link: Link) -> None:
    link.sendall(_ANSWER.pack(_GOOD, 0))
    checksum = 0

    def send(part: memoryview | bytes) -> None:
        nonlocal checksum
        if part:
            checksum = isal_zlib.crc32(part, checksum)
            link.sendall(_RUN.pack(len(part)))
            link.sendall(part)

    volume.files(send)
    link.sendall(_RUN.pack(0) + _RUN.pack(checksum))


def _answer(
    image: Served, buf: memoryview, operation: int, where: tuple[int, int]
) -> Iterator[memoryview | bytes]:
    offset, length = where
    if operation == _ABOUT:
        body = f"{image.size} {image.validator}".encode()
    elif operation == _EXTENTS:
        body = b"".join(_EXTENT.pack(each.length, each.zero) for each in _some(image, offset))
    elif operation == _READ and length <= CHUNK and offset + length <= image.size:
        yield from _read(image, buf[:length], offset)
        return
    else:
        raise SourceUnavailable(f"expected a request, found {operation} for {length} bytes at {offset}")
    yield _ANSWER.pack(_GOOD, len(body)) + body


def _some(image: Served, offset: int) -> Iterator[Extent]:
    """As many extents from there on as one answer holds."""
    return islice(image.extents(offset), _MOST_EXTENTS)


def _read(image: Served, buf: memoryview, offset: int) -> Iterator[memoryview | bytes]:
    """The runs of a piece: what is zero as its length only. Read and looked at before a byte is promised."""
    image.preadinto(buf, offset)
    image.check()
    pieces = (Extent(at, min(GRAIN, len(buf) - at), False) for at in range(0, len(buf), GRAIN))
    runs = list(coalesced(Extent(p.start, p.length, linux.is_zero(buf[p.start : p.end])) for p in pieces))
    checksum = 0
    for run in runs:
        if not run.zero:
            checksum = isal_zlib.crc32(buf[run.start : run.end], checksum)
    head = _COUNT.pack(len(runs), checksum)
    head += b"".join(_RUN.pack(run.length | (_ZERO if run.zero else 0)) for run in runs)
    sent = sum(run.length for run in runs if not run.zero)
    yield _ANSWER.pack(_GOOD, len(head) + sent) + head
    for run in runs:
        if not run.zero:
            yield buf[run.start : run.end]


class _Broken(SourceUnavailable):
    """The connection, or what came over it: another one may do better."""


class WireImage:
    """The disk at the other end, as an Image. From several threads at once, a connection each."""

    def __init__(
        self,
        connect: Callable[[], Link],
        on_received: Callable[[int], object] = lambda _: None,
    ) -> None:
        """`connect` raises OSError. Raises SourceUnavailable, once asking again has not helped, and SourceMissing."""
        self._connect = connect
        self._on_received = on_received
        self._idle: list[Link] = []
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self.size, self.validator = self._patiently(_about)

    def extents(self) -> Iterator[Extent]:
        """A short hole counts as data: its zeros are not sent, and one answer covers what lies around it."""
        return coalesced(
            Extent(each.start, each.length, each.zero and each.length >= SHORT) for each in self._extents()
        )

    def preadinto(self, buf: memoryview, offset: int) -> None:
        if offset + len(buf) > self.size:
            raise SourceUnavailable(f"expected {len(buf)} bytes at {offset}, the disk ends at {self.size}")
        for start in range(0, len(buf), CHUNK):
            part = buf[start : start + CHUNK]
            self._on_received(self._patiently(partial(_fill, buf=part, offset=offset + start)))

    def close(self) -> None:
        """Hang up; whoever waits for the other end stops waiting."""
        self._closed.set()
        with self._lock:
            idle, self._idle = self._idle, []
        for link in idle:
            link.close()

    def _extents(self) -> Iterator[Extent]:
        start = 0
        while start < self.size:
            found = self._patiently(partial(_extents, offset=start))
            if not found:
                raise _Broken(f"the disk's extents end at {start}, expected {self.size}")
            for length, zero in found:
                if start + length > self.size:
                    raise _Broken(f"an extent ends at {start + length}, the disk at {self.size}")
                yield Extent(start, length, zero)
                start += length

    def _patiently(self, ask: Callable[[Link], T]) -> T:
        """The answer: over another connection, a little later, where one breaks."""
        for delay in (*DELAYS, None):
            try:
                return self._once(ask)
            except _Broken:
                if delay is None or self._closed.wait(delay):
                    raise
        raise AssertionError("the last attempt returns or raises")

    def _once(self, ask: Callable[[Link], T]) -> T:
        with self._lock:
            link = self._idle.pop() if self._idle else None
        with ExitStack() as failed:
            try:
                link = link or self._connect()
                failed.callback(link.close)
                found = ask(link)
            except OSError as error:
                raise _Broken(f"the connection to the clone's source broke: {error}") from error
            with self._lock:
                if not self._closed.is_set():
                    self._idle.append(link)
                    failed.pop_all()
        return found


class WireFiles:
    """The files at the other end, as the Source of a tar stream. What breaks begins again."""

    ranged = False
    size: int | None = None
    validator: str | None = None

    def __init__(self, connect: Callable[[], Link]) -> None:
        """Raises OSError, and what the other end says is wrong."""
        self._link = connect()
        self._checksum = 0
        self._left = 0
        self._over = False
        self._link.sendall(_REQUEST.pack(_FILES, 0, 0))
        _accepted(self._link)

    def readinto(self, buf: memoryview, offset: int) -> int | None:  # noqa: ARG002 - only goes forward
        if not self._left and not self._over:
            (self._left,) = _RUN.unpack(_received(self._link, _RUN.size))
            if not self._left:
                self._end()
        if self._over:
            return 0
        part = buf[: min(len(buf), self._left)]
        _into(self._link, part)
        self._checksum = isal_zlib.crc32(part, self._checksum)
        self._left -= len(part)
        return len(part)

    def _end(self) -> None:
        self._over = True
        (promised,) = _RUN.unpack(_received(self._link, _RUN.size))
        if promised != self._checksum:
            raise _Broken("the volume's files came damaged: they are asked for again")

    def close(self) -> None:
        self._link.close()


def _about(link: Link) -> tuple[int, str]:
    """The disk's size and which version it is."""
    size, _, validator = bytes(_asked(link, _ABOUT, 0, 0)).decode().partition(" ")
    if not size.isdecimal() or int(size) > _LARGEST:
        raise _Broken(f"expected the disk's size, found {size[:40]!r}")
    return int(size), validator


def _extents(link: Link, offset: int) -> list[tuple[int, bool]]:
    found = _asked(link, _EXTENTS, offset, 0)
    if len(found) % _EXTENT.size:
        raise _Broken(f"an answer of {len(found)} bytes is no list of extents")
    return [(length, bool(zero)) for length, zero in _EXTENT.iter_unpack(found)]


def _fill(link: Link, buf: memoryview, offset: int) -> int:
    """Fill a buffer from that offset; the bytes that came for it. Raises SourceUnavailable for damaged ones."""
    link.sendall(_REQUEST.pack(_READ, offset, len(buf)))
    left = _accepted(link) - _COUNT.size
    count, promised = _COUNT.unpack(_received(link, _COUNT.size))
    if not 0 < count <= len(buf) // GRAIN + 1:
        raise _Broken(f"expected the runs of {len(buf)} bytes, found {count}")
    runs = [run for (run,) in _RUN.iter_unpack(_received(link, count * _RUN.size))]
    lengths = [run & ~_ZERO for run in runs]
    sent = sum(run for run in runs if not run & _ZERO)
    if sum(lengths) != len(buf) or left - count * _RUN.size != sent:
        raise _Broken(f"expected runs of {len(buf)} bytes at {offset}, found {sum(lengths)}")
    checksum = at = 0
    for run, length in zip(runs, lengths, strict=True):
        part = buf[at : at + length]
        if run & _ZERO:
            part[:] = bytes(length)
        else:
            _into(link, part)
            checksum = isal_zlib.crc32(part, checksum)
        at += length
    if checksum != promised:
        raise _Broken(f"the {len(buf)} bytes at {offset} came damaged: they are asked for again")
    return left + _COUNT.size


def _asked(link: Link, operation: int, offset: int, length: int) -> memoryview:
    link.sendall(_REQUEST.pack(operation, offset, length))
    size = _accepted(link)
    if size > _MOST_EXTENTS * _EXTENT.size:
        raise _Broken(f"an answer of {size} bytes is none to a question about the disk")
    return _received(link, size)


def _accepted(link: Link) -> int:
    """Bytes of the answer that follows. Raises what the other end says is wrong."""
    status, length = _ANSWER.unpack(_received(link, _ANSWER.size))
    if status == _GOOD:
        return int(length)
    said = bytes(_received(link, min(length, _MOST_TEXT))).decode(errors="replace")
    raise _ERRORS.get(int(status), SourceUnavailable)(said)


_ERRORS: Final = {_CHANGED: SourceChanged, _REFUSED: SourceMissing}


def _received(link: Link, length: int) -> memoryview:
    buf = memoryview(bytearray(length))
    _into(link, buf)
    return buf


def _into(link: Link, buf: memoryview) -> None:
    filled = 0
    while filled < len(buf):
        count = link.recv_into(buf[filled:])
        if not count:
            raise _Broken("the other end of the clone hung up")
        filled += count
