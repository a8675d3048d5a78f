"""What goes with what: objects follow their owners, a namespace takes its content along, old Events expire.

One thread looks at everything whenever something was deleted (or asked to be), and once a minute besides. It keeps no
memory of its own, so that whatever it missed it finds the next time.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

from diskyard import log
from diskyard.api import meta
from diskyard.api.meta import CRD, EVENT, NAMESPACE, Key, Kind, Obj
from diskyard.api.names import kubernetes
from diskyard.errors import ApiError, Expired, NotFound
from diskyard.kube.client import Client, Deletion
from diskyard.kube.reconcile import Action, Delete, Merge, finalized
from standalone import remaining
from standalone.store.objects import Objects
from standalone.store.watch import Stream

PERIOD: Final = 60.0
RETRY: Final = 1.0
BREATH: Final = 0.05
"""Seconds that changes are gathered before everything is looked at."""
EVENTS_LAST: Final = timedelta(hours=1)

_log = log.logger("collect")

Member = tuple[Kind, Obj]
Lookup = Callable[[Mapping[str, Any], str], bool | None]
"""An owner reference and its holder's namespace -> whether the owner exists; None: its kind is not served."""


@dataclass(frozen=True)
class Finalize:
    """Let an emptied namespace go."""

    namespace: Obj

    def carry_out(self, client: Client) -> None:
        """Take the server's own finalizer away."""
        try:
            client.update(NAMESPACE, {**self.namespace, "spec": {"finalizers": []}}, "finalize")
        except NotFound:
            return


class Collector:
    """Carries deletions on, until closed."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._stirred = threading.Event()
        self._stopped = threading.Event()
        self._streams: dict[Kind, Stream] = {}
        self._thread = threading.Thread(target=self._run, name="collector", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End; what is under way is finished."""
        self._stopped.set()
        self._stirred.set()
        if self._thread.ident:
            self._thread.join()

    def _run(self) -> None:
        due = True
        while not self._stopped.is_set():
            pause = self._sweep() if due else PERIOD
            stirred = self._stirred.wait(pause)
            self._stopped.wait(BREATH)
            self._stirred.clear()
            due = self._something_ends() or not stirred or pause < PERIOD
        for stream in self._streams.values():
            stream.close()

    def _sweep(self) -> float:
        """Carry out all that is to do; the seconds until the next look: none when one step leads to another."""
        kinds = [one.kind for one in self._objects.served()]
        self._follow(kinds)
        members = [(kind, obj) for kind in kinds for obj in self._objects.list(kind).items]
        pause = PERIOD
        for action in actions(members, partial(_there, self._objects), datetime.now(UTC)):
            try:
                action.carry_out(self._objects)
                pause = min(pause, 0.0)
            except ApiError as error:
                _log.debug("left for the next time", error=error)
                return RETRY
        return pause

    def _follow(self, kinds: Iterable[Kind]) -> None:
        for kind in kinds:
            if kind not in self._streams or self._streams[kind].closed:
                since = self._objects.list(kind).resource_version
                self._streams[kind] = self._objects.stream(kind, since, wake=self._stirred.set)

    def _something_ends(self) -> bool:
        """Whether what was written since the last time can mean work."""
        found = False
        for kind, stream in tuple(self._streams.items()):
            try:
                sent = stream.take()
            except Expired:
                stream.close()
                del self._streams[kind]
                found = True
                continue
            found |= any(
                one.type == "DELETED"
                or b'"deletionTimestamp"' in one.body
                or b'"ownerReferences"' in one.body
                for one in sent
            )
        return found


def actions(members: Sequence[Member], there: Lookup, now: datetime) -> Iterator[Action]:
    """All that is to do."""
    dependents = _dependents(members)
    for kind, obj in members:
        if meta.deleting(obj):
            if kind == NAMESPACE and meta.spec(obj).get("finalizers"):
                yield from _closing(obj, members, now)
            yield from _ending(kind, obj, members, dependents.get(meta.uid(obj), []))
        elif meta.meta(obj).get("ownerReferences"):
            yield from _following(kind, obj, there)
        if kind == EVENT and _expired(obj, now):
            yield _delete(kind, obj)


def _closing(namespace: Obj, members: Sequence[Member], now: datetime) -> Iterator[Action]:
    """A namespace takes its content along, and says what it waits for."""
    inside = [one for one in members if one[0].namespaced and meta.namespace(one[1]) == meta.name(namespace)]
    yield from _emptied(inside)
    if not inside:
        yield Finalize(namespace)
    elif all(meta.deleting(obj) for _, obj in inside) and (said := remaining.told(namespace, inside, now)):
        yield said


def _ending(
    kind: Kind, obj: Obj, members: Sequence[Member], dependents: Sequence[Member]
) -> Iterator[Action]:
    """What an object that was asked to go still waits for."""
    finalizers = meta.finalizers(obj)
    if kubernetes.CRD_FINALIZER in finalizers and kind == CRD:
        inside = [one for one in members if one[0].resource == meta.name(obj)]
        yield from _emptied(inside) if inside else _freed(kind, obj, kubernetes.CRD_FINALIZER)
    if kubernetes.ORPHAN in finalizers:
        for one in dependents:
            yield _without_owners(*one, {meta.uid(obj)})
        if not dependents:
            yield from _freed(kind, obj, kubernetes.ORPHAN)
    if kubernetes.FOREGROUND in finalizers:
        blocking = [one for one in dependents if _blocks(one[1], meta.uid(obj))]
        yield from _emptied(dependents, "Foreground")
        if not blocking:
            yield from _freed(kind, obj, kubernetes.FOREGROUND)


def _following(kind: Kind, obj: Obj, there: Lookup) -> Iterator[Action]:
    """An object whose owners are all gone goes too; one with some left forgets the others."""
    references = meta.meta(obj)["ownerReferences"]
    states = {str(ref["uid"]): there(ref, meta.namespace(obj)) for ref in references}
    gone = {uid for uid, state in states.items() if state is False}
    if gone and len(gone) == len(states):
        yield _delete(kind, obj)
    elif gone:
        yield _without_owners(kind, obj, gone)


def _there(objects: Objects, reference: Mapping[str, Any], namespace: str) -> bool | None:
    group = str(reference["apiVersion"]).rpartition("/")[0]
    for one in objects.served():
        if (one.kind.group, one.kind.kind) == (group, reference["kind"]):
            key = Key(str(reference["name"]), namespace if one.kind.namespaced else "")
            try:
                return meta.uid(objects.get(one.kind, key)) == str(reference["uid"])
            except NotFound:
                return False
    return None


def _dependents(members: Sequence[Member]) -> dict[str, list[Member]]:
    found: dict[str, list[Member]] = {}
    for kind, obj in members:
        for reference in meta.meta(obj).get("ownerReferences") or ():
            found.setdefault(str(reference["uid"]), []).append((kind, obj))
    return found


def _emptied(members: Iterable[Member], propagation: str = "Background") -> Iterator[Action]:
    for kind, obj in members:
        if not meta.deleting(obj):
            yield _delete(kind, obj, propagation)


def _delete(kind: Kind, obj: Obj, propagation: str = "Background") -> Delete:
    return Delete(kind, meta.key(obj), Deletion(uid=meta.uid(obj), propagation=propagation))


def _freed(kind: Kind, obj: Obj, finalizer: str) -> Iterator[Action]:
    left = [name for name in meta.meta(obj)["finalizers"] if name != finalizer]
    yield finalized(kind, obj, left)


def _without_owners(kind: Kind, obj: Obj, uids: set[str]) -> Action:
    left = [ref for ref in meta.meta(obj)["ownerReferences"] if ref["uid"] not in uids]
    return Merge(kind, meta.key(obj), {"metadata": {**_exactly(obj), "ownerReferences": left}})


def _exactly(obj: Obj) -> Obj:
    return {"uid": meta.uid(obj), "resourceVersion": meta.meta(obj)["resourceVersion"]}


def _blocks(obj: Obj, uid: str) -> bool:
    references = meta.meta(obj).get("ownerReferences") or ()
    return any(ref["uid"] == uid and ref.get("blockOwnerDeletion") for ref in references)


def _expired(event: Obj, now: datetime) -> bool:
    last = event.get("lastTimestamp") or event.get("eventTime") or meta.meta(event)["creationTimestamp"]
    try:
        return meta.moment(last) < now - EVENTS_LAST
    except (TypeError, ValueError):
        return meta.moment(meta.meta(event)["creationTimestamp"]) < now - EVENTS_LAST
