"""Who has read what: a change of an object wakes exactly the roots that looked at it."""

import threading
from collections.abc import Callable, Iterable

from diskyard.api import meta
from diskyard.api.meta import Key, Kind, Obj


class Interest:
    """The objects that each root depends on, as of the last time it was looked at."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._roots: dict[tuple[Kind, Key], set[Key]] = {}
        self._objects: dict[Key, set[tuple[Kind, Key]]] = {}

    def note(self, root: Key, objects: Iterable[tuple[Kind, Key]]) -> None:
        """`root` depends on these, and on nothing else any more. Say it before reading them."""
        wanted = set(objects)
        with self._lock:
            for gone in self._objects.pop(root, set()) - wanted:
                self._roots[gone].discard(root)
                if not self._roots[gone]:
                    del self._roots[gone]
            for each in wanted:
                self._roots.setdefault(each, set()).add(root)
            if wanted:
                self._objects[root] = wanted

    def roots(self, kind: Kind) -> Callable[[Obj], Iterable[Key]]:
        """For a reconciler's `wakes`: who depends on the object."""

        def keys(obj: Obj) -> Iterable[Key]:
            with self._lock:
                return set(self._roots.get((kind, meta.key(obj)), ()))

        return keys
