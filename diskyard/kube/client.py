"""What an API server can be asked, in five verbs and a watch.

Two things implement it: `http.py` (any API server, over the network) and `standalone.store` (the yard's own,
in this process). One suite, `tests/conformance`, holds both to what is said here.

Objects go in and come out as plain dicts; what comes out is the caller's own copy. Every method blocks, may be
called from any thread, and raises the `ApiError`s of `diskyard/errors.py`. An acknowledged write is durable.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from diskyard.api.meta import Key, Kind, Obj


class Patch(StrEnum):
    """How a patch is to be read."""

    MERGE = "application/merge-patch+json"
    JSON = "application/json-patch+json"
    STRATEGIC = "application/strategic-merge-patch+json"
    """Core kinds only: lists of named things are merged by name."""


@dataclass(frozen=True)
class Listing:
    """A list as it stood at one moment."""

    items: tuple[Obj, ...]
    resource_version: str
    """Watch from here and no change is missed."""


@dataclass(frozen=True)
class Change:
    """One event of a watch."""

    type: str
    """`ADDED`, `MODIFIED`, `DELETED` (the object as it last was), or `BOOKMARK` (only a resourceVersion)."""
    obj: Obj


@dataclass(frozen=True)
class Selection:
    """Which objects: a namespace (None: all of them), a label and a field selector as kubectl writes them."""

    namespace: str | None = None
    labels: str = ""
    fields: str = ""


@dataclass(frozen=True)
class Deletion:
    """How to delete. Preconditions that do not hold raise Conflict."""

    uid: str = ""
    resource_version: str = ""
    grace: int | None = None
    """Seconds; None: the object's own. Only pods know grace; 0 takes a pod away at once."""
    propagation: str = "Background"
    """`Background`, `Foreground` or `Orphan`."""


ALL = Selection()
DELETE = Deletion()


class Watch(Protocol):
    """Changes in the order in which they were written, each once. Ends when closed, or when the server ends it."""

    def __iter__(self) -> Iterator[Change]: ...

    def close(self) -> None:
        """End the iteration, from any thread, at once."""


class Client(Protocol):
    """An API server."""

    def get(self, kind: Kind, key: Key) -> Obj:
        """The object. Raises NotFound."""

    def list(self, kind: Kind, selection: Selection = ALL) -> Listing:
        """The objects that fit, in order of namespace and name."""

    def watch(self, kind: Kind, since: str, selection: Selection = ALL) -> Watch:
        """Every change after the resourceVersion `since`. Raises Expired, here or while iterating."""

    def create(self, kind: Kind, obj: Obj, subresource: str = "") -> Obj:
        """The object as stored (`generateName` honoured). Raises AlreadyExists, Invalid, Forbidden.

        With a subresource (a pod's `binding`, an account's `token`): what is posted to that of the object which
        `obj` names; gives the server's answer. Raises NotFound, Conflict.
        """

    def update(self, kind: Kind, obj: Obj, subresource: str = "") -> Obj:
        """Replace the whole. With a resourceVersion that has moved on: Conflict."""

    def patch(self, kind: Kind, key: Key, patch: Any, subresource: str = "", how: Patch = Patch.MERGE) -> Obj:
        """Change a part; a merge patch that holds `metadata.resourceVersion` can raise Conflict."""

    def delete(self, kind: Kind, key: Key, deletion: Deletion = DELETE) -> Obj:
        """Ask for deletion: the object as it then is (gone, or held by finalizers or grace). Raises NotFound."""
