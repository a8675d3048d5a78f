"""The objects of one kind in memory, kept as the bytes of their JSON: a third of the room that dicts take.

Who reads gets an object of its own, made on the spot. Indexes answer "which pods use this claim?" without looking at
every pod; one is built the first time that it is asked for, and kept from then on.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import orjson

from diskyard.api import meta
from diskyard.api.meta import Key, Kind, Obj
from diskyard.kube.client import Change, Listing


@dataclass(frozen=True)
class Index:
    """A question about objects of a kind: `keys` says under which keys each is to be found."""

    kind: Kind
    keys: Callable[[Obj], Iterable[Key]]


@dataclass(frozen=True, slots=True)
class _Held:
    body: bytes
    version: int
    uid: str

    def obj(self) -> Obj:
        found: Obj = orjson.loads(self.body)
        return found


class Memory:
    """The objects of one kind, as of one resourceVersion or a little later."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._objects: dict[Key, _Held] = {}
        self._namespaces: dict[str, set[Key]] = {}
        self._indexes: dict[Index, dict[Key, set[Key]]] = {}
        self._seen = -1

    def get(self, key: Key) -> Obj | None:
        """The object, or None."""
        with self._lock:
            found = self._objects.get(key)
        return None if found is None else found.obj()

    def keys(self) -> list[Key]:
        """Where the objects are."""
        with self._lock:
            return list(self._objects)

    def listing(self, namespace: str | None, fits: Callable[[Obj], bool]) -> Listing:
        """Those that fit, in order of namespace and name."""
        with self._lock:
            keys: Iterable[Key] = self._objects if namespace is None else self._namespaces.get(namespace, ())
            found = self._ordered(keys)
            seen = self._seen
        return Listing(tuple(obj for held in found for obj in [held.obj()] if fits(obj)), str(max(seen, 0)))

    def by(self, index: Index, key: Key) -> tuple[Obj, ...]:
        """Those that the index has under a key, in order of namespace and name."""
        with self._lock:
            found = self._ordered(self._index(index).get(key, ()))
        return tuple(held.obj() for held in found)

    def counts(self, index: Index) -> dict[Key, int]:
        """Every key that the index has objects under, and how many."""
        with self._lock:
            return {key: len(found) for key, found in self._index(index).items()}

    def replace(self, listing: Listing) -> Iterator[Sequence[Obj]]:
        """Take a whole list in; what changed by that. What was written after the list stays."""
        with self._lock:
            listed = {meta.key(obj): obj for obj in listing.items}
            self._seen = _number(listing.resource_version)
            gone = [
                (key, held.obj())
                for key, held in self._objects.items()
                if key not in listed and held.version <= max(self._seen, 0)
            ]
            for key, _ in gone:
                self._remove(key)
            changed = [(obj, before) for key, obj in listed.items() for before in [self._put(key, obj)]]
        yield from ((obj,) for _, obj in gone)
        for obj, before in changed:
            if before is None or before.version != version(obj):
                yield (obj,) if before is None else (obj, before.obj())

    def apply(self, change: Change) -> Sequence[Obj]:
        """Take one event of a watch in; the objects that it speaks of."""
        with self._lock:
            self._seen = max(self._seen, version(change.obj))
            if change.type == "BOOKMARK":
                return ()
            key = meta.key(change.obj)
            if change.type == "DELETED":
                held = self._objects.get(key)
                if held is not None and held.uid == meta.uid(change.obj):
                    self._remove(key)
                return (change.obj,)
            before = self._put(key, change.obj)
        return (change.obj,) if before is None else (change.obj, before.obj())

    def absorb(self, obj: Obj) -> None:
        """Take the server's answer to a write in, unless the watch has been there already."""
        with self._lock:
            if version(obj) > self._seen >= 0:
                self._put(meta.key(obj), obj)

    def _ordered(self, keys: Iterable[Key]) -> list[_Held]:
        return [self._objects[key] for key in sorted(keys, key=lambda key: (key.namespace, key.name))]

    def _put(self, key: Key, obj: Obj) -> _Held | None:
        """Hold the object unless a later state is held; what was held before."""
        before = self._objects.get(key)
        number = version(obj)
        if before is None or before.version <= number:
            for index, entries in self._indexes.items():
                _exchange(entries, key, index, (before, obj))
            self._objects[key] = _Held(_text(obj), number, meta.uid(obj))
            self._namespaces.setdefault(key.namespace, set()).add(key)
        return before

    def _remove(self, key: Key) -> None:
        held = self._objects.pop(key)
        for index, entries in self._indexes.items():
            _exchange(entries, key, index, (held, None))
        self._namespaces[key.namespace].discard(key)

    def _index(self, index: Index) -> dict[Key, set[Key]]:
        entries = self._indexes.get(index)
        if entries is None:
            entries = self._indexes[index] = {}
            for key, held in self._objects.items():
                _exchange(entries, key, index, (None, held.obj()))
        return entries


def _exchange(
    entries: dict[Key, set[Key]], key: Key, index: Index, change: tuple[_Held | None, Obj | None]
) -> None:
    """Move an object from where it was to where it is now."""
    before, after = change
    for place in index.keys(before.obj()) if before else ():
        found = entries.get(place, set())
        found.discard(key)
        if not found:
            entries.pop(place, None)
    for place in index.keys(after) if after else ():
        entries.setdefault(place, set()).add(key)


def version(obj: Obj) -> int:
    """The resourceVersion as a number, by which one object's states are ordered; -1 where it is none."""
    return _number(str(meta.meta(obj).get("resourceVersion", "")))


def _number(text: str) -> int:
    with suppress(ValueError):
        return int(text)
    return -1


def _text(obj: Obj) -> bytes:
    """The object without what nobody here reads: who wrote which field is half of an object's size."""
    metadata = meta.meta(obj)
    if "managedFields" in metadata:
        obj = {**obj, "metadata": {name: said for name, said in metadata.items() if name != "managedFields"}}
    return orjson.dumps(obj)
