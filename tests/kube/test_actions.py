"""Actions: each can be carried out twice, and what is gone or there already does no harm."""

from diskyard.api import meta
from diskyard.api.meta import CLAIM, CONFIG_MAP, DATA_VOLUME, EVENT, POD, Key
from diskyard.kube.client import Deletion
from diskyard.kube.reconcile import Create, Delete, Merge, Tell, find, owners
from standalone.store.objects import Objects
from tests import builders

A = Key("a", "default")


def test_creating_twice_makes_one(store: Objects) -> None:
    create = Create(CONFIG_MAP, builders.config_map("a", x="1"))
    create.carry_out(store)
    create.carry_out(store)
    assert store.get(CONFIG_MAP, A)["data"] == {"x": "1"}


def test_changing_what_is_gone_is_fine(store: Objects) -> None:
    Merge(CONFIG_MAP, A, {"data": {"x": "1"}}).carry_out(store)
    assert find(store, CONFIG_MAP, A) is None


def test_deletes_exactly_the_object_that_was_seen(store: Objects) -> None:
    first = store.create(CONFIG_MAP, builders.config_map("a"))
    delete = Delete(CONFIG_MAP, A, Deletion(uid=meta.uid(first)))
    delete.carry_out(store)
    delete.carry_out(store)
    assert find(store, CONFIG_MAP, A) is None


def test_an_event_said_again_only_counts_up(store: Objects) -> None:
    about = store.create(CONFIG_MAP, builders.config_map("a"))
    for _ in range(3):
        Tell(CONFIG_MAP, about, "Reason", "what happened", warning=True).carry_out(store)
    event = store.list(EVENT).items[0]
    assert (event["count"], event["type"], event["message"]) == (3, "Warning", "what happened")
    assert event["involvedObject"]["uid"] == meta.uid(about)


def test_events_about_namesakes_are_told_apart(store: Objects) -> None:
    one = builders.stored(builders.config_map("a"), uid="1")
    other = builders.stored(builders.config_map("a"), uid="2")
    Tell(CONFIG_MAP, one, "Reason", "what happened").carry_out(store)
    Tell(CONFIG_MAP, other, "Reason", "what happened").carry_out(store)
    assert [each["count"] for each in store.list(EVENT).items] == [1, 1]


def test_an_owner_is_found_by_kind_and_group() -> None:
    claim = builders.stored(builders.claim("disk"))
    pod = builders.pod("importer-disk")
    pod["metadata"]["ownerReferences"] = [meta.owner_reference(CLAIM, claim)]
    assert list(owners(CLAIM)(pod)) == [Key("disk", "default")]
    assert list(owners(DATA_VOLUME)(pod)) == []
    assert list(owners(POD)(claim)) == []


def test_an_event_in_a_log_does_not_show_its_object() -> None:
    tell = Tell(CONFIG_MAP, builders.config_map("a", password="hunter2"), "Copied", "it has a copy")

    assert f"{tell}" == "Copied of configmap default/a: it has a copy"
