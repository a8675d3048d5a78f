"""What can be asked of a resource, as OpenAPI v3 describes it: paths, parameters, bodies, answers. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from diskyard.api.meta import Kind, Obj

GVK: Final = "x-kubernetes-group-version-kind"
ACTION: Final = "x-kubernetes-action"
META: Final = "io.k8s.apimachinery.pkg.apis.meta.v1."
_JSON: Final = "application/json"
_PATCHES: Final = (
    "application/merge-patch+json",
    "application/json-patch+json",
    "application/apply-patch+yaml",
)
_STRATEGIC: Final = "application/strategic-merge-patch+json"
_TEXT: Final[Obj] = {"type": "string"}
_FLAG: Final[Obj] = {"type": "boolean"}
_WHOLE: Final[Obj] = {"type": "integer", "minimum": 0}
_STRICTNESS: Final[Obj] = {"type": "string", "enum": ["Ignore", "Warn", "Strict"]}
_WRITING: Final[Mapping[str, Obj]] = {"dryRun": {"type": "string", "enum": ["All"]}, "fieldManager": _TEXT}
_READING: Final[Mapping[str, Obj]] = {
    "labelSelector": _TEXT, "fieldSelector": _TEXT, "limit": _WHOLE, "continue": _TEXT, "resourceVersion": _TEXT,
    "resourceVersionMatch": _TEXT, "sendInitialEvents": _FLAG, "timeoutSeconds": _WHOLE, "watch": _FLAG,
    "allowWatchBookmarks": _FLAG,
}  # fmt: skip
_DELETING: Final[Mapping[str, Obj]] = {
    "dryRun": {"type": "string", "enum": ["All"]}, "gracePeriodSeconds": _WHOLE, "orphanDependents": _FLAG,
    "propagationPolicy": {"type": "string", "enum": ["Orphan", "Background", "Foreground"]},
}  # fmt: skip
_QUERIES: Final[Mapping[str, Mapping[str, Obj]]] = {
    "get": {},
    "list": _READING,
    "post": {**_WRITING, "fieldValidation": _STRICTNESS},
    "put": {**_WRITING, "fieldValidation": _STRICTNESS},
    "patch": {**_WRITING, "fieldValidation": _STRICTNESS, "force": _FLAG},
    "delete": _DELETING,
    "deletecollection": {**_READING, **_DELETING},
    "connect": {
        "container": _TEXT, "follow": _FLAG, "previous": _FLAG, "sinceSeconds": _WHOLE, "sinceTime": _TEXT,
        "tailLines": _WHOLE, "limitBytes": _WHOLE, "timestamps": _FLAG,
    },
}  # fmt: skip
_METHODS: Final = {"list": "get", "deletecollection": "delete", "connect": "get"}
"""Of verbs that have none of their own name."""


@dataclass(frozen=True)
class Spoken:
    """What a path speaks: a kind in a version, and the name of its schema."""

    kind: Kind
    version: str
    schema: str
    strategic: bool = False
    """Whether it is of Kubernetes' own kinds, which know strategic patches."""

    def reference(self, suffix: str = "") -> Obj:
        """Leads to the schema of the kind, or of its list."""
        return {"$ref": f"#/components/schemas/{self.schema}{suffix}"}

    def gvk(self) -> dict[str, str]:
        """The kind's full name."""
        return {"group": self.kind.group, "kind": self.kind.kind, "version": self.version}


def path(spoken: Spoken, verbs: Iterable[str], parameters: Iterable[str] = ()) -> Obj:
    """One path with what can be done there; `parameters` stand in its braces."""
    item: Obj = {_METHODS.get(verb, verb): _operation(spoken, verb) for verb in verbs}
    named = [{"name": name, "in": "path", "required": True, "schema": _TEXT} for name in parameters]
    return {**item, "parameters": named} if named else item


def _operation(spoken: Spoken, verb: str) -> Obj:
    query = [{"name": name, "in": "query", "schema": schema} for name, schema in _QUERIES[verb].items()]
    operation: dict[str, Any] = {
        "parameters": query,
        "responses": {**_answers(spoken, verb), "default": _answer("Why not.", _reference("Status"))},
        ACTION: verb,
        GVK: spoken.gvk(),
    }
    if verb in ("post", "put"):
        operation["requestBody"] = {"required": True, "content": {"*/*": {"schema": spoken.reference()}}}
    elif verb == "patch":
        types = (*_PATCHES, _STRATEGIC) if spoken.strategic else _PATCHES
        patch = {"schema": _reference("Patch")}
        operation["requestBody"] = {"required": True, "content": dict.fromkeys(types, patch)}
    elif verb in ("delete", "deletecollection"):
        operation["requestBody"] = {"content": {"*/*": {"schema": _reference("DeleteOptions")}}}
    return operation


def _answers(spoken: Spoken, verb: str) -> Obj:
    if verb == "connect":
        return {"200": {"description": "OK", "content": {"text/plain": {"schema": _TEXT}}}}
    listed = verb in ("list", "deletecollection")
    shown = _answer("OK", _reference("Status") if verb == "delete" else spoken.reference("List" * listed))
    made = {"201": _answer("Created", spoken.reference())} if verb in ("post", "put", "patch") else {}
    return {"200": shown, **made}


def _answer(told: str, schema: Obj) -> Obj:
    return {"description": told, "content": {_JSON: {"schema": schema}}}


def _reference(name: str) -> Obj:
    return {"$ref": f"#/components/schemas/{META}{name}"}
