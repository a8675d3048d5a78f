"""Watches: the log's changes as one reader wants them, through a queue that cannot grow without end."""

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import orjson

from diskyard.api.meta import Kind, Obj
from diskyard.errors import Expired
from diskyard.kube.client import Change
from standalone.store.log import Event, Log, Record
from standalone.store.selector import Matches

LIMIT: Final = 4096
"""A reader that is so many changes behind is sent away to list again."""
SIZE: Final = 64 << 20
"""The same for one that is so many bytes behind."""
BOOKMARK: Final = 60.0


@dataclass(frozen=True, slots=True)
class Sent:
    """One change as a reader sees it; `body` is the object's JSON, shared by all readers."""

    type: str
    body: bytes
    revision: int

    def change(self) -> Change:
        """The change with an object of the reader's own."""
        return Change(self.type, orjson.loads(self.body))


@dataclass(frozen=True)
class Wanted:
    """What a reader wants to see; `matches` None: everything."""

    kind: Kind
    namespace: str | None = None
    matches: Matches | None = None


class Stream:
    """The changes that one reader wants, taken when it likes: for threads (`take`) and for event loops (`wake`)."""

    def __init__(self, log: Log, wanted: Wanted, wake: Callable[[], None] | None = None) -> None:
        self._log = log
        self._wanted = wanted
        self._wake = wake
        self._ready = threading.Condition()
        self._waiting: deque[Event] = deque()
        self._first: list[Event] = []
        self._size = 0
        self._late = False
        self.closed = False

    def start(self, since: int, first: list[Event]) -> None:
        """Begin after revision `since`, with `first` before everything else. Raises Expired."""
        self._first = first + self._log.listen(self._wanted.kind.resource, since, self._offer)

    def take(self, timeout: float | None = 0) -> list[Sent]:
        """What has happened, at once or within `timeout` seconds (None: without end); nothing once closed.

        Raises Expired when this reader fell too far behind.
        """
        with self._ready:
            if not self._first:
                self._ready.wait_for(lambda: self._waiting or self._late or self.closed, timeout)
            if self.closed:
                return []
            events = [*self._first, *self._waiting]
            self._first = []
            self._waiting.clear()
            self._size = 0
            if self._late and not events:
                behind = f"{LIMIT} changes or {SIZE >> 20} MiB"
                raise Expired(f"too old resource version: this watch fell {behind} behind; list again")
        return [sent for event in events if (sent := self._seen(event))]

    @property
    def size(self) -> int:
        """Bytes of the changes that wait; too many to count once there were too many changes."""
        return sys.maxsize if self._late or self._first else self._size

    @property
    def waiting(self) -> bool:
        """Whether there is something to take now: changes, or the news that there were too many."""
        return bool(self._waiting) or self._late

    def bookmark(self) -> Sent | None:
        """How far this reader has seen; None while something still waits for it."""
        revision = self._log.revision
        with self._ready:
            if self._first or self._waiting or self._late:
                return None
        return Sent("BOOKMARK", orjson.dumps(_bookmark(self._wanted.kind, revision)), revision)

    def close(self) -> None:
        """End it, from any thread, at once."""
        self._log.forget(self._wanted.kind.resource, self._offer)
        with self._ready:
            self.closed = True
            self._waiting.clear()
            self._ready.notify_all()
        self._call()

    def _offer(self, event: Event) -> None:
        """Take a change in; called by the log's writer, for which nothing here may fail or wait."""
        if self._wanted.namespace not in (None, event.record.key.namespace):
            return
        with self._ready:
            if len(self._waiting) >= LIMIT or self._size >= SIZE:
                self._late = True
            if not self._late:
                self._waiting.append(event)
                self._size += len(event.record.body)
            self._ready.notify_all()
        self._call()

    def _call(self) -> None:
        if self._wake:
            with suppress(RuntimeError):  # the event loop that it would wake has ended
                self._wake()

    def _seen(self, event: Event) -> Sent | None:
        """The event through the selector: what begins to fit is ADDED, what no longer fits is DELETED."""
        record, before = event.record, event.before
        if self._wanted.namespace not in (None, record.key.namespace):
            return None
        fits = not event.gone and self._fits(record)
        fitted = before is not None and self._fits(before)
        if fits:
            return Sent("MODIFIED" if fitted else "ADDED", record.body, record.revision)
        if not fitted or before is None:
            return None
        return Sent("DELETED", record.body if event.gone else _at(before, record.revision), record.revision)

    def _fits(self, record: Record) -> bool:
        return self._wanted.matches is None or self._wanted.matches(record.obj())


class Watching:
    """A stream as `diskyard.kube.client.Watch`: an iterator that waits, with a bookmark now and then."""

    def __init__(self, stream: Stream, bookmark: float = BOOKMARK) -> None:
        self._stream = stream
        self._bookmark = bookmark

    def __iter__(self) -> Iterator[Change]:
        due = time.monotonic() + self._bookmark
        while not self._stream.closed:
            for sent in self._stream.take(max(0.0, due - time.monotonic())):
                yield sent.change()
            if time.monotonic() >= due:
                due = time.monotonic() + self._bookmark
                if not self._stream.closed and (mark := self._stream.bookmark()):
                    yield mark.change()

    def close(self) -> None:
        """End the iteration, from any thread, at once."""
        self._stream.close()


def _bookmark(kind: Kind, revision: int) -> Obj:
    metadata: dict[str, Any] = {"resourceVersion": str(revision), "creationTimestamp": None}
    return {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": metadata}


def _at(record: Record, revision: int) -> bytes:
    """The object as it was, with the resourceVersion of the change that took it out of sight."""
    obj = record.obj()
    obj["metadata"]["resourceVersion"] = str(revision)
    return orjson.dumps(obj)
