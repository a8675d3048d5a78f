"""What of a resumable upload is kept beside the disk, so that another server can go on where this one ended.

`upload.json` says which upload it is. `kept` is as long as the image and has holes where it is not needed again: its
head, and the tables of a qcow2. `ring` has the newest bytes, as far back as the disk's journal can be behind them.
"""

import json
import os
import shutil
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from diskyard import linux
from diskyard.disk import qcow2_format
from diskyard.disk.extent import Range
from diskyard.disk.preflight import HEAD
from diskyard.disk.probe import Format, probe
from diskyard.disk.qcow2_table import l2_places
from diskyard.disk.target import Target
from diskyard.errors import DiskyardError

RING: Final = 128 << 20
"""Bytes of the ring: more than the engine fetches ahead of its journal (32 MiB between two of its records, and six
buffers of 4 MiB), twice over."""
_RECORD: Final = 4096
_PLAIN: Final = (Format.RAW, Format.ISO, Format.QCOW2)
"""What can be gone on with after the server has ended."""


@dataclass(frozen=True)
class Ticket:
    """One upload, as its client has announced it."""

    id: str
    length: int
    created: float
    """Seconds since 1970."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    checksum: str = ""
    """`algorithm:hex` of the whole; empty: nothing was promised."""
    whole: bool = False
    """An earlier try has shown that it has to be kept until all of it is here."""
    expiry: float = 0.0
    """Seconds for which it is kept when nobody goes on with it; 0: as the server thinks."""


class Shelf:
    """The files of one upload, for one thread."""

    def __init__(self, folder: Path) -> None:
        """Open; `folder` exists."""
        self._folder = folder
        self._kept = os.open(folder / "kept", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        self._ring = os.open(folder / "ring", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        self._head = 0
        self._ranges: Sequence[Range] = ()
        self._first = 0
        """The first byte of the image that the ring has."""

    @classmethod
    def made(cls, target: Target, ticket: Ticket) -> "Shelf":
        """A fresh one, for an upload that begins."""
        discard(target)
        folder = place(target)
        folder.mkdir(mode=0o700)
        write_ticket(target, ticket)
        return cls(folder)

    @classmethod
    def taken_up(cls, target: Target, ticket: Ticket, durable: int) -> tuple["Shelf", int]:
        """What an earlier server has left, and how many bytes of the image are known; `durable`: by the disk."""
        shelf = cls(place(target))
        committed = shelf._committed()
        shelf._first = durable
        known = max(durable, committed if committed - durable <= RING else 0)
        shelf._head = min(HEAD, known, ticket.length)
        shelf._learn(ticket.length)
        return shelf, known

    def put(self, chunk: memoryview, offset: int, length: int) -> None:
        """Note the next bytes of the image, of `length` in all."""
        if self._head == offset and offset < HEAD:
            part = chunk[: HEAD - offset]
            os.pwrite(self._kept, part, offset)
            self._head += len(part)
            if self._head in (HEAD, length):
                self._learn(length)
                os.fdatasync(self._kept)
        for each in self._between(offset, offset + len(chunk)):
            start, end = max(each.start, offset), min(each.end, offset + len(chunk))
            os.pwrite(self._kept, chunk[start - offset : end - offset], start)
            os.fdatasync(self._kept)
        done = 0
        while done < len(chunk):
            at = (offset + done) % RING
            done += os.pwrite(self._ring, chunk[done : done + RING - at], _RECORD + at)
        self._first = max(self._first, offset + len(chunk) - RING)

    def commit(self, offset: int) -> None:
        """Make durable all that was put; `offset`: its end."""
        os.fdatasync(self._ring)
        if self._head < HEAD:
            os.fdatasync(self._kept)
        text = json.dumps({"offset": offset}).encode()
        os.pwrite(self._ring, (b"%08x %s" % (zlib.crc32(text), text)).ljust(_RECORD), 0)
        os.fdatasync(self._ring)

    def read(self, buf: memoryview, offset: int, known: int) -> int:
        """Bytes put into `buf` from `offset`, of what was put up to `known`; 0: they are not here any more."""
        if self._first <= offset < known:
            at = offset % RING
            room = min(len(buf), known - offset, RING - at)
            return os.preadv(self._ring, [buf[:room]], _RECORD + at)
        end = next((each.end for each in self._between(offset, offset + 1)), self._head)
        room = min(len(buf), max(0, min(end, known) - offset))
        return os.preadv(self._kept, [buf[:room]], offset) if room else 0

    def plain(self, length: int) -> bool:
        """Whether all of the head is here, and is of an image that can be gone on with."""
        if self._head < min(HEAD, length):
            return False
        return probe(os.pread(self._kept, self._head, 0)) in _PLAIN

    def rewind(self, offset: int) -> None:
        """The image is asked for from `offset` again: what the ring has is of no use."""
        self._first = offset

    def close(self) -> None:
        """Let go of the files; they stay."""
        os.close(self._kept)
        os.close(self._ring)

    def _between(self, start: int, end: int) -> Sequence[Range]:
        """The tables that lie there, in part at least."""
        first = bisect_right(self._ranges, start, key=_end)
        return self._ranges[first : bisect_left(self._ranges, end, key=_start)]

    def _learn(self, length: int) -> None:
        """Where the tables of a qcow2 lie."""
        head = os.pread(self._kept, self._head, 0)
        self._ranges = _tables(head, length) if probe(head) is Format.QCOW2 else ()

    def _committed(self) -> int:
        try:
            checksum, text = os.pread(self._ring, _RECORD, 0).rstrip(b" \0").split(b" ", 1)
            return int(json.loads(text)["offset"]) if int(checksum, 16) == zlib.crc32(text) else 0
        except (ValueError, KeyError, TypeError):
            return 0


def place(target: Target) -> Path:
    """The folder of an upload's files."""
    return target.folder / f".{target.path.name}.upload"


def write_ticket(target: Target, ticket: Ticket) -> None:
    """Say which upload it is, durably."""
    path = place(target) / "upload.json"
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        file.write(json.dumps(asdict(ticket)).encode())
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)
    linux.sync_folder(path.parent)


def ticket(target: Target) -> Ticket | None:
    """The upload that an earlier server has left; None where there is none, or half of one."""
    try:
        said: dict[str, Any] = json.loads((place(target) / "upload.json").read_bytes())
        return Ticket(**said)
    except (OSError, ValueError, TypeError):
        return None


def discard(target: Target) -> None:
    """Leave nothing of an upload but what the engine keeps."""
    shutil.rmtree(place(target), ignore_errors=True)


def _start(span: Range) -> int:
    return span.start


def _end(span: Range) -> int:
    return span.end


def _tables(head: bytes, length: int) -> Sequence[Range]:
    """The clusters of L2 tables, where all of the L1 table is in the head: otherwise nothing is decoded."""
    try:
        header = qcow2_format.header(head)
        l1 = head[header.l1_offset : header.l1_offset + 8 * header.l1_entries]
        if len(l1) < 8 * header.l1_entries:
            return ()
        places = dict.fromkeys(l2_places(header, l1)[0])
    except (DiskyardError, ValueError):
        return ()
    return [Range(place, min(header.cluster, length - place)) for place in places if HEAD <= place < length]
