"""A pod is given to a node once, by whoever schedules."""

import pytest

from diskyard.api import meta
from diskyard.api.meta import POD, SERVICE_ACCOUNT, Key, Obj
from diskyard.errors import Conflict, Invalid, NotFound
from standalone.store.objects import Objects
from tests import builders
from tests.builders import some

ONE = Key("one", "default")


def binding(node: str, **metadata: str) -> Obj:
    place = {"name": "one", "namespace": "default", **metadata}
    return {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": place,
        "target": {"kind": "Node", "name": node},
    }


def test_a_bound_pod_has_its_node_and_says_so(store: Objects) -> None:
    store.create(POD, builders.pod("one"))

    answer = store.create(POD, binding("here"), "binding")

    pod = store.get(POD, ONE)
    assert answer["status"] == "Success"
    assert meta.spec(pod)["nodeName"] == "here"
    assert meta.holds(pod, "PodScheduled")


def test_a_pod_is_bound_only_once(store: Objects) -> None:
    store.create(POD, builders.pod("one"))
    store.create(POD, binding("here"), "binding")

    with pytest.raises(Conflict, match='pod one is already assigned to node "here"'):
        store.create(POD, binding("there"), "binding")


def test_a_binding_means_one_pod_and_no_other_of_its_name(store: Objects) -> None:
    store.create(POD, builders.pod("one"))

    with pytest.raises(Conflict, match="UID in precondition: 1234"):
        store.create(POD, binding("here", uid="1234"), "binding")


def test_a_binding_names_a_node(store: Objects) -> None:
    store.create(POD, builders.pod("one"))

    with pytest.raises(Invalid, match=r"target\.name: Required value"):
        store.create(POD, binding(""), "binding")


def test_a_subresource_that_nobody_answers_is_not_found(store: Objects) -> None:
    with pytest.raises(NotFound):
        store.create(SERVICE_ACCOUNT, some(SERVICE_ACCOUNT, "default"), "token")
