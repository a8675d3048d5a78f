"""Objects in the form that a request wants: whole, as a table's rows, or their metadata alone."""

import orjson
from aiohttp import web

from diskyard.api import meta
from diskyard.api.meta import Obj
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
    if wanted.shape is Shape.WHOLE:
        kind, version = f"{asked.resource.kind.kind}List", asked.resource.api_version
    else:
        kind, version = str(Shape.PARTIAL_LIST), f"meta.k8s.io/{wanted.version}"
        bodies = [encoded(partial(orjson.loads(body), wanted.version)) for body in bodies]
    head = {"kind": kind, "apiVersion": version, "metadata": piece.metadata(), "items": []}
    return encoded(head).removesuffix(b"]}") + b",".join(bodies) + b"]}"


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
    return asked.request.query.get("includeObject", "Metadata")
