"""The schemas of what is served, as OpenAPI v3 documents, one for each version of a group: for `kubectl explain`,
and for clients that look whether a server validates. Pure.
"""

import hashlib
from typing import Any

from diskyard import VERSION
from diskyard.api.meta import Obj
from standalone.store import kinds
from standalone.wire.answer import encoded
from standalone.wire.catalogue import Catalogue, Resource

_GVK = "x-kubernetes-group-version-kind"
_PATCHES = ("application/merge-patch+json", "application/json-patch+json", "application/apply-patch+yaml")
_NEWER = ("nullable", "anyOf", "oneOf", "not")
_META = "io.k8s.apimachinery.pkg.apis.meta.v1."


def index(catalogue: Catalogue) -> Obj:
    """`/openapi/v3`: where the documents are; an address changes with its document."""
    paths = {}
    for group, versions in catalogue.versions().items():
        for version in versions:
            path = f"apis/{group}/{version}" if group else f"api/{version}"
            digest = hashlib.sha256(encoded(document(catalogue, group, version))).hexdigest()
            paths[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={digest[:32].upper()}"}
    return {"paths": paths}


def document(catalogue: Catalogue, group: str, version: str) -> Obj:
    """The document of one version of a group."""
    paths: Obj = {}
    schemas: Obj = {f"{_META}ObjectMeta": kinds.metadata(), f"{_META}ListMeta": {"type": "object"}}
    for resource in catalogue.of(group, version):
        schemas[_name(resource)] = _schema(resource)
        paths |= _paths(resource)
    return {
        "openapi": "3.0.0",
        "info": {"title": "Diskyard", "version": VERSION},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def swagger(catalogue: Catalogue) -> Obj:
    """Everything in one document of the older form, OpenAPI v2."""
    schemas: Obj = {}
    for group, versions in catalogue.versions().items():
        for version in versions:
            schemas |= document(catalogue, group, version)["components"]["schemas"]
    return {
        "swagger": "2.0",
        "info": {"title": "Diskyard", "version": VERSION},
        "paths": {},
        "definitions": {name: _older(schema) for name, schema in schemas.items()},
    }


def _older(schema: Any) -> Any:
    """A schema without what OpenAPI v2 has no words for."""
    if isinstance(schema, list):
        return [_older(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {word: _older(value) for word, value in schema.items() if word not in (*_NEWER, "properties")}
    if "properties" in schema:
        kept["properties"] = {name: _older(inner) for name, inner in schema["properties"].items()}
    if isinstance(kept.get("$ref"), str):
        kept["$ref"] = kept["$ref"].replace("#/components/schemas/", "#/definitions/")
    return kept


def _name(resource: Resource) -> str:
    kind = resource.kind
    if resource.schema is None:
        return f"io.k8s.api.{kind.group.split('.')[0] or 'core'}.{resource.version}.{kind.kind}"
    return ".".join([*reversed(kind.group.split(".")), resource.version, kind.kind])


def _schema(resource: Resource) -> Obj:
    found = kinds.node(resource.kind) if resource.schema is None else kinds.whole(resource.schema)
    reference = {
        "allOf": [{"$ref": f"#/components/schemas/{_META}ObjectMeta"}],
        "description": "The object's metadata.",
    }
    return {
        **found,
        "properties": {**found.get("properties", {}), "metadata": reference},
        _GVK: [_gvk(resource)],
    }


def _gvk(resource: Resource) -> dict[str, str]:
    return {"group": resource.kind.group, "kind": resource.kind.kind, "version": resource.version}


def _paths(resource: Resource) -> Obj:
    kind = resource.kind
    root = f"/apis/{kind.group}/{resource.version}" if kind.group else f"/api/{resource.version}"
    place = "/namespaces/{namespace}" if kind.namespaced else ""
    collection = f"{root}{place}/{kind.plural}"
    found = {
        collection: {verb: _operation(resource, verb) for verb in ("get", "post")},
        f"{collection}/{{name}}": {
            verb: _operation(resource, verb) for verb in ("get", "put", "patch", "delete")
        },
    }
    if resource.status:
        found[f"{collection}/{{name}}/status"] = {
            verb: _operation(resource, verb) for verb in ("get", "put", "patch")
        }
    return found


def _operation(resource: Resource, verb: str) -> Obj:
    reference = {"schema": {"$ref": f"#/components/schemas/{_name(resource)}"}}
    writes = verb in ("post", "put", "patch")
    types = _PATCHES if verb == "patch" else ("*/*",)
    names = ("dryRun", "fieldManager", "fieldValidation") if writes else ()
    operation: dict[str, Any] = {
        "parameters": [{"name": name, "in": "query", "schema": {"type": "string"}} for name in names],
        "responses": {"200": {"description": "OK", "content": {"application/json": reference}}},
        "x-kubernetes-action": verb,
        _GVK: _gvk(resource),
    }
    if writes:
        operation["requestBody"] = {"content": dict.fromkeys(types, reference)}
    return operation
