"""Objects in memory, kept current by watches: controllers read here and ask the server only for the rest.

Who reads gets a copy of its own. Who writes through `WriteThrough` reads its own writes: the server's answer is
taken into memory at once, before the watch brings it.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Final

import orjson

from diskyard import log
from diskyard.api import meta
from diskyard.api.meta import Key, Kind, Obj
from diskyard.errors import DiskyardError, Expired, NotFound
from diskyard.kube.client import ALL, DELETE, Change, Client, Deletion, Listing, Patch, Selection, Watch
from diskyard.kube.queue import backoff

_log = log.logger("cache")

LONGEST_PAUSE: Final = 10.0
"""Seconds between two tries to reach a server that does not answer."""

BREATH: Final = 0.05
"""Seconds between the end of a watch and the next: a server that ends each at once is not hammered."""

Listener = Callable[[Kind, Sequence[Obj]], None]
"""Told of each change: the object as it is (or last was), and as it was before where that is known."""


class Memory:
    """The objects of one kind, as of one resourceVersion or a little later."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._objects: dict[Key, Obj] = {}
        self._namespaces: dict[str, set[Key]] = {}
        self._seen = -1

    def get(self, key: Key) -> Obj | None:
        """A copy of the object, or None."""
        with self._lock:
            found = self._objects.get(key)
        return None if found is None else _copy(found)

    def keys(self) -> list[Key]:
        """Where the objects are."""
        with self._lock:
            return list(self._objects)

    def listing(self, namespace: str | None, fits: Callable[[Obj], bool]) -> Listing:
        """Copies of those that fit, in order of namespace and name."""
        with self._lock:
            keys: Iterable[Key] = self._objects if namespace is None else self._namespaces.get(namespace, ())
            found = [self._objects[key] for key in sorted(keys, key=lambda key: (key.namespace, key.name))]
            seen = self._seen
        return Listing(tuple(_copy(obj) for obj in found if fits(obj)), str(max(seen, 0)))

    def replace(self, listing: Listing) -> Iterator[Sequence[Obj]]:
        """Take a whole list in; what changed by that. What was written after the list stays."""
        with self._lock:
            listed = {meta.key(obj): obj for obj in listing.items}
            self._seen = _number(listing.resource_version)
            gone = [
                obj
                for key, obj in self._objects.items()
                if key not in listed and version(obj) <= max(self._seen, 0)
            ]
            for obj in gone:
                self._remove(obj)
            changed = [(obj, before) for obj in listed.values() for before in [self._put(obj)]]
        yield from ((obj,) for obj in gone)
        for obj, before in changed:
            if before is None or version(before) != version(obj):
                yield (obj,) if before is None else (obj, before)

    def apply(self, change: Change) -> Sequence[Obj]:
        """Take one event of a watch in; the objects that it speaks of."""
        with self._lock:
            self._seen = max(self._seen, version(change.obj))
            if change.type == "BOOKMARK":
                return ()
            if change.type == "DELETED":
                self._remove(change.obj)
                return (change.obj,)
            before = self._put(change.obj)
        return (change.obj,) if before is None else (change.obj, before)

    def absorb(self, obj: Obj) -> None:
        """Take the server's answer to a write in, unless the watch has been there already."""
        with self._lock:
            if version(obj) > self._seen >= 0:
                self._put(_copy(obj))

    def _put(self, obj: Obj) -> Obj | None:
        key = meta.key(obj)
        before = self._objects.get(key)
        if before is None or version(before) <= version(obj):
            self._objects[key] = obj
            self._namespaces.setdefault(key.namespace, set()).add(key)
        return before

    def _remove(self, obj: Obj) -> None:
        key = meta.key(obj)
        held = self._objects.get(key)
        if held is not None and meta.uid(held) == meta.uid(obj):
            del self._objects[key]
            self._namespaces[key.namespace].discard(key)


class Reflector:
    """Keeps the memory of one kind current, on a thread of its own."""

    def __init__(self, client: Client, kind: Kind, listener: Listener) -> None:
        self.memory = Memory()
        self.synced = threading.Event()
        self._client = client
        self._kind = kind
        self._listener = listener
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._watch: Watch | None = None
        self._since = ""
        self._failures = 0
        self._thread = threading.Thread(target=self._run, name=f"watch-{kind.plural}", daemon=True)

    def start(self) -> None:
        """List, then watch, until stopped."""
        self._thread.start()

    def stop(self) -> None:
        """End the watch and the thread; whoever waits for `synced` goes on."""
        self._stopped.set()
        self.synced.set()
        with self._lock:
            if self._watch:
                self._watch.close()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                if not self._since:
                    self._relist()
                self._follow()
                self._stopped.wait(BREATH)
            except Expired:
                self._since = ""
            except DiskyardError as failure:
                self._failures += 1
                _log.warning("lost the server", kind=self._kind, error=failure)
                self._stopped.wait(min(LONGEST_PAUSE, backoff(self._failures, 0.5)))

    def _relist(self) -> None:
        listing = self._client.list(self._kind)
        for objects in self.memory.replace(listing):
            self._listener(self._kind, objects)
        self._since = listing.resource_version
        self.synced.set()

    def _follow(self) -> None:
        watch = self._client.watch(self._kind, self._since)
        with self._lock:
            self._watch = watch
        try:
            if self._stopped.is_set():
                return
            for change in watch:
                self._failures = 0
                self._since = str(meta.meta(change.obj).get("resourceVersion") or self._since)
                objects = self.memory.apply(change)
                if objects:
                    self._listener(self._kind, objects)
        finally:
            watch.close()


class Cache:
    """The memories of several kinds, fed by one server."""

    def __init__(self, client: Client, kinds: Iterable[Kind], listener: Listener) -> None:
        self._reflectors = {kind: Reflector(client, kind, listener) for kind in dict.fromkeys(kinds)}

    def start(self) -> None:
        """Begin to list and watch every kind."""
        for reflector in self._reflectors.values():
            reflector.start()

    def stop(self) -> None:
        """End every watch."""
        for reflector in self._reflectors.values():
            reflector.stop()

    def wait(self, timeout: float | None = None) -> bool:
        """Whether every kind has been listed once; waits for that so many seconds."""
        return all(reflector.synced.wait(timeout) for reflector in self._reflectors.values())

    def memory(self, kind: Kind) -> Memory | None:
        """The memory of a kind; None: it is not watched, or not yet listed."""
        reflector = self._reflectors.get(kind)
        return reflector.memory if reflector and reflector.synced.is_set() else None


class WriteThrough:
    """A Client that asks the server for everything, and takes what it answers to a write into memory."""

    def __init__(self, client: Client, cache: Cache) -> None:
        self._client = client
        self._cache = cache

    def get(self, kind: Kind, key: Key) -> Obj:
        return self._client.get(kind, key)

    def list(self, kind: Kind, selection: Selection = ALL) -> Listing:
        return self._client.list(kind, selection)

    def watch(self, kind: Kind, since: str, selection: Selection = ALL) -> Watch:
        return self._client.watch(kind, since, selection)

    def create(self, kind: Kind, obj: Obj) -> Obj:
        return self._absorbed(kind, self._client.create(kind, obj))

    def update(self, kind: Kind, obj: Obj, subresource: str = "") -> Obj:
        return self._absorbed(kind, self._client.update(kind, obj, subresource))

    def patch(self, kind: Kind, key: Key, patch: Any, subresource: str = "", how: Patch = Patch.MERGE) -> Obj:
        return self._absorbed(kind, self._client.patch(kind, key, patch, subresource, how))

    def delete(self, kind: Kind, key: Key, deletion: Deletion = DELETE) -> Obj:
        return self._client.delete(kind, key, deletion)

    def _absorbed(self, kind: Kind, obj: Obj) -> Obj:
        memory = self._cache.memory(kind)
        if memory and not meta.deleting(obj):
            memory.absorb(obj)
        return obj


class CachedClient:
    """A Client that reads watched kinds from memory and leaves everything else to the server."""

    def __init__(self, client: Client, cache: Cache) -> None:
        self._client = client
        self._cache = cache

    def get(self, kind: Kind, key: Key) -> Obj:
        memory = self._cache.memory(kind)
        if memory is None:
            return self._client.get(kind, key)
        found = memory.get(key)
        if found is None:
            raise NotFound(f'{kind.resource} "{key.name}" not found')
        return found

    def list(self, kind: Kind, selection: Selection = ALL) -> Listing:
        memory = self._cache.memory(kind)
        terms = equalities(selection)
        if memory is None or terms is None:
            return self._client.list(kind, selection)
        return memory.listing(
            selection.namespace, lambda obj: all(_text(obj, path) == text for path, text in terms)
        )

    def watch(self, kind: Kind, since: str, selection: Selection = ALL) -> Watch:
        return self._client.watch(kind, since, selection)

    def create(self, kind: Kind, obj: Obj) -> Obj:
        return self._client.create(kind, obj)

    def update(self, kind: Kind, obj: Obj, subresource: str = "") -> Obj:
        return self._client.update(kind, obj, subresource)

    def patch(self, kind: Kind, key: Key, patch: Any, subresource: str = "", how: Patch = Patch.MERGE) -> Obj:
        return self._client.patch(kind, key, patch, subresource, how)

    def delete(self, kind: Kind, key: Key, deletion: Deletion = DELETE) -> Obj:
        return self._client.delete(kind, key, deletion)


def version(obj: Obj) -> int:
    """The resourceVersion as a number, by which one object's states are ordered; -1 where it is none."""
    return _number(str(meta.meta(obj).get("resourceVersion", "")))


def _number(text: str) -> int:
    with suppress(ValueError):
        return int(text)
    return -1


def _copy(obj: Obj) -> Obj:
    copied: Obj = orjson.loads(orjson.dumps(obj))
    return copied


def equalities(selection: Selection) -> list[tuple[tuple[str, ...], str]] | None:
    """`a=b` terms as (path, text); None where memory cannot answer: sets, inequalities, existence."""
    terms: list[tuple[tuple[str, ...], str]] = []
    for text, prefix in ((selection.labels, ("metadata", "labels")), (selection.fields, ())):
        for term in filter(None, (part.strip() for part in text.split(","))):
            left, equals, right = term.partition("=")
            if not equals or left.endswith("!") or any(sign in term for sign in "()"):
                return None
            path = (*prefix, left.strip()) if prefix else tuple(left.strip().split("."))
            terms.append((path, right.removeprefix("=").strip()))
    return terms


def _text(obj: Obj, path: tuple[str, ...]) -> str | None:
    found: Any = obj
    for step in path:
        found = found.get(step) if isinstance(found, dict) else None
    return None if found is None else str(found)
