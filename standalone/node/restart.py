"""When a container runs again. Pure.

As a kubelet does it: at once after the first end, then 10 s, doubling up to 5 minutes; from the start again
after a life of 10 minutes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from standalone.node.process import Life


@dataclass(frozen=True)
class Backoff:
    """Seconds: the first pause, the longest, and the life after which the count starts again."""

    first: float = 10.0
    longest: float = 300.0
    forgiven_after: float = 600.0


@dataclass(frozen=True)
class Next:
    """The life that comes next."""

    number: int
    backoff: float
    """The pause after it."""
    at: datetime
    """Not before."""


KUBELET = Backoff()
_AT_ONCE = datetime.fromtimestamp(0, UTC)


def following(policy: str, lives: Sequence[Life], backoff: Backoff = KUBELET) -> Next | None:
    """The next life of a container; None: it runs, or is over for good."""
    if not lives:
        return Next(0, 0.0, _AT_ONCE)
    last = lives[-1]
    if last.started is None:
        return Next(last.number, last.backoff, _AT_ONCE)
    if last.end is None or not _again(policy, last.end.code):
        return None
    if last.end.at - last.started > timedelta(seconds=backoff.forgiven_after):
        return Next(last.number + 1, backoff.first, last.end.at)
    pause = min(last.backoff * 2, backoff.longest) if last.backoff else backoff.first
    return Next(last.number + 1, pause, last.end.at + timedelta(seconds=last.backoff))


def _again(policy: str, code: int) -> bool:
    return policy == "Always" or (policy == "OnFailure" and code != 0)
