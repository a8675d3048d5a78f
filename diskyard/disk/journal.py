"""What of a source is durable on the disk: written beside it, read after a crash, gone when all is done.

One record in one sector, overwritten in place; holding the file open and locked keeps other writers out.
"""

import hashlib
import json
import os
import threading
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from diskyard.disk import lock, space
from diskyard.errors import Busy

_SECTOR: Final = 512


@dataclass(frozen=True)
class Record:
    """The first `offset` bytes of this version of this source are on the disk."""

    origin: str
    """A hash of what the source is called."""
    validator: str
    """A hash of the version that the source gave itself."""
    route: str
    """How the bytes were laid down; another route cannot go on from them."""
    offset: int = 0
    digest: str = ""
    """The digest's state at that offset."""
    mark: str = ""
    """What the disk is known by."""

    def to_text(self) -> str:
        """JSON, for whoever keeps it where the journal may be lost."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str) -> "Record | None":
        """What was kept; None where it is none of ours."""
        try:
            found = cls(**json.loads(text))
        except (ValueError, TypeError):
            return None
        texts = (found.origin, found.validator, found.route, found.digest, found.mark)
        if not all(isinstance(each, str) for each in texts) or type(found.offset) is not int:
            return None
        return found if found.offset >= 0 and len(found.to_text()) < _SECTOR - 10 else None


def record(origin: str, validator: str, route: str) -> Record:
    """The record of a transfer that begins."""
    return Record(_hash(origin), _hash(validator), route)


def peek(path: Path) -> Record | None:
    """What a journal says, without its lock; None where there is none."""
    try:
        with path.open("rb") as file:
            return _parsed(file.read(_SECTOR))
    except FileNotFoundError:
        return None


def _parsed(sector: bytes) -> Record | None:
    try:
        checksum, text = sector.rstrip(b"\0 ").split(b" ", 1)
        if int(checksum, 16) != zlib.crc32(text):
            return None
        return Record.from_text(text.decode())
    except ValueError:
        return None


class Journal:
    """The journal of one target, held by one process at a time."""

    def __init__(self, path: Path) -> None:
        """Open and lock. Raises Busy where another process is writing this target."""
        self.path = path
        self._fd = _locked(path)
        self._turn = threading.Lock()

    def read(self) -> Record | None:
        """What was written last; None where there is nothing, or half of something."""
        with self._turn:
            return _parsed(os.pread(self._fd, _SECTOR, 0))

    def write(self, entry: Record) -> None:
        """Replace the record, durably. Raises NoSpace."""
        text = entry.to_text().encode()
        line = b"%08x %s" % (zlib.crc32(text), text)
        if len(line) > _SECTOR:
            raise ValueError(f"a journal's record has {len(line)} bytes, more than a sector")
        try:
            with self._turn:
                os.pwrite(self._fd, line.ljust(_SECTOR), 0)
            os.fdatasync(self._fd)
        except OSError as error:
            if error.errno in space.FULL:
                raise space.full(self.path, "writing its journal") from error
            raise

    def clear(self) -> None:
        """Forget the record, keep the lock."""
        os.ftruncate(self._fd, 0)

    def remove(self) -> None:
        """Delete the file; the lock is held until `close`."""
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the lock. An empty journal leaves no file."""
        if os.fstat(self._fd).st_size == 0:
            self.remove()
        os.close(self._fd)


def _locked(path: Path) -> int:
    fd = lock.taken(path, patience=lock.MOMENT)
    if fd is None:
        raise Busy(f"another process is writing this disk (it holds {path}): wait for it, or stop it")
    return fd


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
