"""Objects in memory, kept current by watches: controllers read here and ask the server only for the rest.

Who writes through `WriteThrough` reads its own writes: the server's answer is
taken into memory at once, before the watch brings it.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from diskyard import log
from diskyard.api import meta
from diskyard.api.meta import Key, Kind, Obj
from diskyard.errors import DiskyardError, Expired, NotFound
from diskyard.kube.client import ALL, DELETE, Client, Deletion, Listing, Patch, Selection, Watch
from diskyard.kube.memory import Index, Memory
from diskyard.kube.queue import backoff

_log = log.logger("cache")

LONGEST_PAUSE: Final = 10.0
"""Seconds between two tries to reach a server that does not answer."""

BREATH: Final = 0.05
"""Seconds between the end of a watch and the next: a server that ends each at once is not hammered."""

UNSERVED: Final = 10.0
"""Seconds between two looks for a kind that the server does not know."""

Listener = Callable[[Kind, Sequence[Obj]], None]
"""Told of each change: the object as it is (or last was), and as it was before where that is known."""


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
            except NotFound:
                self._unserved()
            except DiskyardError as failure:
                self._failures += 1
                _log.warning("lost the server", kind=self._kind, error=failure)
                self._stopped.wait(min(LONGEST_PAUSE, backoff(self._failures, 0.5)))

    def _unserved(self) -> None:
        """The server does not know that kind: as good as none of it, until its definition comes."""
        self._since = ""
        for objects in self.memory.replace(Listing((), "0")):
            self._listener(self._kind, objects)
        if not self.synced.is_set():
            _log.info("not served here", kind=self._kind)
        self.synced.set()
        self._stopped.wait(UNSERVED)

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

    def create(self, kind: Kind, obj: Obj, subresource: str = "") -> Obj:
        answer = self._client.create(kind, obj, subresource)
        return answer if subresource else self._absorbed(kind, answer)

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

    def keys(self, kind: Kind) -> list[Key]:
        """Where the objects of a watched kind are."""
        memory = self._cache.memory(kind)
        return memory.keys() if memory else []

    def by(self, index: Index, key: Key) -> tuple[Obj, ...] | None:
        """What the index has under a key; None: that kind is not watched."""
        memory = self._cache.memory(index.kind)
        return memory.by(index, key) if memory else None

    def counts(self, index: Index) -> dict[Key, int] | None:
        """Every key that the index has objects under, and how many; None: that kind is not watched."""
        memory = self._cache.memory(index.kind)
        return memory.counts(index) if memory else None

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

    def create(self, kind: Kind, obj: Obj, subresource: str = "") -> Obj:
        return self._client.create(kind, obj, subresource)

    def update(self, kind: Kind, obj: Obj, subresource: str = "") -> Obj:
        return self._client.update(kind, obj, subresource)

    def patch(self, kind: Kind, key: Key, patch: Any, subresource: str = "", how: Patch = Patch.MERGE) -> Obj:
        return self._client.patch(kind, key, patch, subresource, how)

    def delete(self, kind: Kind, key: Key, deletion: Deletion = DELETE) -> Obj:
        return self._client.delete(kind, key, deletion)


def found_by(client: Client, index: Index, key: Key) -> tuple[Obj, ...]:
    """For `gather`: what an index has under a key; where the kind is watched, without a look at all others."""
    found = client.by(index, key) if isinstance(client, CachedClient) else None
    if found is not None:
        return found
    return tuple(obj for obj in client.list(index.kind).items if key in index.keys(obj))


def counts_by(client: Client, index: Index) -> Mapping[Key, int]:
    """For `gather`: every key that an index has objects under, and how many."""
    found = client.counts(index) if isinstance(client, CachedClient) else None
    if found is not None:
        return found
    return Counter(key for obj in client.list(index.kind).items for key in index.keys(obj))


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
