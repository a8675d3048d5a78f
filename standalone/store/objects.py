"""The yard's API server below its wire: what Kubernetes decides about a request, on the log. Implements Client."""

import copy
import secrets
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import orjson

from diskyard import crds
from diskyard.api import meta
from diskyard.api.meta import CRD, NAMESPACE, POD, Key, Kind, Obj
from diskyard.api.user import User
from diskyard.errors import AlreadyExists, BadRequest, Cause, Expired, NotFound
from diskyard.kube.client import ALL, DELETE, Deletion, Listing, Patch, Selection, Watch
from standalone.store import (
    answers,
    apply,
    authors,
    binding,
    finality,
    metadata,
    page,
    scale,
    selector,
    served,
)
from standalone.store.admission import Admission
from standalone.store.authors import Author, Signature
from standalone.store.gate import Gate
from standalone.store.log import RETENTION, Event, Log, Record, Snapshot, Stale, Write
from standalone.store.page import WHOLE, Asking, Piece, Point
from standalone.store.patch import patched
from standalone.store.room import Room
from standalone.store.served import Served
from standalone.store.watch import Stream, Wanted, Watching

ATTEMPTS: Final = 100
"""Tries to make a change that others get ahead of, when its author named no resourceVersion."""
NAMESPACES: Final = ("default", "kube-system")
AUTHOR: Final = "diskyard"
"""Who writes without saying who it is: this program's own controllers."""
_LONGEST_PREFIX: Final = 58
_RANDOM: Final = "bcdfghjklmnpqrstvwxz2456789"
"""Kubernetes' characters for generated names: no vowels, so no words."""


class Objects(AbstractContextManager["Objects"]):
    """Every object of the yard."""

    def __init__(self, log: Log, admission: Admission | None = None) -> None:
        self._log = log
        self._write = log.write
        self._author, self._version = AUTHOR, ""
        self._gate = Gate(admission)
        self._answers: dict[str, Callable[[Key, Obj], Obj]] = {}
        self._room = Room(log)
        self._lock = threading.Lock()
        self._streams: set[Stream] = set()
        self._served = {one.kind.resource: one for one in served.core()}
        for crd in self.list(CRD).items:
            self._serve(crd)

    @classmethod
    def open(cls, path: Path, admission: Admission | None = None, retention: int = RETENTION) -> "Objects":
        """The store in that file, made if it is not there; it serves the CRDs that come with Diskyard."""
        objects = cls(Log(path, retention), admission)
        for crd in (*crds.definitions(), *crds.snapshots()):
            objects.register(crd)
        for name in NAMESPACES:
            if objects._log.get(NAMESPACE.resource, Key(name)) is None:
                objects.create(NAMESPACE, {"metadata": {"name": name}})
        return objects

    def close(self) -> None:
        """End every watch, then the store; what was acknowledged is on disk already."""
        with self._lock:
            streams = tuple(self._streams)
        for stream in streams:
            stream.close()
        self._log.close()

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def revision(self) -> int:
        """The latest change: what a list now would say as its resourceVersion."""
        return self._log.revision

    @property
    def trouble(self) -> str:
        """Why the last write was not kept; empty: all is well."""
        return self._log.trouble

    def served(self) -> Sequence[Served]:
        """Every kind that is served."""
        return tuple(self._served.values())

    def register(self, crd: Obj) -> None:
        """Serve the kind that a CRD describes; one that is there already is brought up to date. Raises Invalid."""
        try:
            there = self.get(CRD, meta.key(crd))
        except NotFound:
            self.create(CRD, crd)
        else:
            self.update(CRD, {**crd, "metadata": {**meta.meta(there), **meta.meta(crd)}})

    def rehearsal(self) -> "Objects":
        """The same objects for dry runs: writes are decided and answered as ever, and nothing is stored."""
        twin = copy.copy(self)
        twin._write = self._log.rehearse
        return twin

    def asked_by(self, user: User) -> "Objects":
        """The same objects for one who asks over the wire: admission learns who it is."""
        twin = copy.copy(self)
        twin._gate = self._gate.asked_by(user)
        return twin

    def acting(self, author: str, version: str = "") -> "Objects":
        """The same objects for a program of that name, which speaks that version of a kind."""
        twin = copy.copy(self)
        twin._author, twin._version = author, version
        return twin

    def unknown(self, kind: Kind, obj: Obj) -> list[str]:
        """The paths of fields that the kind's schema does not know; a write drops those of a custom object."""
        return self._kind(kind).unknown(obj)

    def advice(self, kind: Kind, obj: Obj) -> Sequence[str]:
        """What who writes that object is told, though it is stored."""
        return (*self._gate.advice(kind, obj), *self._kind(kind).doubts(obj))

    def get(self, kind: Kind, key: Key) -> Obj:
        return self.record(kind, key).obj()

    def record(self, kind: Kind, key: Key) -> Record:
        """The object as it is stored, for those who pass it on. Raises NotFound."""
        self._kind(kind)
        found = self._log.get(kind.resource, key)
        if found is None:
            raise answers.not_found(kind, key.name)
        return found

    def list(self, kind: Kind, selection: Selection = ALL) -> Listing:
        found = self.piece(kind, selection)
        return Listing(tuple(record.obj() for record in found.records), found.revision)

    def piece(self, kind: Kind, selection: Selection = ALL, asking: Asking = WHOLE) -> Piece:
        """The objects that fit as they are stored, in order: all of them, or the part that is asked for.

        Raises BadRequest, Invalid, TooNew, and Expired for a part of a list that is no longer kept.
        """
        matches = _matches(self._kind(kind), selection)
        page.check(asking, watching=False)
        at = page.point(asking, self._log.revision)
        snapshot = self._snapshot(kind, at, asking)
        found = [
            record
            for record in snapshot.records
            if selection.namespace in (None, record.key.namespace)
            and (matches is None or matches(record.obj()))
        ]
        found.sort(key=lambda record: page.path(record.key))
        piece = page.piece(found, at, snapshot.revision, asking.limit)
        return piece if matches is None else replace(piece, remaining=None)

    def watch(self, kind: Kind, since: str, selection: Selection = ALL) -> Watch:
        return Watching(self.stream(kind, since, selection))

    def stream(
        self, kind: Kind, since: str, selection: Selection = ALL, wake: Callable[[], None] | None = None
    ) -> Stream:
        """Changes as they are stored, for those who pass them on; `wake` is called, from another thread, for more.

        `since` empty or 0: everything that is there comes first, as ADDED. Raises Expired, BadRequest.
        """
        matches = _matches(self._kind(kind), selection)
        stream = Stream(self._log, Wanted(kind, selection.namespace, matches), wake)
        first: list[Event] = []
        if since in ("", "0"):
            there = self.piece(kind, selection)
            first, since = [Event(record) for record in there.records], there.revision
        stream.start(page.number(since), first)
        with self._lock:
            self._streams -= {held for held in self._streams if held.closed}
            self._streams.add(stream)
        return stream

    def create(self, kind: Kind, obj: Obj, subresource: str = "") -> Obj:
        if subresource:
            return self._posted(kind, obj, subresource)
        asked = metadata.readable(kind, _copy(obj))
        return self._create(self._kind(kind), asked, self._signature(kind, authors.UPDATE).author)

    def answer(self, subresource: str, how: Callable[[Key, Obj], Obj]) -> None:
        """Have what is posted to a subresource answered by someone who knows more than the store."""
        self._answers[subresource] = how

    def _posted(self, kind: Kind, obj: Obj, subresource: str) -> Obj:
        if kind == POD and subresource == binding.SUBRESOURCE:
            signature = self._signature(kind, authors.UPDATE, subresource)
            self._change(kind, meta.key(obj), lambda old: binding.bound(old, obj, signature.now), signature)
            return binding.DONE
        if subresource not in self._answers:
            raise answers.not_served(f"{kind.plural}/{subresource}")
        return self._answers[subresource](meta.key(obj), obj)

    def _create(self, kept: Served, asked: Obj, author: Author) -> Obj:
        kind = kept.kind
        if meta.meta(asked).get("resourceVersion"):
            raise BadRequest("resourceVersion should not be set on objects to be created")
        self._check_room(kept, asked)
        for _ in range(ATTEMPTS):
            birth = metadata.Birth(_name(kind, asked), str(uuid4()), meta.timestamp(datetime.now(UTC)))
            fresh = self._gate.fresh(kept, asked, birth, author)
            try:
                return self._settled(kind, Write(kind.resource, meta.key(fresh), fresh, 0))
            except Stale:
                if meta.name(asked):
                    break
        there = self._log.get(kind.resource, Key(birth.name, meta.namespace(asked)))
        if there and meta.deleting(there.obj()):
            raise answers.ending(kind, birth.name)
        raise answers.already_exists(kind, birth.name)

    def update(self, kind: Kind, obj: Obj, subresource: str = "") -> Obj:
        asked = metadata.readable(kind, _copy(obj))
        if self._kind(kind).custom and not meta.meta(asked).get("resourceVersion"):
            raise answers.unversioned(kind, self.record(kind, meta.key(asked)).key.name)
        signature = self._signature(kind, authors.UPDATE, subresource)
        return self._change(kind, meta.key(asked), lambda _: copy.deepcopy(asked), signature)

    def patch(self, kind: Kind, key: Key, patch: Any, subresource: str = "", how: Patch = Patch.MERGE) -> Obj:
        def change(old: Obj) -> Obj:
            return metadata.readable(kind, _copy(patched(old, patch, how)))

        return self._change(kind, key, change, self._signature(kind, authors.UPDATE, subresource))

    def apply(self, kind: Kind, wish: Obj, subresource: str = "", *, force: bool = False) -> tuple[Obj, bool]:
        """What the caller wants of an object, made so; and whether that made the object. Raises Conflict."""
        kept = self._kind(kind)
        wish = apply.checked(kind, metadata.readable(kind, _copy(wish)), self.unknown(kind, wish))
        wish = metadata.addressed(wish, subresource, status=kept.status)
        signature = self._signature(kind, authors.APPLY, subresource)
        asked = apply.Wish(wish, signature, force)
        for _ in range(ATTEMPTS):
            try:
                return self._change(
                    kind, meta.key(wish), lambda old: apply.applied(old, asked, kept.node), signature
                ), False
            except NotFound:
                if subresource:
                    raise
            with suppress(AlreadyExists):
                fresh = apply.applied({"metadata": {}}, asked, kept.node)
                return self._create(kept, fresh, signature.author), True
        raise answers.modified(kind, meta.name(wish))

    def scale(self, kind: Kind, key: Key, change: Callable[[Obj], Obj] | None = None) -> Obj:
        """How many of something there are and are to be, as it is or after a change. Raises NotFound, Invalid."""
        paths = self._kind(kind).scale
        if paths is None:
            raise answers.not_served(f"{kind.plural}/{scale.SUBRESOURCE}")
        if change is None:
            return scale.of(self.get(kind, key), paths)
        signature = self._signature(kind, authors.UPDATE, scale.SUBRESOURCE)
        after = self._change(
            kind, key, lambda old: scale.scaled(old, paths, change(scale.of(old, paths))), signature
        )
        return scale.of(after, paths)

    def delete(self, kind: Kind, key: Key, deletion: Deletion = DELETE) -> Obj:
        for _ in range(ATTEMPTS):
            record = self.record(kind, key)
            old = record.obj()
            metadata.check(kind, old, deletion)
            left = finality.deleted(kind, old, deletion, datetime.now(UTC))
            gone = finality.finished(kind, left)
            if not gone and left == old:
                return old
            try:
                return self._ended(record, kind, left) if gone else self._replaced(record, kind, left)
            except Stale:
                continue
        raise answers.modified(kind, key.name)

    def _change(self, kind: Kind, key: Key, change: Callable[[Obj], Obj], signature: Signature) -> Obj:
        """Decide again whenever another write came first; a resourceVersion in what is asked ends that."""
        kept = self._kind(kind)
        for _ in range(ATTEMPTS):
            record = self.record(kind, key)
            old = record.obj()
            asked = change(record.obj())
            said = meta.meta(asked)
            if meta.name(asked) != key.name:
                raise answers.misnamed(meta.name(asked), key.name)
            if meta.namespace(asked) != key.namespace:
                raise answers.misplaced()
            metadata.hold(kind, old, str(said.get("uid") or ""), str(said.get("resourceVersion") or ""))
            result = self._gate.changed(kept, asked, old, signature)
            gone = finality.finished(kind, result)
            if not gone and metadata.same(result, old):
                return old
            try:
                return self._ended(record, kind, result) if gone else self._replaced(record, kind, result)
            except Stale:
                continue
        raise answers.modified(kind, key.name)

    def _snapshot(self, kind: Kind, at: Point, asking: Asking) -> Snapshot:
        """All objects of a kind, at the revision of that point."""
        if at.revision is None:
            return self._log.snapshot(kind.resource)
        try:
            return self._log.past(kind.resource, at.revision)
        except Expired as error:
            if asking.token:
                raise page.TooOld(page.fresh(at.after)) from error
            raise Expired("The resourceVersion for the provided list is too old.") from error

    def _replaced(self, record: Record, kind: Kind, result: Obj) -> Obj:
        return self._settled(kind, Write(kind.resource, record.key, result, record.revision))

    def _ended(self, record: Record, kind: Kind, result: Obj) -> Obj:
        """Who asked is answered with the object as it ended; watchers are told its last state that was stored."""
        self._settled(kind, Write(kind.resource, record.key, record.obj(), record.revision, gone=True))
        return result

    def _settled(self, kind: Kind, write: Write) -> Obj:
        """The object as written. A CRD takes effect with its write."""
        if kind == CRD and not write.gone:
            served.custom(write.obj)
        stores = self._write == self._log.write
        with self._room.held(kind, write, rehearsed=not stores):
            obj = self._write(write).obj()
        if kind == CRD and stores:
            self._serve(obj, gone=write.gone)
        return obj

    def _signature(self, kind: Kind, operation: str, subresource: str = "") -> Signature:
        author = Author(self._author, operation, self._version or kind.api_version, subresource)
        return Signature(author, meta.timestamp(datetime.now(UTC)))

    def _serve(self, crd: Obj, *, gone: bool = False) -> None:
        one = served.custom(crd)
        if gone:
            self._served.pop(one.kind.resource, None)
        else:
            self._served[one.kind.resource] = one

    def _kind(self, kind: Kind) -> Served:
        found = self._served.get(kind.resource)
        if found is None:
            raise answers.not_served(kind.resource)
        return found.spoken(self._version) if self._version else found

    def _check_room(self, kept: Served, obj: Obj) -> None:
        """Whether there is a namespace for a new object, and one that stays."""
        if kept.kind.namespaced:
            place = self.get(NAMESPACE, Key(meta.namespace(obj)))
            if meta.deleting(place):
                raise answers.terminating(kept.kind, meta.name(obj), meta.name(place))


def _name(kind: Kind, obj: Obj) -> str:
    said = meta.meta(obj)
    if name := said.get("name"):
        return str(name)
    prefix = said.get("generateName")
    if not prefix or not isinstance(prefix, str):
        told = Cause(
            "Required value: name or generateName is required", "metadata.name", "FieldValueRequired"
        )
        raise answers.invalid(kind, "", [told])
    return prefix[:_LONGEST_PREFIX] + "".join(secrets.choice(_RANDOM) for _ in range(5))


def _matches(kept: Served, selection: Selection) -> selector.Matches | None:
    if not selection.labels.strip() and not selection.fields.strip():
        return None
    by_label = selector.labels(selection.labels)
    by_field = selector.fields(selection.fields, kept.kind, kept.selectable)
    return lambda obj: by_label(obj) and by_field(obj)


def _copy(obj: Any) -> Any:
    """The object as JSON has it: the caller's own stays apart."""
    try:
        return orjson.loads(orjson.dumps(obj))
    except (orjson.JSONEncodeError, orjson.JSONDecodeError) as error:
        raise BadRequest(f"the object is not JSON: {error}") from error
