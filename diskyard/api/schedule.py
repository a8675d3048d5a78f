"""When a golden image's source is looked at: five cron fields in UTC, spread so that not all ask at once. Pure."""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Final

from cronsim import CronSim, CronSimError

_MACROS: Final = {
    "@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *", "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *",
}  # fmt: skip
_LONGEST: Final = 256
_FIELDS: Final = 5
_SPREAD: Final = 0.1
"""Of the time between two looks."""
_MOST: Final = 300.0


def problem(schedule: str) -> str:
    """Why that is no schedule; empty: it is one, or there is none."""
    if not schedule:
        return ""
    if len(schedule) > _LONGEST:
        return f"more than {_LONGEST} characters"
    expression = _MACROS.get(schedule.strip(), schedule)
    if len(expression.split()) != _FIELDS:
        return f"expected five fields (minute hour day month weekday), found {len(expression.split())}"
    try:
        next(CronSim(expression, datetime(2024, 1, 1, tzinfo=UTC)))
    except CronSimError as error:
        return str(error)
    except StopIteration:
        return "it never comes"
    return ""


def following(schedule: str, after: datetime, uid: str) -> datetime | None:
    """When to look next; None: never. Each uid has a delay of its own, a tenth of the interval, 5 minutes at most."""
    if not schedule or problem(schedule):
        return None
    times = CronSim(_MACROS.get(schedule.strip(), schedule), after.astimezone(UTC))
    try:
        first, second = next(times), next(times)
    except StopIteration:
        return None
    span = min(_MOST, (second - first).total_seconds() * _SPREAD)
    share = int(hashlib.sha256(uid.encode()).hexdigest()[:8], 16) / (1 << 32)
    return first + timedelta(seconds=int(span * share))
