"""The shape of every controller: `gather` reads the world, `decide` turns it into a plan, `carry_out` acts.

`decide` is pure, so every decision is a table in a test. Actions are values; each can be carried out twice.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, Protocol, TypeVar

from diskyard.api import meta
from diskyard.api.meta import EVENT, Key, Kind, Obj
from diskyard.api.names import derived as names
from diskyard.errors import AlreadyExists, NotFound
from diskyard.kube.client import DELETE, Client, Deletion

W = TypeVar("W")


class Action(Protocol):
    """One write. Carrying it out twice ends as once did."""

    def carry_out(self, client: Client) -> None: ...


@dataclass(frozen=True)
class Create:
    """Make an object; that it is there already is fine."""

    kind: Kind
    obj: Obj

    def carry_out(self, client: Client) -> None:
        """Make it."""
        try:
            client.create(self.kind, self.obj)
        except AlreadyExists:
            return


@dataclass(frozen=True)
class Merge:
    """Change fields by a merge patch; that the object is gone is fine."""

    kind: Kind
    key: Key
    patch: Obj
    subresource: str = ""

    def carry_out(self, client: Client) -> None:
        """Change it."""
        try:
            client.patch(self.kind, self.key, self.patch, self.subresource)
        except NotFound:
            return


@dataclass(frozen=True)
class Delete:
    """Ask for the deletion of exactly this object (its uid); that it is gone is fine."""

    kind: Kind
    key: Key
    deletion: Deletion = DELETE

    def carry_out(self, client: Client) -> None:
        """Ask for it."""
        try:
            client.delete(self.kind, self.key, self.deletion)
        except NotFound:
            return


@dataclass(frozen=True)
class Tell:
    """An Event about an object: what a user sees in `kubectl describe`. Repeats only count up."""

    kind: Kind
    about: Obj
    reason: str
    message: str
    warning: bool = False

    def __str__(self) -> str:
        """For logs: never the whole object, which may hold what is secret, such as a guest's user data."""
        return f"{self.reason} of {self.kind.singular} {meta.key(self.about)}: {self.message}"

    def carry_out(self, client: Client) -> None:
        """Write or count it."""
        name = names.event(meta.name(self.about), _digest(meta.uid(self.about), self.reason, self.message))
        key = Key(name, meta.namespace(self.about) or "default")
        now = meta.timestamp(datetime.now(UTC))
        try:
            client.create(EVENT, event(self, key, now))
        except AlreadyExists:
            with suppress(NotFound):
                count = int(client.get(EVENT, key).get("count") or 1) + 1
                client.patch(EVENT, key, {"count": count, "lastTimestamp": now})


@dataclass(frozen=True)
class Plan:
    """Actions in order, each prefix a safe place to die. `requeue_after`: look again in so many seconds."""

    actions: tuple[Action, ...] = ()
    requeue_after: float | None = None


NOTHING = Plan()
EVERY = Key("*")
"""In `wakes`: every root there is."""
SHORT = Key("?")
"""In `wakes`: the roots that this quota had no room for."""


def event(tell: Tell, key: Key, now: str) -> Obj:
    """The Event object, as `kubectl describe` reads it."""
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": key.name, "namespace": key.namespace},
        "involvedObject": {
            "apiVersion": tell.kind.api_version,
            "kind": tell.kind.kind,
            "name": meta.name(tell.about),
            "namespace": meta.namespace(tell.about),
            "uid": meta.uid(tell.about),
        },
        "reason": tell.reason,
        "message": tell.message[:1024],
        "type": "Warning" if tell.warning else "Normal",
        "source": {"component": "diskyard"},
        "reportingComponent": "diskyard",
        "reportingInstance": "",
        "count": 1,
        "firstTimestamp": now,
        "lastTimestamp": now,
    }


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


class Reconciler(Protocol, Generic[W]):
    """A controller for one root kind. `wakes`: a change of that other kind means: look at these keys."""

    kind: Kind
    wakes: Mapping[Kind, Callable[[Obj], Iterable[Key]]]

    def gather(self, client: Client, key: Key) -> W | None:
        """Everything that the decision needs, read; None: nothing to decide (the root is gone)."""

    def decide(self, world: W) -> Plan:
        """What to do. No I/O, no clock, no log: the world carries `now`."""


def owners(kind: Kind) -> Callable[[Obj], Iterable[Key]]:
    """For `wakes`: the controlling owner of that kind."""

    def keys(obj: Obj) -> Iterable[Key]:
        ref: Mapping[str, Any] | None = meta.controller_of(obj)
        if (
            ref
            and ref.get("kind") == kind.kind
            and str(ref.get("apiVersion", "")).rpartition("/")[0] == kind.group
        ):
            yield Key(str(ref.get("name", "")), meta.namespace(obj))

    return keys


def same_name(obj: Obj) -> Iterable[Key]:
    """For `wakes`: the root of the same name."""
    yield meta.key(obj)


def everything(_: Obj) -> Iterable[Key]:
    """For `wakes`: every root there is (of settings and classes, which change seldom)."""
    yield EVERY


def short(_: Obj) -> Iterable[Key]:
    """For `wakes` of quotas: the roots that this one had no room for, when it leaves more."""
    yield SHORT


def nothing(_: Obj) -> Iterable[Key]:
    """For `wakes`: no root; the kind is only kept in memory for `gather`."""
    return ()


def finalized(kind: Kind, obj: Obj, kept: Iterable[str]) -> Merge:
    """Those finalizers and no others, of the very object that was looked at."""
    seen = {"uid": meta.uid(obj), "resourceVersion": meta.meta(obj).get("resourceVersion")}
    return Merge(kind, meta.key(obj), {"metadata": {**seen, "finalizers": list(kept)}})


def find(client: Client, kind: Kind, key: Key) -> Obj | None:
    """For `gather`: the object, or None where there is none."""
    try:
        return client.get(kind, key)
    except NotFound:
        return None
