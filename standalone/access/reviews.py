"""Answers to "may I?", "may they?", "who am I?", "whose token is this?": questions that are answered and not kept."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from diskyard.api import meta
from diskyard.api.meta import Kind, Obj
from diskyard.api.user import User
from diskyard.errors import BadRequest, Cause
from standalone.access.account import BadToken
from standalone.access.door import Door
from standalone.access.rbac import Question
from standalone.store import answers

_AUTHORIZATION: Final = "authorization.k8s.io"
_AUTHENTICATION: Final = "authentication.k8s.io"
LOCAL_ACCESS: Final = Kind(_AUTHORIZATION, "v1", "LocalSubjectAccessReview", "localsubjectaccessreviews")


def _kind(group: str, kind: str) -> Kind:
    return Kind(group, "v1", kind, f"{kind.lower()}s", namespaced=False)


ACCESS: Final = _kind(_AUTHORIZATION, "SubjectAccessReview")
SELF_ACCESS: Final = _kind(_AUTHORIZATION, "SelfSubjectAccessReview")
SELF_RULES: Final = _kind(_AUTHORIZATION, "SelfSubjectRulesReview")
SELF: Final = _kind(_AUTHENTICATION, "SelfSubjectReview")
TOKEN: Final = _kind(_AUTHENTICATION, "TokenReview")


def answered(door: Door, user: User, kind: Kind, review: Obj) -> Obj:
    """The review of that kind with its status. Raises BadRequest, Invalid."""
    told = {**review, "kind": kind.kind, "apiVersion": kind.api_version}
    if kind == SELF:
        told["metadata"] = {"creationTimestamp": meta.timestamp(datetime.now(UTC))}
    return {**told, "status": _ANSWERS[kind](door, user, review)}


def _self(_: Door, user: User, __: Obj) -> Obj:
    return {"userInfo": user.wire()}


def _self_access(door: Door, user: User, review: Obj) -> Obj:
    return _access(door, user, _question(SELF_ACCESS, meta.spec(review)))


def _subject_access(door: Door, _: User, review: Obj) -> Obj:
    return _access(door, _subject(ACCESS, meta.spec(review)), _question(ACCESS, meta.spec(review)))


def _local_access(door: Door, _: User, review: Obj) -> Obj:
    question = _question(LOCAL_ACCESS, meta.spec(review))
    if question.path or question.namespace != meta.namespace(review):
        raise BadRequest(f"spec.resourceAttributes.namespace must match namespace: {meta.namespace(review)}")
    return _access(door, _subject(LOCAL_ACCESS, meta.spec(review)), question)


def _access(door: Door, user: User, question: Question) -> Obj:
    decision = door.policy.decide(user, question)
    return {"allowed": decision.allowed, **({"reason": decision.reason} if decision.reason else {})}


def _self_rules(door: Door, user: User, review: Obj) -> Obj:
    namespace = str(meta.spec(review).get("namespace") or "")
    if not namespace:
        raise BadRequest("no namespace on request")
    held = door.policy.rules(user, namespace)
    return {
        "resourceRules": [rule.wire() for rule in held if not rule.urls],
        "nonResourceRules": [rule.wire() for rule in held if rule.urls],
        "incomplete": False,
    }


def _token(door: Door, _: User, review: Obj) -> Obj:
    spec = meta.spec(review)
    token = str(spec.get("token") or "")
    if not token:
        raise BadRequest("token is required for TokenReview in authentication")
    try:
        user, audiences = door.bearer(token, [str(one) for one in spec.get("audiences") or ()])
    except BadToken as error:
        return {"user": {}, "error": str(error)}
    return {"authenticated": True, "user": user.wire(), "audiences": list(audiences)}


def _question(kind: Kind, spec: Mapping[str, Any]) -> Question:
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if (resource is None) == (path is None):
        told = "Invalid value: exactly one of nonResourceAttributes or resourceAttributes must be specified"
        raise answers.invalid(kind, "", [Cause(told, "spec.resourceAttributes")])
    said: Mapping[str, Any] = resource or path or {}
    if not isinstance(said, dict):
        raise BadRequest("resourceAttributes and nonResourceAttributes are objects")
    found = {field: str(value or "") for field, value in said.items()}
    if resource is None:
        return Question(found.get("verb", ""), path=found.get("path") or "/")
    fields = ("verb", "group", "resource", "subresource", "namespace", "name")
    return Question(*(found.get(field, "") for field in fields))


def _subject(kind: Kind, spec: Mapping[str, Any]) -> User:
    name, groups = str(spec.get("user") or ""), tuple(str(one) for one in spec.get("groups") or ())
    if not name and not groups:
        told = 'Invalid value: "": at least one of user or group must be specified'
        raise answers.invalid(kind, "", [Cause(told, "spec.user")])
    return User(name, groups, str(spec.get("uid") or ""))


_ANSWERS: Final[Mapping[Kind, Callable[[Door, User, Obj], Obj]]] = {
    SELF_ACCESS: _self_access, SELF_RULES: _self_rules, ACCESS: _subject_access, LOCAL_ACCESS: _local_access,
    SELF: _self, TOKEN: _token,
}  # fmt: skip
KINDS: Final = tuple(_ANSWERS)
