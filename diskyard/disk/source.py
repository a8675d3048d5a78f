"""Bytes of unknown meaning, from somewhere: what every opener in `importer/` gives.

The suite `tests/disk/source_suite.py` is what each of them must pass.
"""

from typing import Protocol, runtime_checkable


class Source(Protocol):
    """A stream of bytes, perhaps one that can be read at any offset."""

    size: int | None
    """Bytes in all; None where the server does not say."""
    validator: str | None
    """A strong ETag, a digest, a version: the same text means the same bytes. None: nothing to resume by."""
    ranged: bool
    """True: any offset, from several threads at once, a connection each. False: offsets only go forward."""

    def readinto(self, buf: memoryview, offset: int) -> int | None:
        """Bytes put at the start of `buf`, read from `offset`: at least 1; 0 at the end; None for a pause
        (flush and report, then ask again). Raises SourceUnavailable, SourceChanged, SourceMissing, AccessDenied."""

    def close(self) -> None:
        """Give back connections and files."""


@runtime_checkable
class Wired(Protocol):
    """A Source whose bytes come over connections that can be watched."""

    def silence(self) -> float | None:
        """Seconds since bytes last came to this machine for what is being read; None where that is not known."""


@runtime_checkable
class Unpacking(Protocol):
    """A Source that unpacks what it reads."""

    def waits(self) -> bool:
        """Whether a read that is under way waits for its own source, and is not at work."""


def check_forward(position: int, offset: int) -> None:
    """Nothing where a source that only goes forward is asked for what comes next. Raises ValueError: our fault."""
    if offset != position:
        raise ValueError(f"this source only goes forward: at {position}, asked for {offset}")


def silence(source: Source) -> float | None:
    """The same of any Source."""
    return source.silence() if isinstance(source, Wired) else None


def waits(source: Source) -> bool:
    """The same of any Source: one that unpacks nothing does nothing but wait."""
    return source.waits() if isinstance(source, Unpacking) else True
