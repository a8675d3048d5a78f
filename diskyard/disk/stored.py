"""What a store of images keeps of each: who it is, what its disk must be; small files that are whole or not there."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import get_ident
from typing import Any, Final

from diskyard import linux
from diskyard.disk import space

_MOST: Final = 1 << 16
"""Bytes of a file of ours that is read."""
_BLOCK: Final = 1 << 16


@dataclass(frozen=True)
class Identity:
    """Which image: whoever has shown that he can fetch this from there may use it."""

    origin: str
    """Without credentials: the same origin and digest, and part, mean the same disk."""
    digest: str
    part: str = ""
    """Of an image that holds more than a disk: which file, for which architecture."""

    @property
    def key(self) -> str:
        """Its name in the store."""
        return hashlib.sha256("\n".join((self.origin, self.digest, self.part)).encode()).hexdigest()


@dataclass(frozen=True)
class Entry:
    """An image in the store."""

    identity: Identity
    labels: Mapping[str, str] = field(default_factory=dict)
    """For the claim, from the environment of a container image."""
    sum: str = ""
    """Over all data of the disk and where it lies; empty while it is not computed."""
    stamp: str = ""
    """What its file was known by when that was computed."""
    size: int = 0
    """Of the disk; what it takes of the file system may be less."""
    fetched: float = 0.0
    """When, in seconds of Unix time."""
    architecture: str = ""
    """For which a container image is; empty: it does not say."""


def like(folder: Path, made: Path | int) -> None:
    """Give what was made to the folder's owner: root tidies what workers fill."""
    if os.geteuid() == 0:
        facts = folder.stat()
        os.chown(made, facts.st_uid, facts.st_gid)


def said(entry: Entry) -> dict[str, Any]:
    """An entry as it is written down."""
    return asdict(entry)


def entry(said: dict[str, Any] | None) -> Entry | None:
    """And back; None: it is none."""
    what = identity((said or {}).get("identity"))
    if said is None or what is None:
        return None
    try:
        labels = {str(key): str(text) for key, text in dict(said.get("labels") or {}).items()}
        numbers = int(said["size"]), float(said["fetched"])
    except (KeyError, TypeError, ValueError):
        return None
    total, stamp, architecture = (str(said.get(name) or "") for name in ("sum", "stamp", "architecture"))
    return Entry(what, labels, total, stamp, *numbers, architecture)


def identity(said: Any) -> Identity | None:
    """Which image a file speaks of; None: of none."""
    if not isinstance(said, dict) or not (said.get("origin") and said.get("digest")):
        return None
    return Identity(str(said["origin"]), str(said["digest"]), str(said.get("part") or ""))


def read(path: Path) -> dict[str, Any] | None:
    """A file of ours; None: there is none, or not a whole one."""
    try:
        with path.open("rb") as file:
            said = json.loads(file.read(_MOST))
    except (OSError, ValueError):
        return None
    return said if isinstance(said, dict) else None


def write(path: Path, said: Mapping[str, Any]) -> None:
    """Whole and durable, or as it was. Raises NoSpace."""
    part = path.with_name(f".{path.name}.{os.getpid()}-{get_ident()}")
    try:
        with part.open("w") as file:
            json.dump(said, file)
            file.flush()
            os.fsync(file.fileno())
        like(path.parent, part)
        part.rename(path)
        linux.sync_folder(path.parent)
    except OSError as error:
        part.unlink(missing_ok=True)
        if error.errno in space.FULL:
            raise space.full(path, "writing to the image store") from error
        raise


def stamp(path: Path) -> str:
    """What a file is known by as long as nobody writes to it; links and permissions do not count."""
    facts = path.stat()
    return f"{facts.st_ino}-{facts.st_size}-{facts.st_mtime_ns}"


def content(path: Path) -> str:
    """BLAKE2 over each block that is not zero, and where it is; holes are not read."""
    total = hashlib.blake2b(digest_size=32)
    buf = memoryview(bytearray(_BLOCK))
    with path.open("rb", buffering=0) as file:
        size, done = os.fstat(file.fileno()).st_size, 0
        total.update(b"%d" % size)
        for start, length, hole in linux.extents(file.fileno(), size):
            first = max(done, start // _BLOCK * _BLOCK)
            for at in () if hole else range(first, start + length, _BLOCK):
                block = buf[: _whole(file.fileno(), buf, at)]
                done = at + _BLOCK
                if not linux.is_zero(block):
                    total.update(b"\n%d\n" % at)
                    total.update(block)
    return total.hexdigest()


def _whole(fd: int, buf: memoryview, offset: int) -> int:
    filled = 0
    while filled < len(buf) and (count := os.preadv(fd, [buf[filled:]], offset + filled)):
        filled += count
    return filled
