"""Objects of any shape at all: answered with an ApiError or stored, never stumbled over."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from diskyard.api.meta import KINDS, NAMESPACE, Key, Kind, Obj
from diskyard.errors import ApiError
from diskyard.kube.client import Patch
from standalone.store.objects import Objects
from tests import builders

FIELDS = [
    "spec", "status", "data", "metadata", "labels", "annotations", "ownerReferences", "finalizers", "containers",
    "volumes", "name", "accessModes", "resources", "requests", "storage", "involvedObject", "namespace", "versions",
    "names", "source", "http", "template", "ports", "env", "provisioner", "stringData", "lastTimestamp", "$patch",
    "$retainKeys", "$setElementOrder/ports", "$deleteFromPrimitiveList/finalizers", "resourceVersion", "uid",
]  # fmt: skip
LEAVES = (
    st.none() | st.booleans() | st.integers(-2, 2**40) | st.sampled_from(["", "a", "1Gi", "v1", "=", "é"])
)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=5),
    max_leaves=12,
)
BODIES = st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=4)


@pytest.fixture(scope="module")
def any_store(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with Objects.open(tmp_path_factory.mktemp("any") / "store.db") as objects:
        yield objects


def told(act: Callable[[], object]) -> str:
    """What the server says to it; empty when it simply does it."""
    try:
        act()
    except ApiError as error:
        return str(error)
    return ""


@settings(
    max_examples=300, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
@example(kind=NAMESPACE, body={}, metadata={"labels": 1}, how=Patch.MERGE, patch={})
@given(
    kind=st.sampled_from(KINDS), body=BODIES, metadata=BODIES, how=st.sampled_from(Patch), patch=BODIES | JSON
)
def test_any_object_and_any_patch_get_an_answer(
    any_store: Objects, kind: Kind, body: Obj, metadata: Obj, how: Patch, patch: Any
) -> None:
    place = {"namespace": "default"} if kind.namespaced else {}
    asked = {**body, "metadata": {**metadata, "name": "x", **place}}
    key = Key("x", place.get("namespace", ""))

    assert told(lambda: any_store.rehearsal().create(kind, asked)) == told(
        lambda: any_store.create(kind, asked)
    )
    told(lambda: any_store.patch(kind, key, patch, how=how))
    told(lambda: any_store.delete(kind, key))


@settings(
    max_examples=200, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
@given(
    patch=BODIES | JSON, how=st.sampled_from(Patch), subresource=st.sampled_from(["", "status", "finalize"])
)
def test_any_patch_of_a_good_object_gets_an_answer(
    any_store: Objects, patch: Any, how: Patch, subresource: str
) -> None:
    for kind, obj in GOOD:
        told(lambda kind=kind, obj=obj: any_store.create(kind, obj))
        key = Key(obj["metadata"]["name"], obj["metadata"].get("namespace", ""))

        change = partial(any_store.rehearsal().patch, kind, key, patch, subresource, how)

        assert isinstance(told(change), str)


GOOD = [
    (builders.POD, builders.pod("good")),
    (builders.CLAIM, builders.claim("good")),
    (builders.DATA_VOLUME, builders.data_volume("good")),
    (builders.NAMESPACE, builders.namespace("good")),
    (builders.SECRET, builders.secret("good", a="b")),
    (builders.VOLUME, builders.volume("good")),
]
