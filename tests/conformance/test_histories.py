"""Long random histories: the server against a model of a few lines, and a watcher that is cut and resumes."""

import itertools
import threading
from dataclasses import dataclass, field

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from diskyard.api import meta
from diskyard.api.meta import CONFIG_MAP, NAMESPACE, Key, Obj
from diskyard.errors import AlreadyExists, Conflict, NotFound
from diskyard.kube.client import Client, Selection
from tests import builders

HOLD = "tests.example/hold"
NAMES = st.sampled_from("abc")
VALUES = st.sampled_from(["1", "2"])
_numbers = itertools.count(1)


def told_revision(type_: str, obj: Obj) -> str:
    """The revision of a change; none of a deletion: a server may answer that with no more than "Success"."""
    return "" if type_ == "DELETED" else str(meta.meta(obj)["resourceVersion"])


@dataclass
class Expected:
    """What the server must hold and must have told."""

    objects: dict[str, Obj] = field(default_factory=dict)
    told: list[tuple[str, str, str]] = field(default_factory=list)

    def now(self, type_: str, obj: Obj) -> None:
        self.told.append((type_, meta.name(obj), meta.meta(obj)["resourceVersion"]))
        self.objects[meta.name(obj)] = obj

    def gone(self, name: str) -> None:
        # A server that answers a deletion with "Success" tells its revision to watchers only.
        self.told.append(("DELETED", name, ""))
        del self.objects[name]


class History(RuleBasedStateMachine):
    """Two clients write, each with what it last read; a watcher looks in now and then."""

    client: Client

    @initialize()
    def begin(self) -> None:
        self.place = f"history-{next(_numbers)}"
        self.client.create(NAMESPACE, builders.namespace(self.place))
        self.since = self.client.list(CONFIG_MAP, Selection(self.place)).resource_version
        self.expected = Expected()
        self.read: tuple[dict[str, Obj], dict[str, Obj]] = ({}, {})
        self.told: list[tuple[str, str, str]] = []

    @rule(name=NAMES, held=st.booleans())
    def create(self, name: str, held: bool) -> None:
        asked = builders.some(CONFIG_MAP, name, self.place, data={"value": "0"})
        asked["metadata"] |= {"finalizers": [HOLD]} if held else {}
        try:
            self.expected.now("ADDED", self.client.create(CONFIG_MAP, asked))
        except AlreadyExists:
            assert name in self.expected.objects

    @rule(name=NAMES, who=st.integers(0, 1))
    def get(self, name: str, who: int) -> None:
        try:
            found = self.client.get(CONFIG_MAP, self.key(name))
        except NotFound:
            assert name not in self.expected.objects
            return
        assert found == self.expected.objects[name]
        self.read[who][name] = found

    @rule(name=NAMES, who=st.integers(0, 1), value=VALUES)
    def update(self, name: str, who: int, value: str) -> None:
        if name not in self.read[who]:
            return
        asked = {**self.read[who][name], "data": {"value": value}}
        current = self.expected.objects.get(name)
        try:
            after = self.client.update(CONFIG_MAP, asked)
        except NotFound:
            assert current is None
        except Conflict:
            assert current is not None
            assert self.version(current) != self.version(asked)
        else:
            assert current is not None
            assert self.version(current) == self.version(asked)
            self.changed(current, after, asked["data"])
            self.read[who][name] = after

    @rule(name=NAMES, value=VALUES)
    def patch(self, name: str, value: str) -> None:
        current = self.expected.objects.get(name)
        try:
            after = self.client.patch(CONFIG_MAP, self.key(name), {"data": {"value": value}})
        except NotFound:
            assert current is None
        else:
            assert current is not None
            self.changed(current, after, {"value": value})

    @rule(name=NAMES)
    def let_go(self, name: str) -> None:
        current = self.expected.objects.get(name)
        if current is None or not meta.meta(current).get("finalizers"):
            return
        after = self.client.patch(CONFIG_MAP, self.key(name), {"metadata": {"finalizers": None}})
        if meta.deleting(current):
            self.expected.gone(name)
        else:
            self.expected.now("MODIFIED", after)

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        current = self.expected.objects.get(name)
        try:
            after = self.client.delete(CONFIG_MAP, self.key(name))
        except NotFound:
            assert current is None
            return
        assert current is not None
        if not meta.meta(current).get("finalizers"):
            self.expected.gone(name)
        elif not meta.deleting(current):
            assert meta.deleting(after)
            self.expected.now("MODIFIED", after)

    @rule()
    def look_in(self) -> None:
        """Resume the watch, read up to a marker, and be cut again."""
        marker = self.client.create(
            CONFIG_MAP, builders.some(CONFIG_MAP, f"marker-{next(_numbers)}", self.place)
        )
        watch = self.client.watch(CONFIG_MAP, self.since, Selection(self.place))
        for change in watch:
            assert int(self.version(change.obj)) >= int(self.since) + (change.type != "BOOKMARK")
            self.since = self.version(change.obj)
            if meta.name(change.obj) == meta.name(marker):
                break
            if change.type == "DELETED":
                self.told.append((change.type, meta.name(change.obj), ""))
            elif change.type != "BOOKMARK":
                self.told.append((change.type, meta.name(change.obj), told_revision(change.type, change.obj)))
        watch.close()
        self.client.delete(CONFIG_MAP, self.key(meta.name(marker)))

    def teardown(self) -> None:
        if not hasattr(self, "expected"):
            return
        self.look_in()
        assert [one for one in self.told if not one[1].startswith("marker")] == self.expected.told

    def changed(self, before: Obj, after: Obj, wanted: Obj) -> None:
        assert after["data"] == wanted
        if after["data"] == before["data"]:
            assert after == before
        else:
            self.expected.now("MODIFIED", after)

    def key(self, name: str) -> Key:
        return Key(name, self.place)

    @staticmethod
    def version(obj: Obj) -> str:
        return str(meta.meta(obj)["resourceVersion"])


def test_any_history_ends_as_the_model_says_and_is_told_in_full(client: Client) -> None:
    machine = type("HistoryOfOneClient", (History,), {"client": client})

    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=20,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_a_watcher_that_is_cut_while_others_write_misses_nothing(client: Client, place: str) -> None:
    writes, writers = 30, 3
    since = client.list(CONFIG_MAP).resource_version

    def write(number: int) -> None:
        client.create(CONFIG_MAP, builders.some(CONFIG_MAP, f"c{number}", place, data={"i": "0"}))
        for i in range(1, writes):
            client.patch(CONFIG_MAP, Key(f"c{number}", place), {"data": {"i": str(i)}})

    threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
    for thread in threads:
        thread.start()
    seen: dict[str, list[int]] = {}
    while sum(map(len, seen.values())) < writes * writers:
        watch = client.watch(CONFIG_MAP, since, Selection(place))
        for change in itertools.islice(watch, 7):
            since = meta.meta(change.obj)["resourceVersion"]
            if change.type != "BOOKMARK":
                seen.setdefault(meta.name(change.obj), []).append(int(change.obj["data"]["i"]))
            if sum(map(len, seen.values())) == writes * writers:
                break
        watch.close()
    for thread in threads:
        thread.join()

    assert seen == {f"c{number}": list(range(writes)) for number in range(writers)}
