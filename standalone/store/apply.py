"""Server-side apply: what an author wants of an object laid over it, and what it no longer wants taken away. Pure.

As `sigs.k8s.io/structured-merge-diff` does it.
"""

from dataclasses import dataclass, replace
from typing import Final

import orjson

from diskyard.api import meta
from diskyard.api.meta import Kind, Obj
from diskyard.api.names import kubernetes
from diskyard.errors import BadRequest, Cause, Conflict
from standalone.store import authors, fields, merge
from standalone.store.authors import Author, Signature, Work, Works
from standalone.store.fields import Node, Path, Paths

_KUBECTL: Final = "kubectl"
"""Who leaves a note of what it applied in an annotation, when it compares itself."""


@dataclass(frozen=True)
class Wish:
    """What is applied; `force`: also against what others own."""

    obj: Obj
    signature: Signature
    force: bool = False


def checked(kind: Kind, wish: Obj, unknown: list[str]) -> Obj:
    """The wish, if it can be applied. Raises BadRequest."""
    if meta.meta(wish).get("managedFields"):
        raise BadRequest("metadata.managedFields must be nil")
    if unknown:
        told = [f".{path}: field not declared in schema" for path in unknown]
        said = told[0] if len(told) == 1 else "errors:\n  " + "\n  ".join(told)
        where = f"{meta.namespace(wish)}/{meta.name(wish)}"
        raise BadRequest(
            f"failed to create typed patch object ({where}; {kind.api_version}, Kind={kind.kind}): {said}"
        )
    return wish


def applied(live: Obj, wish: Wish, node: Node) -> Obj:
    """The object as it is to be, its `managedFields` included. Raises Conflict."""
    author = wish.signature.author
    bare = authors.anonymous(live)
    works = _works(live, bare, wish, node)
    before = works.get(author.order())
    work = Work(author, authors.owned(wish.obj, node), wish.signature.now)
    every = {**works, author.order(): work}
    together = frozenset[Path]().union(*(one.paths for one in every.values()))
    laid: Obj = merge.merged(bare, wish.obj, node)
    result: Obj = merge.pruned(laid, node, before.paths if before else frozenset(), together)
    change = fields.difference(bare, result, node)
    disputed = authors.disputed(works, author, change)
    if disputed and not wish.force:
        allowed = _applied_before(live, bare, wish, node)
        if disputed := [each for each in disputed if each[1] not in allowed]:
            raise _conflict(disputed)
    if not (change.added or change.modified or change.removed):
        work = replace(work, time=before.time if before else "")  # who owns what has changed at most
    return authors.signed(_noted(result, wish), authors.applied(works, work, change))


def _applied_before(live: Obj, bare: Obj, wish: Wish, node: Node) -> Paths:
    """What kubectl applied itself last and still stands so: it may go on from there on the server's side."""
    text = meta.annotations(live).get(kubernetes.LAST_APPLIED)
    if wish.signature.author.name != _KUBECTL or not text:
        return frozenset()
    try:
        last = orjson.loads(text)
    except orjson.JSONDecodeError:
        return frozenset()
    if not isinstance(last, dict) or last.get("apiVersion") != wish.signature.author.version:
        return frozenset()
    change = fields.difference(last, bare, node)
    return frozenset(fields.present(last, node)) - change.added - change.modified - change.removed


def _noted(result: Obj, wish: Wish) -> Obj:
    """With kubectl's own note of what it applied last brought up to date, where there is one."""
    annotations = meta.annotations(result)
    if wish.signature.author.name != _KUBECTL or kubernetes.LAST_APPLIED not in annotations:
        return result
    said = {
        name: text for name, text in meta.annotations(wish.obj).items() if name != kubernetes.LAST_APPLIED
    }
    metadata = {name: value for name, value in meta.meta(wish.obj).items() if name != "annotations"}
    last = {**wish.obj, "metadata": {**metadata, **({"annotations": said} if said else {})}}
    note = orjson.dumps(last, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE).decode()
    noted = {**annotations, kubernetes.LAST_APPLIED: note}
    return {**result, "metadata": {**meta.meta(result), "annotations": noted}}


def _works(live: Obj, bare: Obj, wish: Wish, node: Node) -> Works:
    """The authors so far; of an object that never had any, one stands for all that is there."""
    found = authors.read(live)
    if found:
        return found
    author = Author(authors.BEFORE, authors.UPDATE, wish.signature.author.version)
    blank: Obj = {"metadata": {}}
    return authors.updated({}, Signature(author, wish.signature.now), fields.difference(blank, bare, node))


def _conflict(disputed: list[tuple[Author, Path]]) -> Conflict:
    causes = [
        Cause(f"conflict with {author.shown()}", fields.shown(path), "FieldManagerConflict")
        for author, path in disputed
    ]
    if len(causes) == 1:
        return Conflict(f"Apply failed with 1 conflict: {causes[0].message}: {causes[0].field}", causes)
    said: dict[str, list[str]] = {}
    for author, path in disputed:
        said.setdefault(f"conflicts with {author.shown()}:", []).append(f"- {fields.shown(path)}")
    lines = [line for title, paths in said.items() for line in (title, *paths)]
    return Conflict(f"Apply failed with {len(causes)} conflicts: " + "\n".join(lines), causes)
