"""Objects in the form that a request wants: whole, as a table's rows, or their metadata alone."""

import orjson
from aiohttp import web

from diskyard.api import meta
from diskyard.api.meta import Obj
from diskyard.errors import BadRequest
from standalone.store.page import Piece
from standalone.wire.answer import Shape, encoded, reply
from standalone.wire.asked import Asked
from standalone.wire.columns import columns
from standalone.wire.table import partial, table


def one(asked: Asked, obj: Obj, code: int = 200, warnings: tuple[str, ...] = ()) -> web.Response:
    """The answer that shows one object."""
    obj = {**obj, "apiVersion": asked.resource.api_version}
    wanted = asked.form
    if wanted.shape is Shape.TABLE:
        shown = table(columns(asked.resource), [obj], include(asked))
        obj = {**shown, "metadata": {"resourceVersion": meta.meta(obj).get("resourceVersion", "")}}
    elif wanted.shape is Shape.PARTIAL:
        obj = partial(obj, wanted.version)
    return reply(obj, code, warnings)


def several(asked: Asked, piece: Piece) -> bytes:
    """The JSON of a list. Whole objects go through as they are stored, unread."""
    wanted = asked.form
    bodies = [asked.shown(record.body) for record in piece.records]
    if wanted.shape is Shape.TABLE:
        shown = table(columns(asked.resource), map(orjson.loads, bodies), include(asked))
        return encoded({**shown, "metadata": piece.metadata()})
    metadata = piece.metadata()
    if wanted.shape is not Shape.WHOLE:
        kind, version = str(Shape.PARTIAL_LIST), f"meta.k8s.io/{wanted.version}"
        bodies = [encoded(partial(orjson.loads(body), wanted.version)) for body in bodies]
    else:
        kind, version = f"{asked.resource.kind.kind}List", asked.resource.api_version
        if asked.resource.schema is None:
            head = _head(asked)
            bodies = [b"{" + body[len(head) :] if body.startswith(head) else body for body in bodies]
        else:
            metadata = {"continue": "", **metadata}
    around = {"kind": kind, "apiVersion": version, "metadata": metadata, "items": []}
    return encoded(around).removesuffix(b"]}") + b",".join(bodies) + b"]}"


def _head(asked: Asked) -> bytes:
    """How a stored object begins; those of Kubernetes' own kinds do not say again in a list of which kind they are."""
    kind = asked.resource.kind
    return encoded({"apiVersion": kind.api_version, "kind": kind.kind}).removesuffix(b"}") + b","


def change(asked: Asked, stored: bytes, *, first: bool) -> bytes:
    """The JSON of an object in a watch; only the `first` Table of a watch announces its columns."""
    wanted = asked.form
    body = asked.shown(stored)
    if wanted.shape is Shape.WHOLE:
        return body
    obj = orjson.loads(body)
    if wanted.shape is not Shape.TABLE:
        return encoded(partial(obj, wanted.version))
    shown = table(columns(asked.resource), [obj], include(asked))
    if not first:
        shown["columnDefinitions"] = None
    return encoded({**shown, "metadata": {"resourceVersion": meta.meta(obj).get("resourceVersion", "")}})


def include(asked: Asked) -> str:
    """What of each object goes along with its row: None, Metadata or Object."""
    wanted = asked.request.query.get("includeObject") or "Metadata"
    if wanted not in ("Metadata", "Object", "None"):
        said = (
            f"includeObject: Invalid value: \"{wanted[:60]}\": must be 'Metadata', 'Object', 'None', or empty"
        )
        raise BadRequest(f"Unable to convert to Table as requested: {said}")
    return wanted
