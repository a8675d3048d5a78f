"""Roles and bindings: what the server fills in and what it refuses. Pure.

Messages are Kubernetes' own (`pkg/apis/rbac/validation`).
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from diskyard.api.meta import CLUSTER_ROLE, CLUSTER_ROLE_BINDING, ROLE, ROLE_BINDING, Kind, Obj
from diskyard.errors import Cause

KINDS: Final = (ROLE, ROLE_BINDING, CLUSTER_ROLE, CLUSTER_ROLE_BINDING)
GROUP: Final = ROLE.group
ACCOUNT: Final = "ServiceAccount"
_SUBJECTS: Final = (ACCOUNT, "User", "Group")
_TEXT: Final[Obj] = {"type": "string"}
_TEXTS: Final[Obj] = {"type": "array", "items": _TEXT, "nullable": True}
_RULE: Final[Obj] = {
    "type": "object",
    "properties": dict.fromkeys(
        ("verbs", "apiGroups", "resources", "resourceNames", "nonResourceURLs"), _TEXTS
    ),
}
_REFERENCE: Final[Obj] = {"type": "object", "properties": dict.fromkeys(("apiGroup", "kind", "name"), _TEXT)}
_SUBJECT: Final[Obj] = {
    "type": "object",
    "required": ["kind", "name"],
    "properties": dict.fromkeys(("apiGroup", "kind", "name", "namespace"), _TEXT),
}
_ROLE: Final[Obj] = {
    "type": "object",
    "properties": {
        "rules": {"type": "array", "items": _RULE, "nullable": True},
        "aggregationRule": {
            "type": "object",
            "nullable": True,
            "properties": {"clusterRoleSelectors": {"type": "array", "items": {"type": "object"}}},
        },
    },
}
_BINDING: Final[Obj] = {
    "type": "object",
    "required": ["roleRef"],
    "properties": {
        "roleRef": _REFERENCE,
        "subjects": {"type": "array", "items": _SUBJECT, "nullable": True},
    },
}
SHAPES: Final[Mapping[Kind, Obj]] = {
    ROLE: _ROLE, CLUSTER_ROLE: _ROLE, ROLE_BINDING: _BINDING, CLUSTER_ROLE_BINDING: _BINDING,
}  # fmt: skip


def defaulted(kind: Kind, obj: Obj) -> Obj:
    """The object with the API groups that its references leave out, and with rules where there are none."""
    if kind in (ROLE, CLUSTER_ROLE):
        return {**obj, "rules": obj.get("rules") or None}
    reference = obj.get("roleRef") or {}
    found = {**obj, "roleRef": {**reference, "apiGroup": reference.get("apiGroup") or GROUP}}
    if obj.get("subjects"):
        found["subjects"] = [_subject(one) for one in obj["subjects"]]
    return found


def causes(kind: Kind, obj: Obj, old: Obj | None) -> Iterator[Cause]:
    """What is wrong with a role or a binding of the right shape."""
    if kind in (ROLE, CLUSTER_ROLE):
        for index, rule in enumerate(obj.get("rules") or ()):
            yield from _rule(rule, f"rules[{index}]", namespaced=kind.namespaced)
        return
    yield from _reference(kind, obj["roleRef"])
    for index, subject in enumerate(obj.get("subjects") or ()):
        yield from _wrong_subject(subject, f"subjects[{index}]")
    if old is not None and old["roleRef"] != obj["roleRef"]:
        yield Cause(f"Invalid value: {_go(obj['roleRef'])}: cannot change roleRef", "roleRef")


def name_causes(name: str) -> Iterator[Cause]:
    """What is wrong with the name of a role or a binding: it may be whatever a path can hold."""
    if name in (".", ".."):
        yield Cause(f"Invalid value: \"{name}\": may not be '{name}'", "metadata.name")
    for sign in ("/", "%"):
        if sign in name:
            yield Cause(f"Invalid value: \"{name[:300]}\": may not contain '{sign}'", "metadata.name")


def _subject(subject: Obj) -> Obj:
    group = GROUP if subject.get("kind") in ("User", "Group") else ""
    said = subject.get("apiGroup") or group
    return {**subject, "apiGroup": said} if said else subject


def _rule(rule: Obj, field: str, *, namespaced: bool) -> Iterator[Cause]:
    if not rule.get("verbs"):
        yield _required(f"{field}.verbs", "verbs must contain at least one value")
    resources = rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames")
    if rule.get("nonResourceURLs"):
        said = f"Invalid value: {_go(rule['nonResourceURLs'])}"
        if namespaced:
            yield Cause(
                f"{said}: namespaced rules cannot apply to non-resource URLs", f"{field}.nonResourceURLs"
            )
        if resources:
            yield Cause(
                f"{said}: rules cannot apply to both regular resources and non-resource URLs",
                f"{field}.nonResourceURLs",
            )
        return
    if not rule.get("apiGroups"):
        yield _required(f"{field}.apiGroups", "resource rules must supply at least one api group")
    if not rule.get("resources"):
        yield _required(f"{field}.resources", "resource rules must supply at least one resource")


def _reference(kind: Kind, reference: Obj) -> Iterator[Cause]:
    kinds = ("Role", "ClusterRole") if kind.namespaced else ("ClusterRole",)
    if reference.get("apiGroup") != GROUP:
        yield _unsupported("roleRef.apiGroup", reference.get("apiGroup"), (GROUP,))
    if reference.get("kind") not in kinds:
        yield _unsupported("roleRef.kind", reference.get("kind", ""), kinds)
    if not reference.get("name"):
        yield _required("roleRef.name")


def _wrong_subject(subject: Obj, field: str) -> Iterator[Cause]:
    kind, group = subject["kind"], subject.get("apiGroup", "")
    if not subject["name"]:
        yield _required(f"{field}.name")
    if kind not in _SUBJECTS:
        yield _unsupported(f"{field}.kind", kind, _SUBJECTS)
        return
    expected = "" if kind == ACCOUNT else GROUP
    if group != expected:
        yield _unsupported(f"{field}.apiGroup", group, (expected,))
    if kind == ACCOUNT and not subject.get("namespace"):
        yield _required(f"{field}.namespace")


def _required(field: str, why: str = "") -> Cause:
    return Cause(f"Required value: {why}" if why else "Required value", field, "FieldValueRequired")


def _unsupported(field: str, found: Any, supported: tuple[str, ...]) -> Cause:
    known = ", ".join(f'"{one}"' for one in sorted(supported))
    return Cause(f'Unsupported value: "{found}": supported values: {known}', field, "FieldValueNotSupported")


def _go(value: Any) -> str:
    """The value as Go prints it in such messages."""
    if isinstance(value, dict):
        fields = (("APIGroup", "apiGroup"), ("Kind", "kind"), ("Name", "name"))
        said = ", ".join(f'{go}:"{value.get(name, "")}"' for go, name in fields)
        return f"rbac.RoleRef{{{said}}}"
    said = ",".join(f'"{one}"' for one in value)
    return f"[{said}]"
