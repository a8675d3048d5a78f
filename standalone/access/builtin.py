"""The roles and bindings that a Kubernetes server brings, as far as the yard serves what they speak of. Pure.

Names and rules are Kubernetes' own (`plugin/pkg/auth/authorizer/rbac/bootstrappolicy`).
"""

from collections.abc import Iterable, Sequence
from typing import Final

from diskyard.api.meta import CLUSTER_ROLE, CLUSTER_ROLE_BINDING, Kind, Obj
from diskyard.api.names import kubernetes
from diskyard.api.user import ACCOUNTS, AUTHENTICATED, MASTERS, UNAUTHENTICATED
from standalone.access.rbac import EVERYTHING, Rule
from standalone.store.rbac import GROUP

READ: Final = ("get", "list", "watch")
WRITE: Final = ("create", "delete", "deletecollection", "patch", "update")
CORE: Final = ""

_HEALTH: Final = ("/healthz", "/livez", "/readyz", "/version", "/version/")
_PATHS: Final = (*_HEALTH, "/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*")
_MONITORING: Final = (
    "/healthz",
    "/healthz/*",
    "/livez",
    "/livez/*",
    "/metrics",
    "/metrics/slis",
    "/readyz",
    "/readyz/*",
)
_ISSUER: Final = "system:service-account-issuer-discovery"
_ISSUED: Final = tuple(
    path + end for path in ("/.well-known/openid-configuration", "/openid/v1/jwks") for end in ("", "/")
)
_SEEN: Final = (
    "configmaps", "endpoints", "events", "limitranges", "namespaces", "namespaces/status", "persistentvolumeclaims",
    "persistentvolumeclaims/status", "pods", "pods/log", "pods/status", "resourcequotas", "resourcequotas/status",
    "serviceaccounts", "services", "services/status",
)  # fmt: skip
_REACHED: Final = ("pods/attach", "pods/exec", "pods/portforward", "pods/proxy", "services/proxy")
_WRITTEN: Final = (
    "configmaps", "events", "persistentvolumeclaims", "pods", "secrets", "serviceaccounts", "services", *_REACHED,
)  # fmt: skip
_AUTHORIZATION: Final = "authorization.k8s.io"
_AUTHENTICATION: Final = "authentication.k8s.io"


def rule(group: str, resources: Iterable[str], verbs: Iterable[str]) -> Rule:
    """A rule about resources of one group."""
    return Rule(tuple(verbs), (group,), tuple(resources))


def role(name: str, rules: Sequence[Rule], *, joins: str = "", gathers: str = "") -> Obj:
    """A ClusterRole: `joins` names the role that takes its rules in (admin, edit, view), `gathers` itself as such."""
    labels = {kubernetes.AGGREGATE_LABEL + joins: "true"} if joins else {}
    found = _object(CLUSTER_ROLE, name, labels) | {"rules": [one.wire() for one in rules] or None}
    if gathers:
        selector = {"matchLabels": {kubernetes.AGGREGATE_LABEL + gathers: "true"}}
        found["aggregationRule"] = {"clusterRoleSelectors": [selector]}
    return found


def binding(name: str, *groups: str) -> Obj:
    """A ClusterRoleBinding of the role of the same name."""
    return _object(CLUSTER_ROLE_BINDING, name) | {
        "roleRef": {"apiGroup": GROUP, "kind": CLUSTER_ROLE.kind, "name": name},
        "subjects": [{"apiGroup": GROUP, "kind": "Group", "name": group} for group in groups],
    }


def roles() -> list[Obj]:
    """The ClusterRoles."""
    return [
        role("cluster-admin", EVERYTHING),
        role("admin", (), gathers="admin"),
        role("edit", (), joins="admin", gathers="edit"),
        role("view", (), joins="edit", gathers="view"),
        role("system:aggregate-to-admin", _ADMIN, joins="admin"),
        role("system:aggregate-to-edit", _EDIT, joins="edit"),
        role("system:aggregate-to-view", _VIEW, joins="view"),
        role("system:basic-user", _BASIC),
        role("system:discovery", [Rule(("get",), urls=_PATHS)]),
        role("system:public-info-viewer", [Rule(("get",), urls=_HEALTH)]),
        role("system:monitoring", [Rule(("get",), urls=_MONITORING)]),
        role("system:auth-delegator", _DELEGATOR),
        role(_ISSUER, [Rule(("get",), urls=_ISSUED)]),
    ]


def bindings() -> list[Obj]:
    """The ClusterRoleBindings."""
    return [
        binding("cluster-admin", MASTERS),
        binding("system:basic-user", AUTHENTICATED),
        binding("system:discovery", AUTHENTICATED),
        binding("system:public-info-viewer", AUTHENTICATED, UNAUTHENTICATED),
        binding("system:monitoring", "system:monitoring"),
        binding(_ISSUER, ACCOUNTS),
    ]


def _object(kind: Kind, name: str, labels: dict[str, str] | None = None) -> Obj:
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {
            "name": name,
            "labels": {kubernetes.BOOTSTRAPPING_LABEL: "rbac-defaults", **(labels or {})},
            "annotations": {kubernetes.AUTOUPDATE: "true"},
        },
    }


_VIEW: Final = (rule(CORE, _SEEN, READ), rule("discovery.k8s.io", ["endpointslices"], READ))
_ADMIN: Final = (
    rule(_AUTHORIZATION, ["localsubjectaccessreviews"], ["create"]),
    rule(GROUP, ["rolebindings", "roles"], (*WRITE, *READ)),
)
_EDIT: Final = (
    rule(CORE, ("secrets", *_REACHED), READ),
    rule(CORE, ["serviceaccounts"], ["impersonate"]),
    rule(CORE, _WRITTEN, WRITE),
    rule(CORE, ["pods/eviction", "serviceaccounts/token"], ["create"]),
    rule("coordination.k8s.io", ["leases"], (*WRITE, *READ)),
)
_BASIC: Final = (
    rule(_AUTHORIZATION, ["selfsubjectaccessreviews", "selfsubjectrulesreviews"], ["create"]),
    rule(_AUTHENTICATION, ["selfsubjectreviews"], ["create"]),
)
_DELEGATOR: Final = (
    rule(_AUTHENTICATION, ["tokenreviews"], ["create"]),
    rule(_AUTHORIZATION, ["subjectaccessreviews"], ["create"]),
)
