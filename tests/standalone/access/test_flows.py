"""Who may what, over HTTPS, asked by the official Python client."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from diskyard.api.meta import CLUSTER_ROLE, ROLE_BINDING, Key
from diskyard.kube.client import Deletion
from tests import builders
from tests.builders import some
from tests.served import Yard
from tests.standalone.access.conftest import Api, As

Allow = Callable[..., None]
VOLUMES = ("cdi.kubevirt.io", "v1beta1")
RBAC = "rbac.authorization.k8s.io"


@dataclass(frozen=True)
class Refusal:
    """What a server says that refuses."""

    status: int
    message: str


def refused(call: Callable[..., Any], *arguments: Any) -> Refusal:
    """How a call is refused."""
    with pytest.raises(ApiException) as told:
        call(*arguments)
    return Refusal(told.value.status, json.loads(told.value.body)["message"])


def bound(yard: Yard, place: str, role: str, name: str, kind: str = "User") -> None:
    """Bind a ClusterRole to someone in a namespace."""
    reference = {"kind": "ClusterRole", "name": role, "apiGroup": RBAC}
    subjects = [{"kind": kind, "name": name, "apiGroup": RBAC}]
    obj = some(ROLE_BINDING, f"{role}-{name}".replace(":", "-"), place, roleRef=reference, subjects=subjects)
    yard.store.create(ROLE_BINDING, obj)


def test_a_service_account_may_nothing_until_it_is_allowed(worker: Api, place: str, allow: Allow) -> None:
    core: Any = client.CoreV1Api(worker)

    before = refused(core.list_namespaced_pod, place)
    allow({"verbs": ["list"], "apiGroups": [""], "resources": ["pods"]})
    after = core.list_namespaced_pod(place)

    assert before.status == 403
    assert (
        f'pods is forbidden: User "system:serviceaccount:{place}:worker" cannot list resource "pods" '
        f'in API group "" in the namespace "{place}"' in before.message
    )
    assert after.items == []


def test_a_user_of_the_token_file_is_let_in_with_their_groups(yard: Yard, bearer: As, place: str) -> None:
    core: Any = client.CoreV1Api(bearer("ann-token"))
    reviews: Any = client.AuthenticationV1Api(bearer("ann-token"))

    said = reviews.create_self_subject_review({}).status.user_info
    before = refused(core.list_namespaced_pod, place)
    bound(yard, place, "view", "builders", "Group")

    assert (said.username, said.uid) == ("ann", "17")
    assert said.groups == ["builders", "testers", "system:authenticated"]
    assert before.status == 403
    assert core.list_namespaced_pod(place).items == []
    assert refused(client.CoreV1Api(bearer("ann-toker")).list_namespaced_pod, place).status == 401


def test_what_is_allowed_in_one_namespace_is_allowed_in_no_other(worker: Api, allow: Allow) -> None:
    core: Any = client.CoreV1Api(worker)
    allow({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]})

    assert refused(core.list_namespaced_pod, "default").status == 403
    assert refused(core.list_pod_for_all_namespaces).status == 403
    assert refused(core.list_node).status == 403


def test_a_name_in_a_rule_opens_that_object_alone(yard: Yard, worker: Api, place: str, allow: Allow) -> None:
    core: Any = client.CoreV1Api(worker)
    for name in ("mine", "other"):
        yard.store.create(
            builders.SECRET, builders.secret(name) | {"metadata": {"name": name, "namespace": place}}
        )
    allow({"verbs": ["get", "list"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["mine"]})

    assert core.read_namespaced_secret("mine", place).metadata.name == "mine"
    assert len(core.list_namespaced_secret(place, field_selector="metadata.name=mine").items) == 1
    assert refused(core.read_namespaced_secret, "other", place).status == 403
    assert refused(core.list_namespaced_secret, place).status == 403


def test_a_change_of_roles_holds_at_once(yard: Yard, worker: Api, place: str, allow: Allow) -> None:
    core: Any = client.CoreV1Api(worker)
    allow({"verbs": ["list"], "apiGroups": [""], "resources": ["pods"]})
    assert core.list_namespaced_pod(place).items == []

    yard.client.delete(ROLE_BINDING, Key("some", place))

    assert refused(core.list_namespaced_pod, place).status == 403


@pytest.mark.parametrize(
    ("role", "may", "may_not"),
    [
        ("view", [("list", "datavolumes"), ("get", "storageprofiles")],
         [("create", "datavolumes"), ("get", "secrets")]),
        ("edit", [("create", "datavolumes"), ("create", "datavolumes/source"), ("get", "secrets")],
         [("create", "roles")]),
        ("admin", [("create", "datavolumes/source"), ("create", "roles"), ("update", "virtualmachines/start")],
         [("create", "namespaces"), ("delete", "nodes")]),
        ("cdi.kubevirt.io:view", [("list", "datavolumes")], [("list", "pods")]),
        ("kubevirt.io:edit", [("create", "virtualmachines"), ("get", "virtualmachineinstances/console")],
         [("deletecollection", "virtualmachines")]),
    ],
)  # fmt: skip
def test_built_in_roles_hold_what_their_products_add(
    yard: Yard, bearer: As, place: str, role: str, may: list[tuple[str, str]], may_not: list[tuple[str, str]]
) -> None:
    bound(yard, place, role, "ann")
    reviews: Any = client.AuthorizationV1Api(bearer(Impersonate_User="ann"))

    def allowed(verb: str, resource: str) -> bool:
        name, _, part = resource.partition("/")
        said = {
            "verb": verb,
            "resource": name,
            "subresource": part,
            "namespace": place,
            "group": _group(resource),
        }
        answer = reviews.create_self_subject_access_review({"spec": {"resourceAttributes": said}})
        return bool(answer.status.allowed)

    assert all(allowed(*one) for one in may)
    assert not any(allowed(*one) for one in may_not)


def _group(resource: str) -> str:
    name, slash, _ = resource.partition("/")
    if name.startswith("virtualmachine"):
        return "subresources.kubevirt.io" if slash else "kubevirt.io"
    return {"datavolumes": VOLUMES[0], "storageprofiles": VOLUMES[0], "roles": RBAC}.get(name, "")


def test_who_applies_what_is_not_there_needs_leave_to_create(
    bearer: As, place: str, worker: Api, allow: Allow
) -> None:
    def apply(api: Api, name: str) -> Any:
        maps: Any = client.CoreV1Api(api)
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "b"}}
        return maps.patch_namespaced_config_map(
            name, place, body, field_manager="test", _content_type="application/apply-patch+yaml"
        )

    apply(bearer(), "there")
    allow({"verbs": ["patch"], "apiGroups": [""], "resources": ["configmaps"]})

    assert apply(worker, "there").data == {"a": "b"}
    assert 'cannot create resource "configmaps"' in refused(apply, worker, "missing").message


def test_nobody_grants_what_they_do_not_have(yard: Yard, bearer: As, place: str) -> None:
    bound(yard, place, "admin", "ann")
    ann: Any = client.RbacAuthorizationV1Api(bearer(Impersonate_User="ann"))
    held = {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}
    beyond = {"verbs": ["get"], "apiGroups": [""], "resources": ["nodes"]}

    ann.create_namespaced_role(place, {"metadata": {"name": "held"}, "rules": [held]})
    told = refused(
        ann.create_namespaced_role, place, {"metadata": {"name": "beyond"}, "rules": [held, beyond]}
    )

    assert told.status == 403
    assert (
        'roles.rbac.authorization.k8s.io "beyond" is forbidden: user "ann" '
        '(groups=["system:authenticated"]) is attempting to grant RBAC permissions not currently held:\n'
        '{APIGroups:[""], Resources:["nodes"], Verbs:["get"]}' in told.message
    )


def test_nobody_binds_a_role_beyond_their_own_unless_they_may_bind_it(
    yard: Yard, bearer: As, place: str
) -> None:
    bound(yard, place, "admin", "ann")
    ann: Any = client.RbacAuthorizationV1Api(bearer(Impersonate_User="ann"))

    def binding(role: str) -> dict[str, Any]:
        subjects = [{"kind": "User", "name": "bob", "apiGroup": RBAC}]
        return {
            "metadata": {"generateName": "bob-"},
            "roleRef": {"kind": "ClusterRole", "name": role, "apiGroup": RBAC},
            "subjects": subjects,
        }

    ann.create_namespaced_role_binding(place, binding("edit"))
    beyond = refused(ann.create_namespaced_role_binding, place, binding("cluster-admin"))
    absent = refused(ann.create_namespaced_role_binding, place, binding("nothing"))
    rule = {
        "verbs": ["bind"],
        "apiGroups": [RBAC],
        "resources": ["clusterroles"],
        "resourceNames": ["cluster-admin"],
    }
    name = f"binder-{place}"
    yard.store.create(CLUSTER_ROLE, some(CLUSTER_ROLE, name, rules=[rule]))
    bound(yard, place, name, "ann")
    ann.create_namespaced_role_binding(place, binding("cluster-admin"))

    assert (beyond.status, absent.status) == (403, 404)
    assert "not currently held" in beyond.message


@pytest.mark.parametrize("seconds", [60, 1 << 33])
def test_a_token_for_too_short_or_too_long_is_refused(bearer: As, place: str, seconds: int) -> None:
    core: Any = client.CoreV1Api(bearer())

    told = refused(
        core.create_namespaced_service_account_token,
        "worker",
        place,
        {"spec": {"expirationSeconds": seconds}},
    )

    assert told.status == 422
    assert "may not specify a duration" in told.message


def test_a_token_for_another_audience_is_none_here(bearer: As, place: str) -> None:
    core: Any = client.CoreV1Api(bearer())
    spec = {"spec": {"audiences": ["elsewhere"]}}
    token = core.create_namespaced_service_account_token("worker", place, spec).status.token

    assert refused(client.VersionApi(bearer(token)).get_code).status == 401
    review: Any = client.AuthenticationV1Api(bearer()).create_token_review
    assert review({"spec": {"token": token, "audiences": ["elsewhere", "more"]}}).status.audiences == [
        "elsewhere"
    ]
    assert 'token audiences ["elsewhere"] is invalid' in review({"spec": {"token": token}}).status.error


def test_a_token_ends_with_the_pod_that_it_is_bound_to(yard: Yard, bearer: As, place: str) -> None:
    core: Any = client.CoreV1Api(bearer())
    pod = builders.pod("one", serviceAccountName="worker") | {"metadata": {"name": "one", "namespace": place}}
    yard.store.create(builders.POD, pod)
    spec = {"spec": {"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "one"}}}
    token = core.create_namespaced_service_account_token("worker", place, spec).status.token
    mine: Any = client.AuthenticationV1Api(bearer(token))

    user = mine.create_self_subject_review({}).status.user_info
    yard.store.delete(builders.POD, Key("one", place), Deletion(grace=0))

    assert user.username == f"system:serviceaccount:{place}:worker"
    assert user.extra["authentication.kubernetes.io/pod-name"] == ["one"]
    assert refused(mine.create_self_subject_review, {}).status == 401


def test_impersonation_needs_leave(worker: Api, place: str, allow: Allow) -> None:
    worker.set_default_header("Impersonate-User", "system:serviceaccount:default:default")

    told = refused(client.CoreV1Api(worker).list_namespaced_pod, place)

    assert told.status == 403
    assert 'serviceaccounts "default" is forbidden: User' in told.message
    assert 'cannot impersonate resource "serviceaccounts"' in told.message


def test_everyone_may_ask_who_they_are_and_what_they_may(worker: Api, place: str, allow: Allow) -> None:
    allow({"verbs": ["list"], "apiGroups": [""], "resources": ["pods"]})

    who: Any = client.AuthenticationV1Api(worker).create_self_subject_review({}).status.user_info
    what: Any = client.AuthorizationV1Api(worker).create_self_subject_rules_review(
        {"spec": {"namespace": place}}
    )

    assert who.groups == ["system:serviceaccounts", f"system:serviceaccounts:{place}", "system:authenticated"]
    assert ["pods"] in [one.resources for one in what.status.resource_rules]
    assert any("/api/*" in one.non_resource_urls for one in what.status.non_resource_rules)


def test_reviews_of_others_say_why(yard: Yard, bearer: As, place: str) -> None:
    bound(yard, place, "view", "builders", "Group")
    reviews: Any = client.AuthorizationV1Api(bearer())
    said = {"verb": "list", "resource": "pods", "namespace": place}

    def answer(**who: Any) -> Any:
        return reviews.create_subject_access_review({"spec": {"resourceAttributes": said, **who}}).status

    assert answer(user="ann", groups=["builders"]).reason == (
        f'RBAC: allowed by RoleBinding "view-builders/{place}" of ClusterRole "view" to Group "builders"'
    )
    assert not answer(user="ann").allowed
    local = {"metadata": {}, "spec": {"resourceAttributes": said, "groups": ["builders"]}}
    assert reviews.create_namespaced_local_subject_access_review(place, local).status.allowed
    assert refused(reviews.create_namespaced_local_subject_access_review, "default", local).status == 400
    assert refused(reviews.create_subject_access_review, {"spec": {"user": "ann"}}).status == 422


def test_a_binding_to_no_role_says_so(yard: Yard, bearer: As, place: str) -> None:
    bound(yard, place, "nothing", "ann")
    core: Any = client.CoreV1Api(bearer(Impersonate_User="ann"))

    told = refused(core.list_namespaced_pod, place)

    assert 'RBAC: clusterrole.rbac.authorization.k8s.io "nothing" not found' in told.message
