"""Who wrote which field: `metadata.managedFields`, read, kept up to date at every write, and written. Pure.

https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from diskyard.api.meta import Obj
from standalone.store import fields
from standalone.store.fields import Difference, Node, Path, Paths

APPLY: Final = "Apply"
UPDATE: Final = "Update"
MOST_UPDATERS: Final = 10
"""Of more, the oldest become one."""
OLDEST: Final = "ancient-changes"
BEFORE: Final = "before-first-apply"
LONGEST_NAME: Final = 128
_FORMAT: Final = "FieldsV1"
_NEVER: Final[frozenset[Path]] = frozenset(
    {("f:apiVersion",), ("f:kind",), ("f:metadata",)}
    | {
        ("f:metadata", f"f:{name}")
        for name in (
            "name", "namespace", "creationTimestamp", "selfLink", "uid", "generation", "managedFields",
            "resourceVersion",
        )
    }
)  # fmt: skip
"""What nobody owns."""


@dataclass(frozen=True, slots=True)
class Author:
    """Someone who writes: a program, how it writes, in which version, through which subresource."""

    name: str
    operation: str
    version: str
    subresource: str = ""

    def shown(self) -> str:
        """The author as conflicts name it."""
        said = f'"{self.name}"' + (f' with subresource "{self.subresource}"' if self.subresource else "")
        return said if self.operation == APPLY else f"{said} using {self.version}"

    def order(self) -> tuple[str, str, str, str]:
        """What tells authors apart: one that applies is the same in every version."""
        version = "" if self.operation == APPLY else self.version
        return self.operation, self.name, version, self.subresource


@dataclass(frozen=True, slots=True)
class Signature:
    """Who writes, and when."""

    author: Author
    now: str


@dataclass(frozen=True, slots=True)
class Work:
    """What an author has written that still stands, and when it last wrote something."""

    author: Author
    paths: Paths
    time: str = ""


Works = Mapping[tuple[str, str, str, str], Work]


def read(obj: Obj) -> Works | None:
    """What an object says of its authors; None: nothing that can be understood."""
    entries = obj["metadata"].get("managedFields")
    try:
        works = [_read(entry) for entry in entries or ()]
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    return {work.author.order(): work for work in works}


def taken_back(obj: Obj) -> bool:
    """Whether an author asks to forget all authors: `managedFields: [{}]`, or `[]`."""
    return obj["metadata"].get("managedFields") in ([], [{}])


def written(works: Works) -> list[Obj]:
    """`managedFields`, in Kubernetes' order: those who wrote in one second by their names, then versions."""
    chosen = [work for work in works.values() if work.paths]
    chosen.sort(key=lambda work: (work.author.operation, work.time, work.author.order()))
    return [_entry(work) for work in chosen]


def anonymous(obj: Obj) -> Obj:
    """The object without its authors."""
    if "managedFields" not in obj["metadata"]:
        return obj
    return {**obj, "metadata": {f: v for f, v in obj["metadata"].items() if f != "managedFields"}}


def resigned(obj: Obj, like: Obj) -> Obj:
    """The object with the authors that another state of it names."""
    entries, bare = like["metadata"].get("managedFields"), anonymous(obj)
    return {**bare, "metadata": {**bare["metadata"], "managedFields": entries}} if entries else bare


def signed(obj: Obj, works: Works) -> Obj:
    """The object with its authors."""
    entries = written(works)
    bare = anonymous(obj)
    return {**bare, "metadata": {**bare["metadata"], "managedFields": entries}} if entries else bare


def owned(value: Obj, node: Node) -> Paths:
    """What the author of an object owns that it applies."""
    return frozenset(fields.present(value, node)) - _NEVER


def updated(works: Works, signature: Signature, change: Difference) -> Works:
    """After an ordinary write: its author owns what it changed, and nobody else does."""
    author = signature.author
    taken = frozenset(change.added | change.modified) - _NEVER
    left = _without(works, taken | change.removed)
    if taken:
        before = left.get(author.order())
        left[author.order()] = Work(author, taken | (before.paths if before else frozenset()), signature.now)
    return _few({key: work for key, work in left.items() if work.paths})


def applied(works: Works, work: Work, change: Difference) -> Works:
    """After `work` was applied: others keep what was not changed under them."""
    key = work.author.order()
    others = {other: old for other, old in works.items() if other != key}
    return {**_without(others, frozenset(change.added | change.modified | change.removed)), key: work}


def disputed(works: Works, author: Author, change: Difference) -> list[tuple[Author, Path]]:
    """What others own that a change would change."""
    touched = change.added | change.modified
    others = [work for key, work in sorted(works.items()) if key != author.order()]
    return [(work.author, path) for work in others for path in sorted(work.paths & touched)]


def timeless(metadata: Mapping[str, Any]) -> list[Obj]:
    """`managedFields` without their times."""
    return [{**entry, "time": None} for entry in metadata.get("managedFields") or ()]


def _without(works: Works, paths: Iterable[Path]) -> dict[tuple[str, str, str, str], Work]:
    gone = frozenset(paths)
    left = {key: replace(work, paths=work.paths - gone) for key, work in works.items()}
    return {key: work for key, work in left.items() if work.paths}


def _few(works: Works) -> Works:
    """At most so many updaters: of more, the oldest of each version become one."""
    updaters = sorted(
        (work for work in works.values() if work.author.operation == UPDATE),
        key=lambda work: (work.time, work.author.order()),
    )
    left, excess = dict(works), len(updaters) - MOST_UPDATERS
    first: dict[str, Work] = {}
    for work in updaters:
        if excess <= 0:
            break
        version = work.author.version
        if version not in first:
            first[version] = work
            continue
        bucket = Author(OLDEST, UPDATE, version)
        together = left.get(bucket.order()) or left.pop(first[version].author.order())
        left.pop(work.author.order())
        left[bucket.order()] = Work(bucket, together.paths | work.paths, work.time)
        excess -= 1
    return left


def _read(entry: Obj) -> Work:
    if entry["operation"] not in (APPLY, UPDATE) or entry.get("fieldsType") != _FORMAT:
        raise ValueError("managedFields: not an entry of ours")
    version, subresource = str(entry["apiVersion"]), str(entry.get("subresource") or "")
    author = Author(str(entry["manager"]), entry["operation"], version, subresource)
    return Work(author, fields.read(entry.get("fieldsV1") or {}), str(entry.get("time") or ""))


def _entry(work: Work) -> Obj:
    author = work.author
    return {
        "manager": author.name,
        "operation": author.operation,
        "apiVersion": author.version,
        **({"time": work.time} if work.time else {}),
        "fieldsType": _FORMAT,
        "fieldsV1": fields.written(work.paths),
        **({"subresource": author.subresource} if author.subresource else {}),
    }
