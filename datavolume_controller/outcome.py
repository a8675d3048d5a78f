"""A phase, and what is told when it is reached. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Event:
    """What is told when the phase changes."""

    reason: str
    message: str
    warning: bool = False


@dataclass(frozen=True)
class Outcome:
    """A phase, and what is told when it is another one than before."""

    phase: str
    event: Event | None = None
