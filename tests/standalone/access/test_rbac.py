"""What a rule allows and covers, and how a request is read: tables, a sentence a row."""

import pytest

from diskyard.api.user import User
from standalone.access.question import forbidden, question
from standalone.access.rbac import Question, Rule, missing, rules

PODS = Question("get", "", "pods", "", "place", "one")
LOGS = Question("get", "", "pods", "log", "place", "one")
DISKS = Question("list", "cdi.kubevirt.io", "datavolumes", "", "place")


def rule(verbs: str, groups: str = "", resources: str = "", names: str = "", urls: str = "") -> Rule:
    parts = (
        verbs.split(),
        [""] if groups == "core" else groups.split(),
        resources.split(),
        names.split(),
        urls.split(),
    )
    return Rule(*map(tuple, parts))


@pytest.mark.parametrize(
    ("sentence", "said", "asked", "allowed"),
    [
        ("verb, group and resource fit", rule("get", "core", "pods"), PODS, True),
        ("another verb does not", rule("list", "core", "pods"), PODS, False),
        ("another group does not", rule("get", "apps", "pods"), PODS, False),
        ("a star is every verb", rule("*", "core", "pods"), PODS, True),
        ("a star is every group", rule("list", "*", "datavolumes"), DISKS, True),
        ("a star is every resource, its subresources too", rule("get", "core", "*"), LOGS, True),
        ("a resource is not its subresources", rule("get", "core", "pods"), LOGS, False),
        ("a subresource is not its resource", rule("get", "core", "pods/log"), PODS, False),
        ("a subresource is named behind its resource", rule("get", "core", "pods/log"), LOGS, True),
        ("a star and a subresource are that of every resource", rule("get", "core", "*/log"), LOGS, True),
        ("a resource and a star are nothing", rule("get", "core", "pods/*"), LOGS, False),
        ("a name fits", rule("get", "core", "pods", "one two"), PODS, True),
        ("another name does not", rule("get", "core", "pods", "two"), PODS, False),
        ("a rule with names does not allow lists", rule("*", "*", "*", "one"), DISKS, False),
        ("a path is no resource", rule("get", "*", "*"), Question("get", path="/metrics"), False),
        ("a path fits", rule("get", urls="/metrics"), Question("get", path="/metrics"), True),
        (
            "a path is not what lies below it",
            rule("get", urls="/api"),
            Question("get", path="/api/v1"),
            False,
        ),
        ("a star at the end is", rule("get", urls="/api/*"), Question("get", path="/api/v1"), True),
        ("a star is every path", rule("get", urls="*"), Question("get", path="/api/v1"), True),
        ("a rule on paths says nothing of resources", rule("get", urls="*"), PODS, False),
        ("an empty rule allows nothing", Rule(), PODS, False),
    ],
)
def test_a_rule_allows(sentence: str, said: Rule, asked: Question, allowed: bool) -> None:
    assert said.allows(asked) is allowed


@pytest.mark.parametrize(
    ("sentence", "held", "wanted", "covered"),
    [
        ("the same", rule("get", "core", "pods"), rule("get", "core", "pods"), True),
        ("less", rule("get list", "core", "pods services"), rule("list", "core", "pods"), True),
        ("more verbs", rule("get", "core", "pods"), rule("get list", "core", "pods"), False),
        ("more groups", rule("get", "core", "pods"), rule("get", "core *", "pods"), False),
        ("one name of all", rule("get", "core", "pods"), rule("get", "core", "pods", "one"), True),
        ("all of one name", rule("get", "core", "pods", "one"), rule("get", "core", "pods"), False),
        ("a star only by a star", rule("get list watch", "core", "pods"), rule("*", "core", "pods"), False),
        ("a subresource by its star", rule("get", "core", "*/log"), rule("get", "core", "pods/log"), True),
        ("a path below a star", rule("get", urls="/api/*"), rule("get", urls="/api/v1"), True),
        ("a longer star below a star", rule("get", urls="/api/*"), rule("get", urls="/api/v1/*"), True),
        ("a star by a path", rule("get", urls="/api"), rule("get", urls="/api/*"), False),
    ],
)
def test_a_rule_covers(sentence: str, held: Rule, wanted: Rule, covered: bool) -> None:
    assert (not missing([held], [wanted])) is covered


def test_two_rules_cover_together_what_neither_does() -> None:
    held = [rule("get", "core", "pods"), rule("list", "core", "pods")]

    assert missing(held, [rule("get list", "core", "pods")]) == []


def test_what_is_missing_is_said_shortly() -> None:
    lacking = missing([rule("get", "core", "pods")], [rule("get list watch", "core", "pods secrets")])

    assert sorted(map(str, lacking)) == [
        '{APIGroups:[""], Resources:["pods"], Verbs:["list" "watch"]}',
        '{APIGroups:[""], Resources:["secrets"], Verbs:["get" "list" "watch"]}',
    ]


def test_rules_are_read_from_a_role_and_written_back() -> None:
    said = [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "resourceNames": ["one"]}]

    assert [one.wire() for one in rules({"rules": said})] == said
    assert rules({"rules": None}) == rules({}) == ()


@pytest.mark.parametrize(
    ("request_", "asked"),
    [
        ("GET /api/v1/namespaces/place/pods/one", Question("get", "", "pods", "", "place", "one")),
        ("HEAD /api/v1/namespaces/place/pods/one", Question("get", "", "pods", "", "place", "one")),
        ("GET /api/v1/namespaces/place/pods", Question("list", "", "pods", "", "place")),
        ("GET /api/v1/pods", Question("list", "", "pods")),
        ("GET /api/v1/pods?watch=true", Question("watch", "", "pods")),
        ("GET /api/v1/pods?watch=1&fieldSelector=metadata.name=one", Question("watch", "", "pods", name="one")),
        ("GET /api/v1/pods?fieldSelector=status.phase=A,metadata.name==one", Question("list", "", "pods", name="one")),
        ("POST /api/v1/namespaces/place/pods", Question("create", "", "pods", "", "place")),
        ("PUT /api/v1/namespaces/place/pods/one/status", Question("update", "", "pods", "status", "place", "one")),
        ("PATCH /api/v1/namespaces/place/pods/one", Question("patch", "", "pods", "", "place", "one")),
        ("DELETE /api/v1/namespaces/place/pods/one", Question("delete", "", "pods", "", "place", "one")),
        ("DELETE /api/v1/namespaces/place/pods", Question("deletecollection", "", "pods", "", "place")),
        ("GET /api/v1/namespaces", Question("list", "", "namespaces")),
        ("GET /api/v1/namespaces/place", Question("get", "", "namespaces", "", "place", "place")),
        ("PUT /api/v1/namespaces/place/finalize", Question("update", "", "namespaces", "finalize", "place", "place")),
        ("POST /apis/cdi.kubevirt.io/v1beta1/namespaces/place/datavolumes/disk/source",
         Question("create", "cdi.kubevirt.io", "datavolumes", "source", "place", "disk")),
        ("GET /apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Abasic-user",
         Question("get", "rbac.authorization.k8s.io", "clusterroles", "", "", "system:basic-user")),
        ("GET /apis/subresources.kubevirt.io/v1/namespaces/place/virtualmachineinstances/vm/portforward/22/tcp",
         Question("get", "subresources.kubevirt.io", "virtualmachineinstances", "portforward", "place", "vm")),
        ("GET /api/v1", Question("get", path="/api/v1")),
        ("GET /apis/cdi.kubevirt.io/v1beta1", Question("get", path="/apis/cdi.kubevirt.io/v1beta1")),
        ("POST /anything", Question("post", path="/anything")),
        ("GET /", Question("get", path="/")),
    ],
)  # fmt: skip
def test_a_request_asks(request_: str, asked: Question) -> None:
    method, _, url = request_.partition(" ")
    path, _, query = url.partition("?")
    said = dict(term.split("=", 1) for term in query.split("&") if term)

    assert question(method, path, said) == asked


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (DISKS, 'datavolumes.cdi.kubevirt.io is forbidden: User "x" cannot list resource "datavolumes" in API group '
                '"cdi.kubevirt.io" in the namespace "place"'),
        (LOGS, 'pods "one" is forbidden: User "x" cannot get resource "pods/log" in API group "" '
               'in the namespace "place"'),
        (Question("list", "", "nodes"),
         'nodes is forbidden: User "x" cannot list resource "nodes" in API group "" at the cluster scope'),
        (Question("get", path="/metrics"), 'forbidden: User "x" cannot get path "/metrics"'),
    ],
)  # fmt: skip
def test_a_refusal_has_the_servers_words(asked: Question, words: str) -> None:
    assert str(forbidden(User("x"), asked)) == words
