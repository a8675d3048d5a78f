"""What is served, described: OpenAPI v3 documents, one for each version of a group, and all in one as OpenAPI v2.

For `kubectl explain`, for clients that look whether a server validates, and for those that are made from it. Pure.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, Final

from diskyard import VERSION
from diskyard.api.meta import UPLOAD_TOKEN, Kind, Obj
from standalone.store import kinds, patch
from standalone.store.schema import KEEPS
from standalone.wire import gnostic
from standalone.wire.answer import encoded
from standalone.wire.catalogue import Catalogue, Resource
from standalone.wire.discovery import ELSEWHERE, REVIEWS, asked, spoken_in
from standalone.wire.operations import GVK, META, Spoken, path
from standalone.wire.uploads import TOKEN

_NEWER: Final = ("nullable", "anyOf", "oneOf", "not")
_OPEN: Final = ("type", "properties", "items", "additionalProperties")
"""What is not said where anything may stand: kubectl takes it for all there is."""
_SHARED: Final = ("ObjectMeta", "ListMeta", "Status", "DeleteOptions")
_PATCH: Final = {"description": "A patch of one of the types that the operation takes."}
_PARTS: Final = {
    "status": ("get", "put", "patch"),
    "scale": ("get", "put", "patch"),
    "finalize": ("put",),
    "binding": ("post",),
    "token": ("post",),
    "log": ("connect",),
}
"""What can be done to each subresource."""


class Documents:
    """The documents of what is served at one moment, each made when it is first asked for."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self._made: dict[tuple[str, str], bytes] = {}

    @cached_property
    def index(self) -> bytes:
        """`/openapi/v3`: where the documents are; an address changes with its document."""
        paths = {}
        for group, version in self._versions():
            place = f"apis/{group}/{version}" if group else f"api/{version}"
            digest = hashlib.sha256(self.document(group, version)).hexdigest()
            paths[place] = {"serverRelativeURL": f"/openapi/v3/{place}?hash={digest[:32].upper()}"}
        return encoded({"paths": paths})

    @cached_property
    def swagger(self) -> bytes:
        """`/openapi/v2`."""
        return encoded(self._older)

    @cached_property
    def packed(self) -> bytes:
        """The same as protobuf."""
        return gnostic.encoded(self._older)

    @cached_property
    def _older(self) -> Obj:
        return swagger(document(self.catalogue, *each) for each in self._versions())

    def document(self, group: str, version: str) -> bytes:
        """The document of one version of a group that is served."""
        if (group, version) not in self._made:
            self._made[group, version] = encoded(document(self.catalogue, group, version))
        return self._made[group, version]

    def has(self, group: str, version: str) -> bool:
        """Whether there is such a document."""
        return (group, version) in self._versions()

    def _versions(self) -> list[tuple[str, str]]:
        served = [(group, one) for group, versions in self.catalogue.versions().items() for one in versions]
        answered = [(group, one) for group, held in REVIEWS.items() for one in spoken_in(held)]
        return list(dict.fromkeys((*served, *answered)))


def document(catalogue: Catalogue, group: str, version: str) -> Obj:
    """The document of one version of a group."""
    paths: Obj = {}
    schemas: Obj = {f"{META}{name}": patch.told(kinds.shared(name)) for name in _SHARED} | {
        f"{META}Patch": _PATCH
    }
    for resource in catalogue.of(group, version):
        spoken = Spoken(resource.kind, version, _name(resource), resource.schema is None)
        schemas[spoken.schema] = _schema(spoken, resource.schema)
        schemas[f"{spoken.schema}List"] = _list(spoken)
        paths |= _paths(resource, spoken, schemas)
    for kind in asked(group, version):
        spoken = _other(replace(kind, version=version), schemas)
        place = "/namespaces/{namespace}" if kind.namespaced else ""
        paths[f"/apis/{group}/{version}{place}/{kind.plural}"] = path(
            spoken, ["post"], ["namespace"] if place else ()
        )
    return {
        "openapi": "3.0.0",
        "info": {"title": "Diskyard", "version": VERSION},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"BearerToken": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"BearerToken": []}],
    }


def swagger(documents: Iterable[Obj]) -> Obj:
    """Everything in one document of the older form, OpenAPI v2."""
    schemas: Obj = {}
    paths: Obj = {}
    for one in documents:
        schemas |= one["components"]["schemas"]
        paths |= {place: _older_path(item) for place, item in one["paths"].items()}
    return {
        "swagger": "2.0",
        "info": {"title": "Diskyard", "version": VERSION},
        "paths": paths,
        "definitions": {name: _older(schema) for name, schema in schemas.items()},
        "securityDefinitions": {
            "BearerToken": {"type": "apiKey", "name": "authorization", "in": "header"},
        },
        "security": [{"BearerToken": []}],
    }


def _older_path(item: Obj) -> Obj:
    found: Obj = {}
    for verb, said in item.items():
        if verb == "parameters":
            found[verb] = [_older_parameter(one) for one in said]
            continue
        bodies = (said.get("requestBody") or {}).get("content", {})
        parameters = [_older_parameter(one) for one in said["parameters"]]
        for one in [*bodies.values()][:1]:
            needed = said["requestBody"].get("required", False)
            schema = _older(one["schema"])
            parameters.append({"name": "body", "in": "body", "required": needed, "schema": schema})
        answers = {code: _older_answer(answer) for code, answer in said["responses"].items()}
        rest = {word: value for word, value in said.items() if word.startswith("x-")}
        found[verb] = {
            **({"consumes": [*bodies]} if bodies else {}),
            "produces": [*next(iter(said["responses"].values()))["content"]],
            "parameters": parameters,
            "responses": answers,
            **rest,
        }
    return found


def _older_parameter(parameter: Obj) -> Obj:
    rest = {word: value for word, value in parameter.items() if word != "schema"}
    return {**rest, **parameter["schema"]}


def _older_answer(answer: Obj) -> Obj:
    return {
        "description": answer["description"],
        "schema": _older(next(iter(answer["content"].values()))["schema"]),
    }


def _older(schema: Any) -> Any:
    """A schema without what OpenAPI v2 has no words for."""
    if isinstance(schema, list):
        return [_older(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if GVK not in schema and (schema.get("nullable") is True or schema.get(KEEPS) is True):
        schema = {word: value for word, value in schema.items() if word not in _OPEN}
    kept = {word: _older(value) for word, value in schema.items() if word not in (*_NEWER, "properties")}
    if "properties" in schema:
        kept["properties"] = {name: _older(inner) for name, inner in schema["properties"].items()}
    if isinstance(kept.get("$ref"), str):
        kept["$ref"] = kept["$ref"].replace("#/components/schemas/", "#/definitions/")
    return kept


def _name(resource: Resource) -> str:
    kind = resource.kind
    if resource.schema is None:
        return _own_name(kind)
    return ".".join([*reversed(kind.group.split(".")), resource.version, kind.kind])


def _own_name(kind: Kind) -> str:
    return f"io.k8s.api.{kind.group.split('.')[0] or 'core'}.{kind.version}.{kind.kind}"


def _schema(spoken: Spoken, custom: Mapping[str, Any] | None) -> Obj:
    found = patch.told(kinds.node(spoken.kind)) if custom is None else kinds.whole(custom)
    return {
        **found,
        "properties": {**found.get("properties", {}), "metadata": _metadata("ObjectMeta")},
        GVK: [spoken.gvk()],
    }


def _list(spoken: Spoken) -> Obj:
    gvk = spoken.gvk()
    return {
        "type": "object",
        "description": f"A list of objects of the kind {spoken.kind.kind}.",
        "properties": {
            **kinds.AROUND,
            "metadata": _metadata("ListMeta"),
            "items": {"type": "array", "items": spoken.reference()},
        },
        "required": ["items"],
        GVK: [{**gvk, "kind": f"{gvk['kind']}List"}],
    }


def _metadata(name: str) -> Obj:
    return {"allOf": [{"$ref": f"#/components/schemas/{META}{name}"}], "description": "What every one has."}


def _other(kind: Kind, schemas: Obj) -> Spoken:
    """A kind that is asked or answered and not kept; its schema is added."""
    spoken = Spoken(kind, kind.version, _own_name(kind))
    schemas[spoken.schema] = _schema(spoken, TOKEN if kind.kind == UPLOAD_TOKEN.kind else None)
    return spoken


def _paths(resource: Resource, spoken: Spoken, schemas: Obj) -> Obj:
    kind = resource.kind
    root = f"/apis/{kind.group}/{resource.version}" if kind.group else f"/api/{resource.version}"
    place, where = ("/namespaces/{namespace}", ["namespace"]) if kind.namespaced else ("", [])
    collection = f"{root}{place}/{kind.plural}"
    found = {
        collection: path(spoken, ["list", "post", "deletecollection"], where),
        f"{collection}/{{name}}": path(spoken, ["get", "put", "patch", "delete"], [*where, "name"]),
    }
    if place:
        found[f"{root}/{kind.plural}"] = path(spoken, ["list"])
    for part, verbs in _parts(resource):
        said = _other(ELSEWHERE[part], schemas) if part in ELSEWHERE else spoken
        found[f"{collection}/{{name}}/{part}"] = path(said, verbs, [*where, "name"])
    return found


def _parts(resource: Resource) -> Iterator[tuple[str, tuple[str, ...]]]:
    for part in resource.subresources:
        yield part, _PARTS[part]
