"""How far a transfer is: from its controller to whoever shows it, as one annotation."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from diskyard.api.written import mapping

UNKNOWN: Final = "N/A"
COMPLETE: Final = "100.0%"
_ALMOST: Final = 99.99


@dataclass(frozen=True)
class Failure:
    """An upload that came to nothing while its server stayed, ready for another."""

    number: int
    """Of the failures of that server, from 1."""
    time: str
    reason: str
    message: str
    bytes: int = 0
    """Of the image that had come."""


@dataclass(frozen=True)
class Figures:
    """What a running transfer has done so far."""

    percent: float | None = None
    fetched: int = 0
    """Bytes of the source."""
    total: int | None = None
    """Bytes of the source in all; None where it does not say."""
    written: int = 0
    """Bytes of the disk."""
    rate: float | None = None
    """Bytes of the source per second; None: not known yet."""
    limit: str = ""
    """What limits: source, disk or cpu; empty: not known yet."""
    stalled: float = 0.0
    """Seconds without a byte, once they are many."""
    journal: str = ""
    """Of a block device: what of it is durable, for the next worker."""
    failures: tuple[Failure, ...] = ()
    """Of an upload server: the newest ones, oldest first. Not for users: `attempt.py` keeps them."""

    @property
    def seconds_left(self) -> int | None:
        """What remains at this speed."""
        if not self.rate or self.total is None:
            return None
        return max(0, round((self.total - self.fetched) / self.rate))

    def to_text(self) -> str:
        """The annotation."""
        return json.dumps(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """What is known, by the names that users see."""
        said = {
            "percent": None if self.percent is None else round(self.percent, 2),
            "fetched": self.fetched,
            "total": self.total,
            "written": self.written,
            "rate": None if self.rate is None else round(self.rate),
            "secondsLeft": self.seconds_left,
            "limit": self.limit or None,
            "stalledSeconds": round(self.stalled) or None,
            "journal": self.journal or None,
        }
        return {key: each for key, each in said.items() if each is not None}

    @classmethod
    def from_text(cls, text: str) -> "Figures | None":
        """What the annotation says; None where it says nothing."""
        said = mapping(text)
        if said is None:
            return None
        return cls(
            percent=_number(said.get("percent")),
            fetched=int(_number(said.get("fetched")) or 0),
            total=None if said.get("total") is None else int(_number(said["total"]) or 0),
            written=int(_number(said.get("written")) or 0),
            rate=_number(said.get("rate")),
            limit=str(said.get("limit", "")),
            stalled=_number(said.get("stalledSeconds")) or 0.0,
            journal=str(said.get("journal", "")),
            failures=_failures(said.get("failures")),
        )


def percentage(percent: float | None, before: str = "") -> str:
    """`45.00%`, as every client reads it; `before` where there is nothing better. 100 is kept for the end."""
    if percent is None or percent >= 100:
        return before or UNKNOWN
    return f"{min(percent, _ALMOST):.2f}%"


def _failures(found: Any) -> tuple[Failure, ...]:
    said = [each for each in found if isinstance(each, Mapping)] if isinstance(found, list) else []
    return tuple(
        Failure(
            number=int(_number(each.get("number")) or 0),
            time=str(each.get("time", "")),
            reason=str(each.get("reason", "")),
            message=str(each.get("message", "")),
            bytes=int(_number(each.get("bytes")) or 0),
        )
        for each in said
    )


def _number(found: Any) -> float | None:
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None
