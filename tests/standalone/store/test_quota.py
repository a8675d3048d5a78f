"""ResourceQuota: what no longer fits is refused in Kubernetes' words, and the status says how it stands."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from diskyard.api import meta
from diskyard.api.meta import CLAIM, CONFIG_MAP, DATA_VOLUME, POD, RESOURCE_QUOTA, Key, Obj
from diskyard.errors import Forbidden, Invalid
from standalone.store.objects import Objects
from tests import builders

KEY = Key("q", "default")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Objects]:
    with Objects.open(tmp_path / "store.db") as opened:
        yield opened


def limit(store: Objects, **hard: Any) -> None:
    named = {name.replace("__", "/").replace("_", "."): most for name, most in hard.items()}
    store.create(RESOURCE_QUOTA, builders.some(RESOURCE_QUOTA, "q", spec={"hard": named}))


def used(store: Objects) -> dict[str, str]:
    found: dict[str, str] = meta.status(store.get(RESOURCE_QUOTA, KEY))["used"]
    return found


def test_storage_beyond_the_quota_is_refused_in_kubernetes_words(store: Objects) -> None:
    limit(store, requests_storage="3Gi")
    store.create(CLAIM, builders.claim("a", "2Gi"))

    with pytest.raises(Forbidden) as caught:
        store.create(CLAIM, builders.claim("b", "2Gi"))

    assert str(caught.value) == (
        'persistentvolumeclaims "b" is forbidden: exceeded quota: q, requested: requests.storage=2Gi, '
        "used: requests.storage=2Gi, limited: requests.storage=3Gi"
    )
    assert caught.value.details == {"name": "b", "kind": "persistentvolumeclaims"}
    assert used(store) == {"requests.storage": "2Gi"}


def test_everything_that_is_exceeded_is_named(store: Objects) -> None:
    limit(store, requests_storage="1Gi", persistentvolumeclaims="1")
    store.create(CLAIM, builders.claim("a", "1Gi"))

    with pytest.raises(Forbidden, match=r"requested: persistentvolumeclaims=1,requests\.storage=1Gi, used: "):
        store.create(CLAIM, builders.claim("b", "1Gi"))


def test_a_claim_that_grows_is_measured_by_what_it_grows(store: Objects) -> None:
    limit(store, requests_storage="3Gi")
    store.create(CLAIM, builders.claim("a", "2Gi"))
    store.patch(CLAIM, Key("a", "default"), {"status": {"phase": "Bound"}}, "status")
    grown = {"spec": {"resources": {"requests": {"storage": "4Gi"}}}}

    with pytest.raises(Forbidden, match=r"requested: requests\.storage=2Gi, used: requests\.storage=2Gi"):
        store.patch(CLAIM, Key("a", "default"), grown)
    grown["spec"]["resources"]["requests"]["storage"] = "3Gi"
    store.patch(CLAIM, Key("a", "default"), grown)

    assert used(store) == {"requests.storage": "3Gi"}


def test_a_class_has_a_quota_of_its_own(store: Objects) -> None:
    hard = {"fast.storageclass.storage.k8s.io/requests.storage": "1Gi"}
    store.create(RESOURCE_QUOTA, builders.some(RESOURCE_QUOTA, "q", spec={"hard": hard}))

    store.create(CLAIM, builders.claim("a", "5Gi", storageClassName="slow"))
    with pytest.raises(Forbidden, match="exceeded quota"):
        store.create(CLAIM, builders.claim("b", "2Gi", storageClassName="fast"))


def test_any_kind_can_be_counted(store: Objects) -> None:
    hard = {"count/datavolumes.cdi.kubevirt.io": "1", "configmaps": "1"}
    store.create(RESOURCE_QUOTA, builders.some(RESOURCE_QUOTA, "q", spec={"hard": hard}))
    store.create(DATA_VOLUME, builders.data_volume("a"))

    with pytest.raises(
        Forbidden, match=r'datavolumes\.cdi\.kubevirt\.io "b" is forbidden: exceeded quota: q'
    ):
        store.create(DATA_VOLUME, builders.data_volume("b"))
    store.create(CONFIG_MAP, builders.config_map("a"))

    assert used(store) == {"count/datavolumes.cdi.kubevirt.io": "1", "configmaps": "1"}


def test_a_pod_that_is_over_makes_room(store: Objects) -> None:
    limit(store, pods="1")
    store.create(POD, builders.pod("a"))
    with pytest.raises(Forbidden, match=r"used: pods=1, limited: pods=1"):
        store.create(POD, builders.pod("b"))

    store.patch(POD, Key("a", "default"), {"status": {"phase": "Succeeded"}}, "status")

    assert used(store) == {"pods": "0"}
    store.create(POD, builders.pod("b"))


def test_what_goes_makes_room_and_another_namespace_takes_none(store: Objects) -> None:
    limit(store, configmaps="1")
    for _ in range(2):
        store.create(CONFIG_MAP, builders.config_map("a"))
        store.create(CONFIG_MAP, builders.some(CONFIG_MAP, "a", "kube-system"))
        for place in ("default", "kube-system"):
            store.delete(CONFIG_MAP, Key("a", place))

    assert used(store) == {"configmaps": "0"}


def test_a_quota_that_comes_late_counts_what_is_there(store: Objects) -> None:
    store.create(CLAIM, builders.claim("a", "2Gi"))

    limit(store, requests_storage="1Gi")

    assert used(store) == {"requests.storage": "2Gi"}
    store.patch(CLAIM, Key("a", "default"), {"metadata": {"labels": {"a": "b"}}})


def test_a_rehearsal_is_measured_and_takes_no_room(store: Objects) -> None:
    limit(store, configmaps="1")

    store.rehearsal().create(CONFIG_MAP, builders.config_map("a"))
    store.create(CONFIG_MAP, builders.config_map("a"))

    with pytest.raises(Forbidden):
        store.rehearsal().create(CONFIG_MAP, builders.config_map("b"))


def test_of_many_at_once_as_many_get_in_as_fit(store: Objects) -> None:
    limit(store, configmaps="5")
    outcomes: list[bool] = []

    def create(number: int) -> None:
        try:
            store.create(CONFIG_MAP, builders.config_map(f"c{number}"))
        except Forbidden:
            outcomes.append(False)
        else:
            outcomes.append(True)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert outcomes.count(True) == 5
    assert used(store) == {"configmaps": "5"}


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"hard": {"requests.cpu": "1"}}, "spec.hard[requests.cpu]"),
        ({"hard": {"pods": "-1"}}, "spec.hard[pods]"),
        ({"hard": {"pods": "many"}}, "spec.hard[pods]"),
        ({"hard": {"pods": "1"}, "scopes": ["BestEffort"]}, "spec.scopes"),
    ],
)
def test_a_quota_that_nobody_would_keep_is_refused(store: Objects, spec: Obj, field: str) -> None:
    with pytest.raises(Invalid) as caught:
        store.create(RESOURCE_QUOTA, builders.some(RESOURCE_QUOTA, "q", spec=spec))

    assert [cause.field for cause in caught.value.causes] == [field]
