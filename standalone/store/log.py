"""The yard's memory: every change of every object, in order, in one SQLite table.

The current state of an object is its latest row. One thread writes: it takes all writes that wait, commits them
together (WAL, `synchronous=FULL`) and acknowledges each after the commit that holds it. A write says which revision it
replaces, so deciding happens in the callers' threads and the writer only compares. Current states are kept in memory
as the bytes that were stored; older ones are read back only for a watch that resumes, and forgotten by compaction.
"""

import os
import sqlite3
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final

import orjson

from diskyard import log as logging
from diskyard.api.meta import Key, Obj
from diskyard.disk import lock
from diskyard.errors import ApiError, Busy, Expired, InvalidRequest, ServerError

VERSION: Final = 1
RETENTION: Final = 10_000
"""So many of the latest changes can be watched from."""

_SCHEMA: Final = """
CREATE TABLE log (
    revision  INTEGER PRIMARY KEY,
    previous  INTEGER NOT NULL,  -- the revision that this one replaces; 0: none
    gone      INTEGER NOT NULL,
    resource  TEXT NOT NULL,
    namespace TEXT NOT NULL,
    name      TEXT NOT NULL,
    body      BLOB NOT NULL
);
CREATE TABLE floor (revision INTEGER NOT NULL);  -- changes up to here are compacted
INSERT INTO floor VALUES (0);
"""
_CURRENT: Final = """
SELECT revision, resource, namespace, name, body FROM log
WHERE NOT gone AND revision NOT IN (SELECT previous FROM log)
"""
_HISTORY: Final = """
SELECT log.revision, log.gone, log.namespace, log.name, log.body, before.revision, before.body
FROM log LEFT JOIN log AS before ON before.revision = log.previous
WHERE log.resource = ? AND log.revision > ? AND log.revision <= ? ORDER BY log.revision
"""

_log = logging.logger("store")


@dataclass(frozen=True, slots=True)
class Record:
    """One state of one object: `body` is its JSON, `metadata.resourceVersion` included."""

    resource: str
    key: Key
    revision: int
    body: bytes

    def obj(self) -> Obj:
        """The object: a copy of the caller's own."""
        found: Obj = orjson.loads(self.body)
        return found


@dataclass(frozen=True, slots=True)
class Event:
    """One change: the object as it is now (or last was, when `gone`), and as it was before."""

    record: Record
    before: Record | None = None
    gone: bool = False


@dataclass(frozen=True, slots=True)
class Write:
    """One change that is asked for; `replaces` is the revision that it was decided on (0: nothing was there)."""

    resource: str
    key: Key
    obj: Obj
    replaces: int
    gone: bool = False


class Stale(Exception):
    """The object is no longer at the revision that the write was decided on."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All objects of a resource at one revision."""

    records: tuple[Record, ...]
    revision: int


class Log:
    """The store's one writer and its readers' view."""

    def __init__(self, path: Path, retention: int = RETENTION) -> None:
        self._lock = threading.Lock()
        self._reading = threading.Lock()
        self._guard = _guard(path)
        _close_to_others(path)
        self._writing = _connection(path)
        self._history = _connection(path)
        self._retention = retention
        self.floor, self.revision, self._current = _load(self._writing)
        self._listeners: dict[str, set[Callable[[Event], None]]] = {}
        self._inbox: SimpleQueue[tuple[Write, Future[Record]] | None] = SimpleQueue()
        self._closed = False
        self.trouble = ""
        """Why the last write was not kept; empty: it was, or nothing was written yet."""
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Acknowledge what is asked for already, then end."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._inbox.put(None)
        self._thread.join()
        self._writing.close()
        with self._reading:
            self._history.close()
        os.close(self._guard)

    def get(self, resource: str, key: Key) -> Record | None:
        """The object as it is now."""
        return self._current.get(resource, {}).get(key)

    def holds(self, resource: str) -> bool:
        """Whether there is any object of a resource."""
        return bool(self._current.get(resource))

    def snapshot(self, resource: str) -> Snapshot:
        """All objects of a resource and the revision at which they stood so."""
        with self._lock:
            return Snapshot(tuple(self._current.get(resource, {}).values()), self.revision)

    def past(self, resource: str, revision: int) -> Snapshot:
        """The same as it was at an earlier revision: what has changed since is taken back. Raises Expired."""
        now = self.snapshot(resource)
        found = {record.key: record for record in now.records}
        for event in reversed(self._between(resource, revision, now.revision)):
            if event.before:
                found[event.record.key] = event.before
            else:
                found.pop(event.record.key, None)
        return Snapshot(tuple(found.values()), revision)

    def write(self, write: Write) -> Record:
        """Make a change: on return it is on disk. Raises Stale when another write came first."""
        done: Future[Record] = Future()
        with self._lock:
            if self._closed:
                raise ServerError("the store is closed: the yard is going down; try again when it is up")
            self._inbox.put((write, done))
        return done.result()

    def rehearse(self, write: Write) -> Record:
        """What a write would leave, and nothing stored. Raises Stale."""
        now = self.get(write.resource, write.key)
        if (now.revision if now else 0) != write.replaces:
            raise Stale
        if now:
            write.obj["metadata"]["resourceVersion"] = str(now.revision)
        return Record(write.resource, write.key, write.replaces, orjson.dumps(write.obj))

    def listen(self, resource: str, since: int, listener: Callable[[Event], None]) -> list[Event]:
        """Changes after `since` until now; every later one goes to `listener`, in the writer's thread."""
        with self._lock:
            if since > self.revision:
                raise Expired(
                    f"resource version {since} is unknown: the latest is {self.revision}; list again"
                )
            self._listeners.setdefault(resource, set()).add(listener)
            until = self.revision
        try:
            return self._between(resource, since, until)
        except ApiError:
            self.forget(resource, listener)
            raise

    def forget(self, resource: str, listener: Callable[[Event], None]) -> None:
        """Send that listener nothing more."""
        with self._lock:
            self._listeners.get(resource, set()).discard(listener)

    def _between(self, resource: str, since: int, until: int) -> list[Event]:
        rows = []
        if since < until:
            with self._reading:
                rows = self._history.execute(_HISTORY, (resource, since, until)).fetchall()
        if since < self.floor:
            raise Expired(f"too old resource version: {since} ({self.floor})")
        return [_event(resource, row) for row in rows]

    def _run(self) -> None:
        more = True
        while more:
            waiting = [self._inbox.get()]
            with suppress(Empty):
                while True:
                    waiting.append(self._inbox.get_nowait())
            more = None not in waiting
            self._commit([asked for asked in waiting if asked is not None])

    def _commit(self, asked: Iterable[tuple[Write, Future[Record]]]) -> None:
        batch = _Batch(self.get, self.revision)
        for write, done in asked:
            batch.add(write, done)
        try:
            self._store(batch.rows)
        except sqlite3.Error as error:
            _log.error("a write failed", error=error)
            self.trouble = f"the store cannot write: {error}"
            for _, done in batch.accepted:
                done.set_exception(ServerError(f"the store cannot write: {error}; is the disk full?"))
            return
        self._publish([event for event, _ in batch.accepted])
        for event, done in batch.accepted:
            done.set_result(event.record)
        if self.revision - self.floor > self._retention * 5 // 4:
            self._compact(self.revision - self._retention)

    def _store(self, rows: list[tuple[Any, ...]]) -> None:
        if rows:
            with self._writing:
                self._writing.execute("BEGIN IMMEDIATE")
                self._writing.executemany("INSERT INTO log VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
            self.trouble = ""

    def _publish(self, events: list[Event]) -> None:
        with self._lock:
            for event in events:
                record = event.record
                kept = self._current.setdefault(record.resource, {})
                if event.gone:
                    kept.pop(record.key, None)
                else:
                    kept[record.key] = record
                for listener in self._listeners.get(record.resource, ()):
                    listener(event)
                self.revision = record.revision

    def _compact(self, floor: int) -> None:
        """Forget states that were replaced at or before `floor`: what is current there stays.

        The floor rises first: whoever reads history meanwhile looks at it afterwards.
        """
        self.floor = floor
        try:
            with self._writing:
                self._writing.execute("BEGIN IMMEDIATE")
                self._writing.execute(
                    "DELETE FROM log WHERE revision IN (SELECT previous FROM log WHERE revision <= ?)",
                    (floor,),
                )
                self._writing.execute("DELETE FROM log WHERE gone AND revision <= ?", (floor,))
                self._writing.execute("UPDATE floor SET revision = ?", (floor,))
        except sqlite3.Error as error:
            _log.warning("compaction failed", error=error)


class _Batch:
    """Writes that are committed together: each is compared with what the earlier ones leave."""

    def __init__(self, current: Callable[[str, Key], Record | None], revision: int) -> None:
        self._current = current
        self._revision = revision
        self._ahead: dict[tuple[str, Key], Record | None] = {}
        self.accepted: list[tuple[Event, Future[Record]]] = []
        self.rows: list[tuple[Any, ...]] = []

    def add(self, write: Write, done: Future[Record]) -> None:
        place = (write.resource, write.key)
        before = self._ahead[place] if place in self._ahead else self._current(*place)
        if (before.revision if before else 0) != write.replaces:
            done.set_exception(Stale())
            return
        write.obj["metadata"]["resourceVersion"] = str(self._revision + 1)
        try:
            body = orjson.dumps(write.obj)
        except orjson.JSONEncodeError as error:
            done.set_exception(ServerError(f"{write.resource} {write.key} is not JSON: {error}"))
            return
        self._revision += 1
        record = Record(write.resource, write.key, self._revision, body)
        self._ahead[place] = None if write.gone else record
        self.accepted.append((Event(record, before, write.gone), done))
        where = (write.resource, write.key.namespace, write.key.name)
        self.rows.append((self._revision, write.replaces, write.gone, *where, record.body))


def _guard(path: Path) -> int:
    """A lock beside the store, held until closed: two processes must not write one store."""
    guard = lock.taken(path.with_name(path.name + ".lock"), patience=lock.MOMENT)
    if guard is None:
        raise Busy(f"{path} is in use by another process; stop it first, or choose another directory")
    return guard


def _close_to_others(path: Path) -> None:
    """Secrets lie in the store. What SQLite puts beside a file has that file's mode."""
    path.touch(0o600)
    for suffix in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).chmod(0o600)


def _connection(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    if found > VERSION:
        connection.close()
        raise InvalidRequest(
            f"{path} has store version {found}, this Diskyard reads up to {VERSION}: "
            "start the newer Diskyard that wrote it, or choose another data directory"
        )
    if found == 0:
        connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
    return connection


def _load(connection: sqlite3.Connection) -> tuple[int, int, dict[str, dict[Key, Record]]]:
    floor = int(connection.execute("SELECT revision FROM floor").fetchone()[0])
    latest = int(connection.execute("SELECT coalesce(max(revision), 0) FROM log").fetchone()[0])
    current: dict[str, dict[Key, Record]] = {}
    for revision, resource, namespace, name, body in connection.execute(_CURRENT):
        key = Key(name, namespace)
        current.setdefault(resource, {})[key] = Record(resource, key, revision, body)
    return floor, max(floor, latest), current


def _event(resource: str, row: tuple[Any, ...]) -> Event:
    revision, gone, namespace, name, body, before_revision, before_body = row
    key = Key(name, namespace)
    before = Record(resource, key, before_revision, before_body) if before_revision else None
    return Event(Record(resource, key, revision, body), before, bool(gone))
