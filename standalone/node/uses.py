"""Which pods use which claims, Secrets and ConfigMaps: so that a change of one wakes the others."""

import threading
from collections.abc import Callable, Iterable, Iterator

from diskyard.api import meta
from diskyard.api.meta import CLAIM, CONFIG_MAP, SECRET, Key, Kind, Obj

_NAMED_BY = {
    "claimName": CLAIM,
    "secretName": SECRET,
    "secret": SECRET, "secretRef": SECRET, "secretKeyRef": SECRET,
    "configMap": CONFIG_MAP, "configMapRef": CONFIG_MAP, "configMapKeyRef": CONFIG_MAP,
}  # fmt: skip


class Uses:
    """An index, filled as pods are looked at."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users: dict[tuple[Kind, Key], set[Key]] = {}
        self._used: dict[Key, set[tuple[Kind, Key]]] = {}

    def note(self, key: Key, pod: Obj, more: Iterable[tuple[Kind, Key]] = ()) -> None:
        """Remember what that pod uses, and `more` that it waits for."""
        used = {*more} | {(kind, Key(name, key.namespace)) for kind, name in _references(meta.spec(pod))}
        with self._lock:
            self._drop(key)
            self._used[key] = used
            for each in used:
                self._users.setdefault(each, set()).add(key)

    def forget(self, key: Key) -> None:
        """The pod is gone."""
        with self._lock:
            self._drop(key)

    def users(self, kind: Kind) -> Callable[[Obj], Iterable[Key]]:
        """For `wakes`: the pods that use an object of that kind."""

        def keys(obj: Obj) -> Iterable[Key]:
            with self._lock:
                return tuple(self._users.get((kind, meta.key(obj)), ()))

        return keys

    def beside(self, pod: Obj) -> Iterable[Key]:
        """For `wakes`: the pods that use a claim of one that ends, and may have waited for that."""
        if not meta.deleting(pod) and meta.phase(pod) not in ("Succeeded", "Failed"):
            return ()
        here = meta.key(pod)
        claims = [Key(name, here.namespace) for kind, name in _references(meta.spec(pod)) if kind == CLAIM]
        with self._lock:
            return {user for claim in claims for user in self._users.get((CLAIM, claim), ())} - {here}

    def _drop(self, key: Key) -> None:
        for each in self._used.pop(key, ()):
            users = self._users[each]
            users.discard(key)
            if not users:
                del self._users[each]


def _references(part: object) -> Iterator[tuple[Kind, str]]:
    if isinstance(part, list):
        for each in part:
            yield from _references(each)
    elif isinstance(part, dict):
        for field, inner in part.items():
            kind = _NAMED_BY.get(field)
            if kind and isinstance(inner, str):
                yield kind, inner
            elif kind and isinstance(inner, dict) and isinstance(inner.get("name"), str):
                yield kind, inner["name"]
            yield from _references(inner)
