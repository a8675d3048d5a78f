"""Server-side apply: what an author wants of an object laid over it, and what it no longer wants taken away. Pure.

As `sigs.k8s.io/structured-merge-diff` does it.
"""

from dataclasses import dataclass

from diskyard.api import meta
from diskyard.api.meta import Kind, Obj
from diskyard.errors import BadRequest, Cause, Conflict
from standalone.store import authors, fields, merge
from standalone.store.authors import Author, Signature, Work, Works
from standalone.store.fields import Node, Path


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
        raise _conflict(disputed)
    return authors.signed(result, authors.applied(works, work, change))


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
