"""Owners, namespaces and old Events, on a real store."""

from collections.abc import Iterator

import pytest

from diskyard.api import meta
from diskyard.api.meta import CONFIG_MAP, CRD, DATA_VOLUME, EVENT, NAMESPACE, POD, Key, Obj
from diskyard.errors import NotFound
from diskyard.kube.client import Deletion
from standalone.collect import Collector
from standalone.store.objects import Objects
from tests import builders
from tests.builders import eventually

ROOT, LEAF, TIP = (Key(name, "default") for name in ("root", "leaf", "tip"))


@pytest.fixture
def yard(store: Objects) -> Iterator[Objects]:
    collector = Collector(store)
    collector.start()
    yield store
    collector.close()


def owned(name: str, *owners: Obj, blocks: bool = True) -> Obj:
    references = [
        {**meta.owner_reference(CONFIG_MAP, owner), "blockOwnerDeletion": blocks} for owner in owners
    ]
    for reference in references[1:]:
        reference["controller"] = False
    return builders.some(CONFIG_MAP, name, metadata={"ownerReferences": references})


def family(yard: Objects) -> tuple[Obj, Obj]:
    root = yard.create(CONFIG_MAP, builders.config_map("root"))
    leaf = yard.create(CONFIG_MAP, owned("leaf", root))
    return root, yard.create(CONFIG_MAP, owned("tip", leaf))


def there(yard: Objects, *keys: Key) -> list[bool]:
    names = {meta.key(obj) for obj in yard.list(CONFIG_MAP).items}
    return [key in names for key in keys]


def test_what_is_owned_goes_with_its_owner_all_the_way_down(yard: Objects) -> None:
    family(yard)

    yard.delete(CONFIG_MAP, ROOT)

    assert eventually(lambda: not any(there(yard, LEAF, TIP)))


def test_what_never_had_its_owner_goes_too(yard: Objects) -> None:
    absent = builders.stored(builders.config_map("never"))

    yard.create(CONFIG_MAP, owned("leaf", absent))

    assert eventually(lambda: not any(there(yard, LEAF)))


def test_an_owner_of_the_same_name_but_another_life_does_not_count(yard: Objects) -> None:
    root, _ = family(yard)
    stale = builders.stored(root, "00000000-0000-4000-8000-000000000000")

    yard.create(CONFIG_MAP, owned("other", stale))

    assert eventually(lambda: not any(there(yard, Key("other", "default"))))
    assert all(there(yard, ROOT, LEAF, TIP))


def test_what_has_another_owner_left_stays_with_that_one(yard: Objects) -> None:
    root = yard.create(CONFIG_MAP, builders.config_map("root"))
    other = yard.create(CONFIG_MAP, builders.config_map("other"))
    yard.create(CONFIG_MAP, owned("leaf", root, other))

    yard.delete(CONFIG_MAP, ROOT)

    left = eventually(lambda: one_owner(yard.get(CONFIG_MAP, LEAF)))
    assert left == meta.uid(other)


def test_what_is_orphaned_stays(yard: Objects) -> None:
    family(yard)

    yard.delete(CONFIG_MAP, ROOT, Deletion(propagation="Orphan"))

    assert eventually(lambda: not any(there(yard, ROOT)))
    assert all(there(yard, LEAF, TIP))
    assert "ownerReferences" not in meta.meta(yard.get(CONFIG_MAP, LEAF))


def test_in_the_foreground_the_owner_goes_last(yard: Objects) -> None:
    root = yard.create(CONFIG_MAP, builders.config_map("root"))
    held = owned("leaf", root)
    held["metadata"]["finalizers"] = ["tests.example/hold"]
    yard.create(CONFIG_MAP, held)

    yard.delete(CONFIG_MAP, ROOT, Deletion(propagation="Foreground"))
    eventually(lambda: meta.deleting(yard.get(CONFIG_MAP, LEAF)))
    waiting = there(yard, ROOT)
    yard.patch(CONFIG_MAP, LEAF, {"metadata": {"finalizers": None}})

    assert waiting == [True]
    assert eventually(lambda: not any(there(yard, ROOT, LEAF)))


def test_an_owner_of_a_kind_that_is_not_served_is_left_alone(yard: Objects) -> None:
    family(yard)
    stranger = builders.some(CONFIG_MAP, "stranger")
    reference = {"apiVersion": "far.example/v1", "kind": "Thing", "name": "x", "uid": "1"}
    yard.create(CONFIG_MAP, stranger | {"metadata": {**stranger["metadata"], "ownerReferences": [reference]}})

    yard.delete(CONFIG_MAP, ROOT)
    eventually(lambda: not any(there(yard, LEAF, TIP)))

    assert all(there(yard, Key("stranger", "default")))


def test_a_namespace_takes_its_content_along(yard: Objects) -> None:
    yard.create(NAMESPACE, builders.namespace("place"))
    yard.create(CONFIG_MAP, builders.some(CONFIG_MAP, "one", "place"))
    pod = builders.pod("one")
    pod["metadata"]["namespace"] = "place"
    yard.create(POD, pod)

    yard.delete(NAMESPACE, Key("place"))

    assert eventually(lambda: gone(yard))
    assert there(yard, Key("one", "place")) == [False]


def test_a_namespace_waits_for_what_has_finalizers(yard: Objects) -> None:
    yard.create(NAMESPACE, builders.namespace("place"))
    yard.create(
        CONFIG_MAP, builders.some(CONFIG_MAP, "one", "place", metadata={"finalizers": ["tests.example/hold"]})
    )

    yard.delete(NAMESPACE, Key("place"))
    eventually(lambda: meta.deleting(yard.get(CONFIG_MAP, Key("one", "place"))))
    waiting = gone(yard)
    yard.patch(CONFIG_MAP, Key("one", "place"), {"metadata": {"finalizers": None}})

    assert not waiting
    assert eventually(lambda: gone(yard))


def test_a_namespace_says_what_it_waits_for(yard: Objects) -> None:
    yard.create(NAMESPACE, builders.namespace("place"))
    held = {"finalizers": ["tests.example/hold"]}
    yard.create(CONFIG_MAP, builders.some(CONFIG_MAP, "held", "place", metadata=held))

    yard.delete(NAMESPACE, Key("place"))

    def remaining(type_: str) -> str:
        condition = meta.condition(yard.get(NAMESPACE, Key("place")), type_)
        assert condition is not None
        assert condition["status"] == "True"
        return str(condition["message"])

    assert eventually(lambda: remaining("NamespaceContentRemaining")) == (
        "Some resources are remaining: configmaps. has 1 resource instances"
    )
    assert remaining("NamespaceFinalizersRemaining") == (
        "Some content in the namespace has finalizers remaining: tests.example/hold in 1 resource instances"
    )


def test_a_crd_takes_its_objects_along(yard: Objects) -> None:
    yard.create(DATA_VOLUME, builders.data_volume("one"))

    yard.delete(CRD, Key(DATA_VOLUME.resource))

    assert eventually(lambda: DATA_VOLUME not in [one.kind for one in yard.served()])


def test_an_old_event_is_forgotten(store: Objects) -> None:
    old = {"lastTimestamp": "2001-01-01T00:00:00Z", "involvedObject": {"namespace": "default"}}
    fresh = {"lastTimestamp": None, "involvedObject": {"namespace": "default"}}
    store.create(EVENT, builders.some(EVENT, "old", **old))
    store.create(EVENT, builders.some(EVENT, "fresh", **fresh))
    collector = Collector(store)

    collector.start()
    left = eventually(lambda: len(store.list(EVENT).items) == 1 and store.list(EVENT).items)
    collector.close()

    assert left
    assert meta.name(left[0]) == "fresh"


def one_owner(obj: Obj) -> str:
    owners = meta.meta(obj)["ownerReferences"]
    return owners[0]["uid"] if len(owners) == 1 else ""


def gone(yard: Objects) -> bool:
    try:
        yard.get(NAMESPACE, Key("place"))
    except NotFound:
        return True
    return False
