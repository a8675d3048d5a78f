"""Reconcilers at work: woken by watches, cut off from the server, failing, woken by hand, stopped."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import pytest

from diskyard.api import meta
from diskyard.api.meta import CONFIG_MAP, EVENT, NAMESPACE, RESOURCE_QUOTA, SECRET, Key, Kind, Obj
from diskyard.errors import Conflict, NotFound, ServerError
from diskyard.kube.cache import Cache, CachedClient, WriteThrough, counts_by, found_by
from diskyard.kube.client import Client, Selection
from diskyard.kube.controller import Controllers
from diskyard.kube.memory import Index
from diskyard.kube.reconcile import Action, Create, Merge, Plan, Tell, everything, same_name, short
from standalone.store.objects import Objects
from tests import builders
from tests.builders import eventually
from tests.kube.outage import Link

A = Key("a", "default")


@dataclass
class Copies:
    """Keeps a Secret beside each ConfigMap, with the same entries; counts how often it looked."""

    kind: Kind = CONFIG_MAP
    wakes: Mapping[Kind, Callable[[Obj], Iterable[Key]]] = field(
        default_factory=lambda: {SECRET: same_name, NAMESPACE: everything}
    )
    looked: list[Key] = field(default_factory=list)
    troubles: list[Exception] = field(default_factory=list)

    def gather(self, client: Client, key: Key) -> tuple[Obj, Obj | None] | None:
        self.looked.append(key)
        if self.troubles:
            raise self.troubles.pop()
        try:
            original = client.get(CONFIG_MAP, key)
        except NotFound:
            return None
        copies = client.list(SECRET, Selection(namespace=key.namespace, fields=f"metadata.name={key.name}"))
        return original, next(iter(copies.items), None)

    def has_looked(self, times: int) -> bool:
        return len(self.looked) >= times

    def decide(self, world: tuple[Obj, Obj | None]) -> Plan:
        original, copy = world
        wanted = original.get("data") or {}
        actions: tuple[Action, ...] = ()
        if copy is None:
            actions = (Create(SECRET, builders.secret(meta.name(original), **wanted)),)
        elif meta.annotations(copy) != wanted:
            actions = (Merge(SECRET, meta.key(copy), {"metadata": {"annotations": wanted}}),)
        return Plan(actions)


@contextmanager
def running(client: Client, *reconcilers: Copies) -> Iterator[Controllers]:
    controllers = Controllers(client, reconcilers)
    controllers.start()
    try:
        yield controllers
    finally:
        controllers.stop()


def copied(store: Objects, name: str = "a") -> Obj | None:
    try:
        return store.get(SECRET, Key(name, "default"))
    except NotFound:
        return None


class Teller(Copies):
    """Says first what it does."""

    def decide(self, world: tuple[Obj, Obj | None]) -> Plan:
        told = Tell(CONFIG_MAP, world[0], "Copied", "it has a copy")
        return Plan((told, *super().decide(world).actions))


class Deaf(Link):
    """A server that takes no events."""

    def create(self, kind: Kind, obj: Obj, subresource: str = "") -> Obj:
        if kind == EVENT:
            raise ServerError("not now")
        return super().create(kind, obj, subresource)


def test_what_is_to_be_done_does_not_wait_for_its_event(store: Objects) -> None:
    store.create(CONFIG_MAP, builders.config_map("a"))
    with running(Deaf(store), Teller()):
        assert eventually(lambda: copied(store), 60)


def test_does_what_is_missing_for_what_was_there_before(store: Objects) -> None:
    store.create(CONFIG_MAP, builders.config_map("a"))
    with running(store, Copies()):
        assert eventually(lambda: copied(store))


def test_does_what_a_change_calls_for(store: Objects) -> None:
    with running(store, Copies()) as controllers:
        assert controllers.wait(60)
        store.create(CONFIG_MAP, builders.config_map("a", x="1"))
        assert eventually(lambda: meta.annotations(copied(store) or {}) == {"x": "1"})


def test_repairs_what_someone_took_away(store: Objects) -> None:
    store.create(CONFIG_MAP, builders.config_map("a"))
    with running(store, Copies()):
        first = eventually(lambda: copied(store))
        store.delete(SECRET, A)
        assert eventually(lambda: meta.uid(copied(store) or {}) not in ("", meta.uid(first)))


def test_every_root_is_looked_at_when_a_setting_changes(store: Objects) -> None:
    copies = Copies()
    for name in ("a", "b"):
        store.create(CONFIG_MAP, builders.config_map(name))
    with running(store, copies):
        eventually(lambda: copied(store, "a") and copied(store, "b"))
        before = len(copies.looked)
        store.create(NAMESPACE, builders.namespace("other"))
        eventually(lambda: {key.name for key in copies.looked[before:]} >= {"a", "b"})


def test_facts_from_outside_wake_a_key(store: Objects) -> None:
    copies = Copies()
    with running(store, copies) as controllers:
        controllers.wait(60)
        controllers.wake(CONFIG_MAP, Key("nobody", "default"))
        eventually(lambda: Key("nobody", "default") in copies.looked)


@pytest.mark.parametrize(
    "trouble",
    [Conflict("moved on"), ServerError("down"), ValueError("a bug")],
    ids=["conflict", "server", "bug"],
)
def test_tries_again_after_trouble(store: Objects, trouble: Exception) -> None:
    copies = Copies(troubles=[trouble, trouble])
    store.create(CONFIG_MAP, builders.config_map("a"))
    with running(store, copies):
        assert eventually(lambda: copied(store))
    assert not copies.troubles


def test_who_was_refused_by_a_quota_tries_again_whenever_it_leaves_more(store: Objects) -> None:
    limits = {"secrets": "0", "services": "0"}
    store.create(RESOURCE_QUOTA, builders.some(RESOURCE_QUOTA, "few", spec={"hard": limits}))
    store.create(CONFIG_MAP, builders.config_map("a"))
    copies = Copies(wakes={RESOURCE_QUOTA: short})
    with running(store, copies):
        for number in range(1, 20):  # by the back-off alone they take a quarter of an hour
            eventually(partial(copies.has_looked, number))
            store.patch(RESOURCE_QUOTA, Key("few", "default"), {"spec": {"hard": {"services": str(number)}}})
        assert copied(store) is None

        store.patch(RESOURCE_QUOTA, Key("few", "default"), {"spec": {"hard": {"secrets": "1"}}})

        assert eventually(lambda: copied(store))


def test_one_reconcilers_trouble_does_not_hold_others_up(store: Objects) -> None:
    def broken(_: Obj) -> Sequence[Key]:
        raise ValueError("a bug")

    store.create(CONFIG_MAP, builders.config_map("a"))
    with running(store, Copies(wakes={SECRET: broken}), Copies()):
        assert eventually(lambda: copied(store))


def test_goes_on_where_it_was_when_the_server_comes_back(store: Objects) -> None:
    link = Link(store)
    with running(link, Copies()) as controllers:
        controllers.wait(60)
        lists = link.lists
        link.cut()
        store.create(CONFIG_MAP, builders.config_map("a"))
        link.mend()
        assert eventually(lambda: copied(store))
        assert link.lists == lists


def test_lists_again_when_the_server_has_forgotten_where_it_was(store: Objects) -> None:
    link = Link(store)
    store.create(CONFIG_MAP, builders.config_map("a"))
    with running(link, Copies()):
        eventually(lambda: copied(store))
        link.cut()
        store.create(CONFIG_MAP, builders.config_map("b"))
        store.delete(CONFIG_MAP, A)
        link.forgets = True
        link.mend()
        assert eventually(lambda: copied(store, "b"))


def test_stops_while_the_server_is_out_of_reach(store: Objects) -> None:
    link = Link(store)
    link.cut()
    others = {*threading.enumerate()}  # a yard that other tests share may run beside
    controllers = Controllers(link, [Copies()])
    controllers.start()
    controllers.stop()
    left = {*threading.enumerate()} - others
    assert not [each for each in left if each.name.startswith(("copies", "watch-configmaps"))]


def test_what_was_written_through_is_read_at_once(store: Objects) -> None:
    cache = Cache(store, [CONFIG_MAP], lambda _kind, _objects: None)
    cache.start()
    try:
        assert cache.wait(60)
        server = WriteThrough(store, cache)
        server.create(CONFIG_MAP, builders.config_map("a", x="1"))
        assert CachedClient(server, cache).get(CONFIG_MAP, A)["data"] == {"x": "1"}
        server.patch(CONFIG_MAP, A, {"data": {"x": "2"}})
        assert CachedClient(server, cache).get(CONFIG_MAP, A)["data"] == {"x": "2"}
    finally:
        cache.stop()


def test_kinds_that_nobody_watches_are_asked_of_the_server(store: Objects) -> None:
    cache = Cache(store, [CONFIG_MAP], lambda _kind, _objects: None)
    client = CachedClient(store, cache)
    store.create(SECRET, builders.secret("a"))
    assert meta.name(client.get(SECRET, A)) == "a"
    assert [meta.name(each) for each in client.list(SECRET).items] == ["a"]


def test_a_kind_that_the_server_does_not_know_holds_nobody_up(store: Objects) -> None:
    unknown = Kind("snapshot.example", "v1", "Snapshot", "snapshots")
    store.create(CONFIG_MAP, builders.config_map("a"))
    with running(store, Copies(wakes={unknown: same_name})):
        assert eventually(lambda: copied(store))


def test_what_is_not_watched_is_found_by_an_index_all_the_same(store: Objects) -> None:
    store.create(CONFIG_MAP, builders.config_map("a"))
    by_name = Index(CONFIG_MAP, same_name)
    cache = Cache(store, [], lambda _kind, _objects: None)
    client = CachedClient(store, cache)
    assert [meta.key(each) for each in found_by(client, by_name, A)] == [A]
    assert counts_by(client, by_name)[A] == 1
