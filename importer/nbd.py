"""An NBD export as an Image: newstyle handshake, structured replies, `base:allocation`. Reading only.

After https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md, whose names are used here.
"""

import socket
import struct
from collections.abc import Iterator
from itertools import count
from threading import Lock
from typing import Final

from diskyard.disk.extent import Extent, Range, coalesced
from diskyard.errors import SourceUnavailable
from importer.nbd_handshake import Export, Wire, negotiated

CHUNK: Final = 1 << 20
"""Bytes of one read request: several are under way at once. VMware's library takes no more than 2 MiB well."""
_STATUS_SPAN: Final = 1 << 30
"""Bytes whose allocation is asked for at once."""
_MOST_DESCRIPTORS: Final = 1 << 20
_REQUEST: Final = struct.Struct(">IHHQQI")
_REPLY: Final = struct.Struct(">IHHQI")
_REQUEST_MAGIC: Final = 0x25609513
_REPLY_MAGIC: Final = 0x668E33EF
_READ, _DISCONNECT, _BLOCK_STATUS = 0, 2, 7
_DONE: Final = 1
_OFFSET_DATA, _OFFSET_HOLE, _STATUS = 1, 2, 5
_ERROR_BIT: Final = 1 << 15
_ZERO: Final = 2
"""Of `base:allocation`: reads as zero."""


class NbdImage:
    """The disk behind an NBD connection, which it owns. Calls from several threads wait for one another."""

    def __init__(self, link: socket.socket, export: str = "") -> None:
        """Shake hands. Raises SourceUnavailable: no NBD server, no such export, nothing came in time."""
        self._wire = Wire(link)
        self._lock = Lock()
        self._cookies = count(1)
        self._export: Export = negotiated(self._wire, export)
        self.size = self._export.size

    def extents(self) -> Iterator[Extent]:
        return coalesced(self.allocation(Range(0, self.size)))

    def allocation(self, span: Range) -> Iterator[Extent]:
        """What a part of the disk holds."""
        if self._export.context is None:
            yield Extent(span.start, span.length, zero=False)
            return
        start = span.start
        while start < span.end:
            with self._lock:
                found = self._status(start, min(_STATUS_SPAN, span.end - start))
            for length, zero in found:
                within = min(length, span.end - start)  # the last one may go beyond what was asked for
                if within > 0:
                    yield Extent(start, within, zero)
                start += within

    def preadinto(self, buf: memoryview, offset: int) -> None:
        grain = self._export.grain
        before, behind = offset % grain, -(offset + len(buf)) % grain
        if offset + len(buf) + behind > self.size:
            raise SourceUnavailable(f"expected {len(buf)} bytes at {offset}, the disk ends at {self.size}")
        with self._lock:
            if not before and not behind:
                self._read(buf, offset)
                return
            whole = bytearray(before + len(buf) + behind)
            self._read(memoryview(whole), offset - before)
            buf[:] = whole[before : before + len(buf)]

    def close(self) -> None:
        """Take leave, as the protocol asks for, and hang up."""
        self._wire.leave(_REQUEST.pack(_REQUEST_MAGIC, 0, _DISCONNECT, 0, 0, 0))

    def _status(self, start: int, span: int) -> list[tuple[int, bool]]:
        """(length, zero) of the runs from `start` on: at least one."""
        cookie = next(self._cookies)
        self._wire.send(_REQUEST.pack(_REQUEST_MAGIC, 0, _BLOCK_STATUS, cookie, start, span))
        found: list[tuple[int, bool]] = []
        done = False
        while not done:
            done, kind, answered, length = self._reply()
            if answered != cookie:
                raise self._wire.broken(f"expected an answer to request {cookie}, found {answered}")
            if kind == _STATUS and length % 8 == 4 and length <= _MOST_DESCRIPTORS * 8 + 4:
                body = self._wire.received(length)
                found = [(run, bool(flags & _ZERO)) for run, flags in struct.iter_unpack(">II", body[4:])]
            elif length:
                raise self._wire.broken(
                    f"a reply of type {kind} and {length} bytes to a question for extents"
                )
        if not found or not all(run for run, _ in found):
            raise self._wire.broken(f"no extent at {start}")
        return found

    def _read(self, buf: memoryview, offset: int) -> None:
        """All requests at once; their answers come in any order and in pieces."""
        waiting: dict[int, _Read] = {}
        requests = bytearray()
        for start in range(0, len(buf), CHUNK):
            read = _Read(buf[start : start + CHUNK], offset + start)
            cookie = next(self._cookies)
            waiting[cookie] = read
            requests += _REQUEST.pack(_REQUEST_MAGIC, 0, _READ, cookie, read.offset, read.left)
        self._wire.send(requests)
        while waiting:
            done, kind, cookie, length = self._reply()
            read = self._expected(waiting, cookie)
            self._take(read, kind, length)
            if done:
                del waiting[cookie]
                if read.left:
                    raise self._wire.broken(
                        f"{read.left} of {len(read.buf)} bytes at {read.offset} did not come"
                    )

    def _expected(self, waiting: "dict[int, _Read]", cookie: int) -> "_Read":
        if cookie not in waiting:
            raise self._wire.broken(f"an answer to request {cookie}, which nobody made")
        return waiting[cookie]

    def _take(self, read: "_Read", kind: int, length: int) -> None:
        """One piece of a read's answer, put where it belongs."""
        if kind not in (_OFFSET_DATA, _OFFSET_HOLE):
            if length:
                raise self._wire.broken(f"a reply of type {kind} to a read")
            return
        (at,) = struct.unpack(">Q", self._wire.received(8))
        if kind == _OFFSET_DATA:
            self._wire.fill(self._part(read, at, length - 8))
            return
        (hole,) = struct.unpack(">I", self._wire.received(4))
        part = self._part(read, at, hole)
        part[:] = bytes(len(part))

    def _part(self, read: "_Read", at: int, length: int) -> memoryview:
        start = at - read.offset
        if start < 0 or not 0 < length <= read.left or start + length > len(read.buf):
            raise self._wire.broken(f"{length} bytes at {at} in answer to {len(read.buf)} at {read.offset}")
        read.left -= length
        return read.buf[start : start + length]

    def _reply(self) -> tuple[bool, int, int, int]:
        """(last of its request, type, cookie, bytes that follow) of the next chunk. Raises what it reports."""
        magic, flags, kind, cookie, length = _REPLY.unpack(self._wire.received(_REPLY.size))
        if magic != _REPLY_MAGIC:
            raise self._wire.broken(f"expected a structured reply, found magic {magic:#x}")
        if kind & _ERROR_BIT:
            if not 6 <= length <= 4096 + 14:
                raise self._wire.broken(f"an error of {length} bytes")
            body = self._wire.received(length)
            number, size = struct.unpack_from(">IH", body)
            raise self._wire.broken(f"error {number} {body[6 : 6 + size].decode(errors='replace')}".rstrip())
        return bool(flags & _DONE), kind, cookie, length


class _Read:
    """A read that is under way: where its bytes go, and how many have not come."""

    def __init__(self, buf: memoryview, offset: int) -> None:
        self.buf = buf
        self.offset = offset
        self.left = len(buf)
