"""What the yard keeps in order of itself: roles that are put together, and every namespace's account."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from diskyard.api import meta
from diskyard.api.meta import CLUSTER_ROLE, CLUSTER_ROLE_BINDING, NAMESPACE, SERVICE_ACCOUNT, Key, Obj
from diskyard.kube.controller import Controllers
from diskyard.kube.reconcile import find
from standalone.access import accounts, aggregates
from standalone.access.accounts import DefaultAccounts
from standalone.access.aggregates import Aggregates, aggregated, provide
from standalone.store.objects import Objects
from tests.builders import eventually, namespace, some, stored


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Objects]:
    with Objects.open(tmp_path / "store.db") as objects:
        controllers = Controllers(objects, [Aggregates(), DefaultAccounts()])
        controllers.start()
        yield objects
        controllers.stop()


def rule(resource: str) -> Obj:
    return {"apiGroups": [""], "resources": [resource], "verbs": ["get"]}


def role(name: str, *resources: str, **labels: str) -> Obj:
    return some(CLUSTER_ROLE, name, rules=[rule(one) for one in resources], metadata={"labels": labels})


def whole(*selectors: Obj) -> Obj:
    return some(CLUSTER_ROLE, "whole", aggregationRule={"clusterRoleSelectors": list(selectors)})


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        ({"matchLabels": {"a": "1"}}, ["pods", "secrets"]),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["2", "3"]}]}, ["services"]),
        ({"matchExpressions": [{"key": "a", "operator": "Exists"}]}, ["pods", "secrets", "services"]),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]}, ["services", "nodes"]),
        ({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}, ["nodes"]),
        ({"matchLabels": {"a": "4"}}, []),
    ],
)
def test_a_role_is_put_together_from_those_that_it_selects(selector: Obj, found: list[str]) -> None:
    parts = [
        role("1", "pods", a="1"),
        role("2", "secrets", "pods", a="1"),
        role("3", "services", a="2"),
        role("4", "nodes"),
    ]

    rules = aggregated(whole(selector), parts)

    assert [one["resources"][0] for one in rules] == found


def test_a_role_follows_its_parts(store: Objects) -> None:
    store.create(CLUSTER_ROLE, whole({"matchLabels": {"a": "1"}}))
    store.create(CLUSTER_ROLE, role("part", "pods", a="1"))
    eventually(lambda: store.get(CLUSTER_ROLE, Key("whole"))["rules"] == [rule("pods")])

    store.delete(CLUSTER_ROLE, Key("part"))

    eventually(lambda: not store.get(CLUSTER_ROLE, Key("whole"))["rules"])


def test_what_the_yard_provides_is_whole_at_once_and_stays_as_it_is(tmp_path: Path) -> None:
    with Objects.open(tmp_path / "store.db") as store:
        provide(store)
        roles = store.list(CLUSTER_ROLE).items
        for one in roles:
            assert Aggregates().decide(aggregates.World(one, roles)).actions == () or not one.get(
                "aggregationRule"
            )
        before = store.list(CLUSTER_ROLE).resource_version

        provide(store)

        assert store.list(CLUSTER_ROLE).resource_version == before


def test_what_was_taken_from_a_provided_role_comes_back_unless_that_was_forbidden(tmp_path: Path) -> None:
    with Objects.open(tmp_path / "store.db") as store:
        provide(store)
        kept, left = Key("system:discovery"), Key("system:basic-user")
        off = {"annotations": {"rbac.authorization.kubernetes.io/autoupdate": "false"}}
        store.patch(CLUSTER_ROLE_BINDING, kept, {"subjects": None})
        store.patch(CLUSTER_ROLE_BINDING, left, {"subjects": None, "metadata": off})

        provide(store)

        assert store.get(CLUSTER_ROLE_BINDING, kept)["subjects"]
        assert not store.get(CLUSTER_ROLE_BINDING, left).get("subjects")


def test_every_namespace_gets_its_account_and_gets_it_back(store: Objects) -> None:
    key = Key("default", "place")
    store.create(NAMESPACE, namespace("place"))
    eventually(lambda: find(store, SERVICE_ACCOUNT, key))

    first = store.delete(SERVICE_ACCOUNT, key)

    eventually(lambda: meta.uid(find(store, SERVICE_ACCOUNT, key) or first) != meta.uid(first))


def test_a_namespace_that_goes_away_gets_none() -> None:
    going = stored(namespace("place"), deletionTimestamp="2026-11-21T12:00:00Z")

    assert DefaultAccounts().decide(accounts.World(going, there=False)).actions == ()
