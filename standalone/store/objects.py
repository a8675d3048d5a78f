"""The yard's API server below its wire: what Kubernetes decides about a write, on the log. Implements Client."""

import secrets
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final
from uuid import uuid4

import orjson

from diskyard.api import meta
from diskyard.api.meta import CLAIM, KINDS, NAMESPACE, POD, Key, Kind, Obj
from diskyard.api.names.cdi import CLAIM_PROTECTION
from diskyard.errors import AlreadyExists, ApiError, BadRequest, Conflict, Forbidden, NotFound
from diskyard.kube.client import ALL, DELETE, Deletion, Listing, Patch, Selection, Watch
from standalone.store import finality, metadata, selector
from standalone.store.log import Event, Log, Record, Stale, Write
from standalone.store.patch import patched
from standalone.store.watch import Stream, Wanted, Watching

ATTEMPTS: Final = 50
_NO_STATUS: Final = {
    "Event", "ConfigMap", "Secret", "ServiceAccount", "StorageClass", "CSIDriver", "Lease", "CDIConfig",
}  # fmt: skip
_SUFFIX: Final = "bcdfghjklmnpqrstvwxz2456789"


class Objects(AbstractContextManager["Objects"]):
    """Every object of the yard."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._streams: set[Stream] = set()

    @classmethod
    def open(cls, path: Path) -> "Objects":
        """The store in that file, made if it is not there."""
        objects = cls(Log(path))
        for name in ("default", "kube-system"):
            if objects._log.get(NAMESPACE.resource, Key(name)) is None:
                objects.create(NAMESPACE, {"metadata": {"name": name}})
        return objects

    def close(self) -> None:
        """End every watch, then the store; what was acknowledged is on disk already."""
        for stream in tuple(self._streams):
            stream.close()
        self._log.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def get(self, kind: Kind, key: Key) -> Obj:
        return self._record(kind, key).obj()

    def list(self, kind: Kind, selection: Selection = ALL) -> Listing:
        records, revision = self.records(kind, selection)
        return Listing(tuple(record.obj() for record in records), revision)

    def records(self, kind: Kind, selection: Selection = ALL) -> tuple[tuple[Record, ...], str]:
        """The objects that fit as they are stored, in order, and the revision of the list."""
        matches = _matches(selection)
        snapshot = self._log.snapshot(kind.resource)
        found = [
            record
            for record in snapshot.records
            if selection.namespace in (None, record.key.namespace)
            and (matches is None or matches(record.obj()))
        ]
        return tuple(sorted(found, key=_place)), str(snapshot.revision)

    def watch(self, kind: Kind, since: str, selection: Selection = ALL) -> Watch:
        return Watching(self.stream(kind, since, selection))

    def stream(
        self, kind: Kind, since: str, selection: Selection = ALL, wake: Callable[[], None] | None = None
    ) -> Stream:
        """Changes as stored, for those who pass them on; `since` empty or 0: all that is there, first, as ADDED."""
        wanted = Wanted(kind, selection.namespace, _matches(selection))
        stream = Stream(self._log, wanted, wake)
        first: list[Event] = []
        if since in ("", "0"):
            records, since = self.records(kind, selection)
            first = [Event(record) for record in records]
        if not since.isdecimal():
            raise BadRequest(f'resourceVersion: Invalid value: "{since[:60]}": not a number')
        stream.start(int(since), first)
        self._streams = {held for held in self._streams if not held.closed} | {stream}
        return stream

    def create(self, kind: Kind, obj: Obj) -> Obj:
        asked = metadata.checked(kind, _copy(obj))
        if meta.meta(asked).get("resourceVersion"):
            raise BadRequest("resourceVersion should not be set on objects to be created")
        self._check_namespace(kind, asked)
        for attempt in range(ATTEMPTS):
            name = meta.name(asked) or _generated(kind, asked)
            birth = metadata.Birth(name, str(uuid4()), meta.timestamp(datetime.now(UTC)))
            fresh = _begun(kind, metadata.born(kind, asked, birth, generation=_counted(kind)))
            try:
                return self._log.write(Write(kind.resource, meta.key(fresh), fresh, 0)).obj()
            except Stale as error:
                if meta.name(asked) or attempt == ATTEMPTS - 1:
                    raise AlreadyExists(
                        f'{kind.resource} "{name}" already exists', details=_details(kind, name)
                    ) from error
        raise AssertionError("unreachable")

    def update(self, kind: Kind, obj: Obj, subresource: str = "") -> Obj:
        asked = metadata.checked(kind, _copy(obj))
        return self._change(kind, meta.key(asked), lambda _: asked, subresource)

    def patch(self, kind: Kind, key: Key, patch: Any, subresource: str = "", how: Patch = Patch.MERGE) -> Obj:
        return self._change(kind, key, lambda old: patched(old, patch, how), subresource, unless_said=True)

    def delete(self, kind: Kind, key: Key, deletion: Deletion = DELETE) -> Obj:
        for _ in range(ATTEMPTS):
            record = self._record(kind, key)
            old = record.obj()
            _hold(kind, old, deletion.uid, deletion.resource_version)
            left, gone = finality.deleted(kind, old, deletion, datetime.now(UTC))
            if not gone and metadata.same(left, old):
                return old
            try:
                return self._log.write(Write(kind.resource, key, left, record.revision, gone)).obj()
            except Stale:
                continue
        raise _moved(kind, key.name)

    def _change(
        self,
        kind: Kind,
        key: Key,
        change: Callable[[Obj], Obj],
        subresource: str = "",
        *,
        unless_said: bool = False,
    ) -> Obj:
        for _ in range(ATTEMPTS):
            record = self._record(kind, key)
            old = record.obj()
            asked = change(record.obj())
            said = meta.meta(asked)
            _hold(kind, old, str(said.get("uid") or ""), str(said.get("resourceVersion") or ""))
            result = _changed(kind, asked, old, subresource)
            gone = finality.finished(kind, result)
            if not gone and metadata.same(result, old):
                return old
            try:
                return self._log.write(Write(kind.resource, key, result, record.revision, gone)).obj()
            except Stale as error:
                if said.get("resourceVersion") and not unless_said:
                    raise _moved(kind, key.name) from error
        raise _moved(kind, key.name)

    def _record(self, kind: Kind, key: Key) -> Record:
        record = self._log.get(kind.resource, key)
        if record is None:
            raise NotFound(f'{kind.resource} "{key.name}" not found', details=_details(kind, key.name))
        return record

    def _check_namespace(self, kind: Kind, obj: Obj) -> None:
        if not kind.namespaced:
            return
        place = self._record(NAMESPACE, Key(meta.namespace(obj))).obj()
        if meta.deleting(place):
            name = meta.name(place)
            raise Forbidden(
                f'{kind.resource} "{meta.name(obj)}" is forbidden: unable to create new content in namespace '
                f"{name} because it is being terminated",
                details=_details(kind, meta.name(obj)),
            )


def _changed(kind: Kind, asked: Obj, old: Obj, subresource: str) -> Obj:
    if subresource == "status":
        return metadata.only_status(asked, old)
    if subresource == "finalize" and kind == NAMESPACE:
        return {**old, "spec": meta.spec(asked)}
    if subresource:
        raise NotFound(f"the server could not find the requested resource: {kind.plural}/{subresource}")
    result = metadata.kept(kind, asked, old)
    if _has_status(kind):
        result = metadata.with_status_of(result, old)
    return metadata.next_generation(result, old, status=_has_status(kind))


def _begun(kind: Kind, obj: Obj) -> Obj:
    """What the server itself writes into a new object of a core kind."""
    if _has_status(kind):
        obj.pop("status", None)
    if kind == NAMESPACE:
        obj["spec"] = {**meta.spec(obj), "finalizers": ["kubernetes"]}
        obj["status"] = {"phase": "Active"}
        obj["metadata"]["labels"] = {**meta.labels(obj), "kubernetes.io/metadata.name": meta.name(obj)}
    if kind in (POD, CLAIM):
        obj["status"] = {"phase": "Pending"}
    if kind == CLAIM and CLAIM_PROTECTION not in meta.meta(obj).get("finalizers", ()):
        obj["metadata"]["finalizers"] = [*meta.meta(obj).get("finalizers", ()), CLAIM_PROTECTION]
    return obj


def _has_status(kind: Kind) -> bool:
    return kind.kind not in _NO_STATUS


def _counted(kind: Kind) -> bool:
    return "." in kind.group


def _hold(kind: Kind, obj: Obj, uid: str, resource_version: str) -> None:
    """Preconditions."""
    if uid and uid != meta.uid(obj):
        raise Conflict(
            f'Operation cannot be fulfilled on {kind.resource} "{meta.name(obj)}": Precondition failed: '
            f"UID in precondition: {uid}, UID in object meta: {meta.uid(obj)}"
        )
    if resource_version and resource_version != meta.meta(obj)["resourceVersion"]:
        raise _moved(kind, meta.name(obj))


def _moved(kind: Kind, name: str) -> ApiError:
    return Conflict(
        f'Operation cannot be fulfilled on {kind.resource} "{name}": the object has been modified; '
        "please apply your changes to the latest version and try again",
        details=_details(kind, name),
    )


def _details(kind: Kind, name: str) -> dict[str, str]:
    return {"name": name, **({"group": kind.group} if kind.group else {}), "kind": kind.plural}


def _generated(kind: Kind, obj: Obj) -> str:
    prefix = str(meta.meta(obj).get("generateName") or "")
    if not prefix:
        raise metadata.nameless(kind)
    return prefix[:58] + "".join(secrets.choice(_SUFFIX) for _ in range(5))


def _matches(selection: Selection) -> selector.Matches | None:
    if not selection.labels.strip() and not selection.fields.strip():
        return None
    by_label, by_field = selector.labels(selection.labels), selector.fields(selection.fields)
    return lambda obj: by_label(obj) and by_field(obj)


def _place(record: Record) -> tuple[str, str]:
    return record.key.namespace, record.key.name


def _copy(obj: Any) -> Any:
    try:
        return orjson.loads(orjson.dumps(obj))
    except orjson.JSONEncodeError as error:
        raise BadRequest(f"the object is not JSON: {error}") from error


SERVED: Final = KINDS
