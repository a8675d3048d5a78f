"""What the cache holds while lists, watch events and our own writes arrive in any order."""

from typing import Any

import pytest

from diskyard.api.meta import CONFIG_MAP, Key, Obj
from diskyard.kube.cache import equalities
from diskyard.kube.client import Change, Listing, Selection
from diskyard.kube.memory import Index, Memory

A = Key("a", "here")


def obj(name: str = "a", version: int = 1, uid: str = "u1", **more: Any) -> Obj:
    named = {"name": name, "namespace": "here", "resourceVersion": str(version), "uid": uid}
    return {"metadata": named, **more}


def filled(*objects: Obj, version: int = 5) -> Memory:
    memory = Memory()
    list(memory.replace(Listing(objects, str(version))))
    return memory


def held(memory: Memory) -> int | None:
    found = memory.get(A)
    return int(found["metadata"]["resourceVersion"]) if found else None


def test_gives_copies():
    memory = filled(obj(spec={"size": 1}))
    found = memory.get(A)
    assert found is not None
    found["spec"]["size"] = 2
    assert memory.get(A) == obj(spec={"size": 1})


def test_takes_a_change_in():
    memory = filled(obj(version=1))
    assert memory.apply(Change("MODIFIED", obj(version=6))) == (obj(version=6), obj(version=1))
    assert held(memory) == 6


def test_lets_go_of_what_was_deleted():
    memory = filled(obj(version=1))
    memory.apply(Change("DELETED", obj(version=6)))
    assert held(memory) is None


def test_reads_its_own_writes_before_the_watch_brings_them():
    memory = filled(obj(version=1))
    memory.absorb(obj(version=6))
    assert held(memory) == 6


def test_an_older_event_does_not_undo_an_own_write():
    memory = filled(obj(version=1))
    memory.absorb(obj(version=8))
    memory.apply(Change("MODIFIED", obj(version=6)))
    assert held(memory) == 8


def test_an_own_write_that_comes_late_does_not_bring_a_deleted_object_back():
    memory = filled()
    memory.apply(Change("DELETED", obj(version=9)))
    memory.absorb(obj(version=8))
    assert held(memory) is None


def test_the_end_of_a_namesake_does_not_take_its_successor_away():
    memory = filled()
    memory.absorb(obj(version=9, uid="u2"))
    memory.apply(Change("DELETED", obj(version=8, uid="u1")))
    assert held(memory) == 9


def test_a_bookmark_only_moves_time():
    memory = filled(obj(version=1))
    assert memory.apply(Change("BOOKMARK", {"metadata": {"resourceVersion": "40"}})) == ()
    assert memory.listing(None, lambda _: True).resource_version == "40"


def test_listing_again_tells_what_came_what_changed_and_what_went():
    memory = filled(obj("gone", 1), obj("same", 2), obj("changed", 3))
    told = list(memory.replace(Listing((obj("same", 2), obj("changed", 7), obj("came", 8)), "9")))
    names = [(objects[0]["metadata"]["name"], len(objects)) for objects in told]
    assert names == [("gone", 1), ("changed", 2), ("came", 1)]


def test_what_we_wrote_after_the_list_survives_it():
    memory = filled()
    memory.absorb(obj(version=12))
    list(memory.replace(Listing((), "10")))
    assert held(memory) == 12


def test_lists_in_order_of_namespace_and_name():
    memory = filled(obj("c"), obj("a"), obj("b"))
    names = [each["metadata"]["name"] for each in memory.listing("here", lambda _: True).items]
    assert names == ["a", "b", "c"]
    assert memory.listing("elsewhere", lambda _: True).items == ()


@pytest.mark.parametrize(
    ("selection", "terms"),
    [
        (Selection(), []),
        (Selection(labels="app=x"), [(("metadata", "labels", "app"), "x")]),
        (Selection(labels="app==x"), [(("metadata", "labels", "app"), "x")]),
        (Selection(fields="spec.nodeName=n1"), [(("spec", "nodeName"), "n1")]),
        (Selection(labels="app!=x"), None),
        (Selection(labels="app in (x,y)"), None),
        (Selection(labels="app"), None),
    ],
)
def test_knows_which_selections_memory_can_answer(selection, terms):
    assert equalities(selection) == terms


def label(obj: Obj) -> list[Key]:
    found = obj["metadata"].get("labels", {}).get("of")
    return [Key(found)] if found else []


BY_LABEL = Index(CONFIG_MAP, label)


def labelled(name: str, of: str, version: int = 1) -> Obj:
    made = obj(name, version)
    made["metadata"]["labels"] = {"of": of}
    return made


def names(memory: Memory, of: str) -> list[str]:
    return [each["metadata"]["name"] for each in memory.by(BY_LABEL, Key(of))]


def test_an_index_finds_what_was_there_before_it_was_asked():
    memory = filled(labelled("b", "x"), labelled("a", "x"), labelled("c", "y"), obj("d"))
    assert names(memory, "x") == ["a", "b"]
    assert memory.counts(BY_LABEL) == {Key("x"): 2, Key("y"): 1}


def test_an_index_follows_changes_and_ends():
    memory = filled(labelled("a", "x"))
    assert names(memory, "x") == ["a"]
    memory.apply(Change("MODIFIED", labelled("a", "y", version=6)))
    assert (names(memory, "x"), names(memory, "y")) == ([], ["a"])
    memory.absorb(labelled("b", "y", version=7))
    memory.apply(Change("DELETED", labelled("a", "y", version=8)))
    assert names(memory, "y") == ["b"]
    list(memory.replace(Listing((), "9")))
    assert memory.counts(BY_LABEL) == {}


def test_leaves_out_who_wrote_which_field():
    memory = filled({"metadata": {**obj()["metadata"], "managedFields": [{"manager": "x"}]}})
    assert memory.get(A) == obj()
