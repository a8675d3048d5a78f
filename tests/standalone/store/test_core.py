"""Kubernetes' own kinds: what is refused, in whose words, and what is filled in."""

from typing import Any

import pytest

from diskyard.api import meta
from diskyard.api.meta import (
    CLAIM,
    CONFIG_MAP,
    EVENT,
    NAMESPACE,
    POD,
    SECRET,
    STORAGE_CLASS,
    VOLUME,
    Key,
    Kind,
    Obj,
)
from diskyard.errors import Forbidden, Invalid
from standalone.store.objects import Objects
from tests import builders

MOUNTED = {"name": "main", "image": "diskyard", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}
TWINS = [{"name": "a", "image": "i"}, {"name": "a", "image": "i"}]


@pytest.mark.parametrize(
    ("kind", "obj", "said"),
    [
        (POD, builders.pod("x", containers=[]), "spec.containers: Required value"),
        (POD, builders.pod("x", containers="all"), "spec.containers: Invalid value: "),
        (POD, builders.pod("x", containers=[{"name": "a"}]), "spec.containers[0].image: Required value"),
        (POD, builders.pod("x", containers=[{"image": "a"}]), "spec.containers[0].name: Required value"),
        (POD, builders.pod("x", containers=TWINS), 'spec.containers[1].name: Duplicate value: "a"'),
        (POD, builders.pod("x", containers=[MOUNTED]), 'spec.containers[0].volumeMounts[0].name: Not found: "v"'),
        (POD, builders.pod("x", restartPolicy="Maybe"), 'spec.restartPolicy: Unsupported value: "Maybe": supported '),
        (POD, builders.some(POD, "x"), "spec: Required value"),
        (CLAIM, builders.claim("x", accessModes=[]), "spec.accessModes: Required value: at least 1 access mode is"),
        (CLAIM, builders.claim("x", accessModes=["RWX"]), 'spec.accessModes[0]: Unsupported value: "RWX": supported'),
        (CLAIM, builders.claim("x", resources={}), "spec.resources[storage]: Required value"),
        (CLAIM, builders.claim("x", "0"), 'spec.resources[storage]: Invalid value: "0": must be greater than zero'),
        (CLAIM, builders.claim("x", "much"), 'spec.resources[storage]: Invalid value: "much": '),
        (VOLUME, builders.volume("x", capacity={}), "spec.capacity: Required value"),
        (VOLUME, builders.volume("x", hostPath=None), "spec: Required value: must specify a volume type"),
        (STORAGE_CLASS, builders.some(STORAGE_CLASS, "x"), "provisioner: Required value"),
        (STORAGE_CLASS, builders.storage_class("x", "Later"), 'volumeBindingMode: Unsupported value: "Later"'),
        (CONFIG_MAP, builders.some(CONFIG_MAP, "x", data={"a b": "c"}), 'data[a b]: Invalid value: "a b": a valid'),
        (CONFIG_MAP, builders.some(CONFIG_MAP, "x", data={"a": 1}), 'data.a: Invalid value: "integer"'),
        (SECRET, builders.some(SECRET, "x", data={"a": "?"}), "data[a]: Invalid value: illegal base64 data"),
        (EVENT, builders.some(EVENT, "x", involvedObject={"namespace": "b"}), "involvedObject.namespace: Invalid"),
        (NAMESPACE, builders.namespace("a.b"), 'metadata.name: Invalid value: "a.b": must not contain dots'),
    ],
)  # fmt: skip
def test_what_breaks_a_rule_is_refused(store: Objects, kind: Kind, obj: Obj, said: str) -> None:
    with pytest.raises(Invalid) as caught:
        store.create(kind, obj)

    assert str(caught.value).startswith(
        f"""{kind}{"." + kind.group if kind.group else ""} "{meta.name(obj)}" is"""
    )
    assert f"is invalid: {said}" in str(caught.value)


@pytest.mark.parametrize(
    "shape", [{"spec": []}, {"spec": {"containers": {}}}, {"spec": {"volumes": ["a"]}}, {}]
)
def test_an_object_of_any_shape_is_refused_and_not_stumbled_over(store: Objects, shape: Any) -> None:
    with pytest.raises(Invalid):
        store.create(POD, builders.some(POD, "x") | shape)


@pytest.mark.parametrize("finalizers", ["x.example/hold", 5, {"x.example/hold": True}, [7], True])
def test_finalizers_that_are_no_list_of_names_are_refused(store: Objects, finalizers: Any) -> None:
    odd = builders.some(CONFIG_MAP, "x", metadata={"finalizers": finalizers})

    with pytest.raises(Invalid, match=r"metadata\.finalizers: Invalid value: must be a list of names"):
        store.create(CONFIG_MAP, odd)


def test_a_pod_gets_its_defaults(store: Objects) -> None:
    pod = store.create(POD, builders.pod("x"))

    assert meta.spec(pod)["restartPolicy"] == "Always"
    assert meta.spec(pod)["terminationGracePeriodSeconds"] == 30
    assert meta.spec(pod)["containers"][0]["terminationMessagePath"] == "/dev/termination-log"
    assert meta.phase(pod) == "Pending"


def test_a_pod_does_not_change_what_it_runs(store: Objects) -> None:
    store.create(POD, builders.pod("x"))

    with pytest.raises(Invalid, match="spec: Forbidden: pod updates may not change fields other than"):
        store.patch(POD, Key("x", "default"), {"spec": {"restartPolicy": "Never"}})
    assert store.patch(POD, Key("x", "default"), {"spec": {"nodeName": "here"}})


def test_a_claim_may_be_bound_and_grow_but_not_shrink_or_turn(store: Objects) -> None:
    key = Key("x", "default")
    store.create(CLAIM, builders.claim("x"))
    store.patch(CLAIM, key, {"spec": {"volumeName": "v", "storageClassName": "local"}})
    with pytest.raises(Invalid, match="spec is immutable after creation"):
        store.patch(CLAIM, key, {"spec": {"resources": {"requests": {"storage": "2Gi"}}}})
    store.patch(CLAIM, key, {"status": {"phase": "Bound"}}, "status")
    store.patch(CLAIM, key, {"spec": {"resources": {"requests": {"storage": "2Gi"}}}})

    with pytest.raises(Invalid, match="field can not be less than"):
        store.patch(CLAIM, key, {"spec": {"resources": {"requests": {"storage": "1Gi"}}}})
    with pytest.raises(Invalid, match="spec is immutable after creation"):
        store.patch(CLAIM, key, {"spec": {"volumeName": "other"}})


def test_a_namespace_is_active_and_labelled_with_its_name(store: Objects) -> None:
    made = store.create(NAMESPACE, builders.namespace("place"))

    assert meta.phase(made) == "Active"
    assert meta.labels(made) == {"kubernetes.io/metadata.name": "place"}


def test_a_namespace_that_goes_takes_nothing_in(store: Objects) -> None:
    store.create(NAMESPACE, builders.namespace("place"))
    going = store.delete(NAMESPACE, Key("place"))

    assert meta.phase(going) == "Terminating"
    with pytest.raises(
        Forbidden, match="unable to create new content in namespace place because it is being term"
    ):
        store.create(CONFIG_MAP, builders.some(CONFIG_MAP, "one", "place"))
