"""Who was refused by a quota, and when that quota leaves more room: nobody waits for the end of a back-off then."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from diskyard.api import meta, quantity
from diskyard.api.meta import Key, Obj
from diskyard.errors import DiskyardError

_NAMED: Final = re.compile(r"exceeded quota: ([^\s,]+)")
"""As Kubernetes says it; a claim's room may be in another namespace, so the quota's name counts, not its place."""


class Shortage:
    """The keys that wait for a quota."""

    def __init__(self) -> None:
        self._waiting: dict[Key, str] = {}

    def refused(self, key: Key, failure: DiskyardError) -> None:
        """Remember whom a quota had no room for; every other failure ends that."""
        named = _NAMED.search(str(failure))
        if named:
            self._waiting[key] = named[1]
        else:
            self.ended(key)

    def ended(self, key: Key) -> None:
        """It waits no more."""
        self._waiting.pop(key, None)

    def relieved(self, objects: Sequence[Obj]) -> list[Key]:
        """Who is to try again when a quota changed to what it is now from what it was before."""
        name = meta.name(objects[0])
        if not self._waiting or not _leaves_more(objects):
            return []
        return [key for key, quota in tuple(self._waiting.items()) if quota == name]


def _leaves_more(objects: Sequence[Obj]) -> bool:
    """Whether a limit grew, went, or is used less; of a quota that came or went nothing is known."""
    if len(objects) < 2:
        return True
    now, before = objects[:2]
    hard, used = _amounts(now, "hard"), _amounts(now, "used")
    return any(
        name not in hard or hard[name] > most for name, most in _amounts(before, "hard").items()
    ) or any(used.get(name, 0) < taken for name, taken in _amounts(before, "used").items())


def _amounts(quota: Obj, field: str) -> Mapping[str, Any]:
    side = meta.spec(quota) if field == "hard" else meta.status(quota)
    return {name: quantity.value(text) for name, text in (side.get(field) or {}).items()}
