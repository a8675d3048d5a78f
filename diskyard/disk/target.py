"""Where a disk shall be, what was promised of it, how far it is, and what came out: ingest's values."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from diskyard.disk.digest import Digest, Expected
from diskyard.disk.probe import Format

FILE_MODE: Final = 0o660
STALL: Final = 60.0
"""Seconds without a byte after which a transfer says what it waits for."""


@dataclass(frozen=True)
class Target:
    """A file that shall be the disk, or a block device."""

    path: Path
    room: int | None = None
    """Bytes that the disk may have at most; None: what is free."""
    size: int | None = None
    """A file is grown to this many bytes."""
    preallocate: bool = False
    scratch: Path | None = None
    """For a block device: a folder for its journal, and for images that cannot be streamed."""
    spare: Path | None = None
    """A folder for an image that is converted, where the disk's own volume has no room for both."""
    apart: bool = False
    """Whether the image is there."""
    reported: str = ""
    """For a block device whose folder may be lost with its pod: the journal as an earlier run has reported it."""

    @property
    def folder(self) -> Path:
        """Where hidden files of the transfer are: beside the file; for a device, in `scratch`."""
        return self.scratch or self.path.parent

    @property
    def part(self) -> Path:
        """The disk while it is not complete."""
        return self.folder / f".{self.path.name}.part"

    @property
    def spool(self) -> Path:
        """The image while it is not converted."""
        return self._spool(self.spare if self.apart and self.spare else self.folder)

    @property
    def spools(self) -> tuple[Path, ...]:
        """Wherever an image may have been left."""
        return (self._spool(self.folder), *([self._spool(self.spare)] if self.spare else []))

    @property
    def journal(self) -> Path:
        """What of the source is durable."""
        return self.folder / f".{self.path.name}.journal"

    def _spool(self, folder: Path) -> Path:
        return folder / f".{self.path.name}.spool"


@dataclass(frozen=True)
class Expect:
    """What the source is called, and what its bytes must be."""

    origin: str = ""
    """Identifies the source: the same origin and validator mean the same bytes."""
    name: str = "the source"
    """For messages: without credentials."""
    digest: Expected | None = None
    algorithm: str = ""
    """Of a digest that is only to be said; hashing costs as much as unpacking does, so it is asked for."""
    goes_on: bool = False
    """A source that only goes forward goes on from wherever it is asked next: its sender is there to send again."""
    whole: bool = False
    """Keep the image until all of it is here: an earlier try has shown that it cannot be decoded on its way."""

    def computed(self) -> Digest | None:
        """A digest that takes the source's bytes, where one is promised or asked for."""
        algorithm = self.digest.algorithm if self.digest else self.algorithm
        return Digest(algorithm) if algorithm else None

    def said(self, digest: Digest | None) -> str:
        """The digest of all bytes, held to what was promised; empty for none. Raises ChecksumMismatch."""
        if digest and self.digest:
            digest.verify(self.digest, self.name)
        return str(digest or "")


NOTHING: Final = Expect()
"""A source without a name, of which nothing was promised."""


class Limit(StrEnum):
    """What a transfer would have to be faster at, to be faster."""

    UNKNOWN = ""
    SOURCE = "source"
    """It answers late, or pauses."""
    NETWORK = "network"
    """Bytes come all the time, and no faster: the line is full, or its other end sends no more."""
    DISK = "disk"
    CPU = "cpu"


@dataclass(frozen=True)
class Progress:
    """How far a transfer is. Bytes, but for the percentage."""

    phase: str = "connecting"
    """connecting, transferring, converting, complete."""
    fetched: int = 0
    """Of the source, from its start, with what an earlier run had fetched."""
    total: int | None = None
    written: int = 0
    percent: float = 0.0
    """0 to 100 of everything, never falling."""
    limit: Limit = Limit.UNKNOWN
    still: float = 0.0
    """Seconds since a byte was read or written, up to a second old."""
    journal: str = ""
    """Of a block device: what of the source is durable, for a next run that has another folder."""

    def waiting(self, host: str, patience: float = STALL) -> str:
        """What it waits for, for people; empty while bytes move. `host`: where the source is."""
        if self.still < patience:
            return ""
        return f"waiting for {'the disk' if self.limit is Limit.DISK else host} for {self.still:.0f} s"


@dataclass(frozen=True)
class Result:
    """What came out."""

    format: Format
    virtual_size: int
    bytes_fetched: int
    """By this run, over the network."""
    bytes_written: int
    digest: str
    """`algorithm:hex` of the source's bytes; empty where none was promised or asked for."""
    resumed_at: int = 0
    about: Mapping[str, str] = field(default_factory=dict)
    """What an image's server says of itself: `version`, `host`."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """For the claim, from the environment of a container image."""
    architecture: str = ""
    """For which a container image is; empty: it does not say."""
    stored: bool = False
    """Whether it was copied from the node's image store, where it had been before."""


OnProgress = Callable[[Progress], None]


def silent(_: Progress) -> None:
    """For those who do not watch."""
