"""Nobody gives away what they do not have: who writes roles and bindings must hold all that these grant.

As in Kubernetes (`pkg/registry/rbac`): the verb `escalate` on a role, or `bind` on the role that a binding names, lets
one do so all the same.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from diskyard.api import meta
from diskyard.api.meta import CLUSTER_ROLE, ROLE, Kind, Obj
from diskyard.api.user import User
from standalone.access.policy import Policy
from standalone.access.question import denied
from standalone.access.rbac import EVERYTHING, Question, Rule, missing, quoted, rules
from standalone.store.rbac import KINDS


def check(policy: Policy, user: User, kind: Kind, obj: Obj, old: Obj | None) -> None:
    """Raises Forbidden for a role or a binding that gives more than its author has; NotFound: binds no role."""
    if kind not in KINDS or user.master:
        return
    if kind in (ROLE, CLUSTER_ROLE):
        _role(policy, user, kind, obj, old)
    elif old is None or _granted(old) != _granted(obj):
        _binding(policy, user, kind, obj)


def _role(policy: Policy, user: User, kind: Kind, obj: Obj, old: Obj | None) -> None:
    if (
        old is not None
        and rules(old) == rules(obj)
        and old.get("aggregationRule") == obj.get("aggregationRule")
    ):
        return
    about = Question("escalate", kind.group, kind.plural, "", meta.namespace(obj), meta.name(obj))
    if policy.decide(user, about).allowed:
        return
    held = policy.rules(user, about.namespace)
    if obj.get("aggregationRule") and missing(held, EVERYTHING):
        raise denied(about, "must have cluster-admin privileges to use the aggregationRule")
    _held(user, about, held, rules(obj))


def _binding(policy: Policy, user: User, kind: Kind, obj: Obj) -> None:
    reference: Mapping[str, Any] = obj["roleRef"]
    role = ROLE if reference["kind"] == ROLE.kind else CLUSTER_ROLE
    namespace = meta.namespace(obj)
    if policy.decide(
        user, Question("bind", role.group, role.plural, "", namespace, str(reference["name"]))
    ).allowed:
        return
    about = Question("create", kind.group, kind.plural, "", namespace, meta.name(obj))
    _held(user, about, policy.rules(user, namespace), policy.role(obj))


def _held(user: User, about: Question, held: tuple[Rule, ...], wanted: Iterable[Rule]) -> None:
    lacking = missing(held, wanted)
    if lacking:
        said = "\n".join(sorted({str(rule) for rule in lacking}))
        raise denied(
            about,
            f'user "{user.name}" (groups={quoted(user.groups)}) is attempting to grant RBAC permissions '
            f"not currently held:\n{said}",
        )


def _granted(binding: Obj) -> tuple[Any, Any]:
    return binding["roleRef"], binding.get("subjects") or []
