"""The schemas of what is served, as OpenAPI v3 documents, one for each version of a group: for `kubectl explain`,
and for clients that look whether a server validates. Pure.
"""

import hashlib
from typing import Any

from diskyard import VERSION
from diskyard.api.meta import Obj
from standalone.wire.answer import encoded
from standalone.wire.catalogue import Catalogue, Resource

_GVK = "x-kubernetes-group-version-kind"
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
    schemas: Obj = {f"{_META}ObjectMeta": _METADATA, f"{_META}ListMeta": {"type": "object"}}
    for resource in catalogue.of(group, version):
        schemas[_name(resource)] = _schema(resource)
        paths |= _paths(resource)
    return {
        "openapi": "3.0.0",
        "info": {"title": "Diskyard", "version": VERSION},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _name(resource: Resource) -> str:
    kind = resource.kind
    if resource.schema is None:
        return f"io.k8s.api.{kind.group.split('.')[0] or 'core'}.{resource.version}.{kind.kind}"
    return ".".join([*reversed(kind.group.split(".")), resource.version, kind.kind])


def _schema(resource: Resource) -> Obj:
    if resource.schema is None:
        found: Obj = {
            "type": "object",
            "description": f"{resource.kind.kind}, as Kubernetes defines it.",
            "properties": {
                "apiVersion": {"type": "string", "description": "The version of the API."},
                "kind": {"type": "string", "description": "The kind of the object."},
                "spec": {
                    "type": "object",
                    "description": "What is wanted.",
                    "x-kubernetes-preserve-unknown-fields": True,
                },
                "status": {
                    "type": "object",
                    "description": "What is.",
                    "x-kubernetes-preserve-unknown-fields": True,
                },
            },
            "x-kubernetes-preserve-unknown-fields": True,
        }
    else:
        found = dict(resource.schema)
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
    types = ("application/merge-patch+json", "application/json-patch+json") if verb == "patch" else ("*/*",)
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


_METADATA: Obj = {
    "type": "object",
    "description": "What every object has: its name, its place, what it is called by and marked with.",
    "properties": {
        "name": {"type": "string", "description": "The object's name, unique in its namespace."},
        "generateName": {
            "type": "string",
            "description": "The beginning of a name that the server makes up.",
        },
        "namespace": {"type": "string", "description": "The namespace that the object is in."},
        "labels": {
            "type": "object",
            "additionalProperties": {"type": "string"},
            "description": "Words to select by.",
        },
        "annotations": {
            "type": "object",
            "additionalProperties": {"type": "string"},
            "description": "Words that programs leave on the object.",
        },
        "uid": {"type": "string", "description": "What tells this object from all others, for ever."},
        "resourceVersion": {"type": "string", "description": "Changes with every write."},
        "generation": {
            "type": "integer",
            "format": "int64",
            "description": "Changes when what is wanted changes.",
        },
        "creationTimestamp": {"type": "string", "format": "date-time", "description": "When it was made."},
        "deletionTimestamp": {
            "type": "string",
            "format": "date-time",
            "description": "When it was asked to go.",
        },
        "finalizers": {
            "type": "array",
            "items": {"type": "string"},
            "description": "Who has work to do before the object may go.",
        },
        "ownerReferences": {
            "type": "array",
            "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            "description": "Objects that this one goes with.",
        },
    },
}
