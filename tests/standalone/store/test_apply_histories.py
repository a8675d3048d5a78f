"""Server-side apply against a model: whoever does what, each field has exactly the owners and the value it should."""

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from diskyard.api import meta
from diskyard.api.meta import CONFIG_MAP, Key, Obj
from diskyard.errors import Conflict
from standalone.store import fields
from standalone.store.objects import Objects
from tests import builders

AUTHORS = st.sampled_from(["ann", "ben", "cid"])
ENTRIES = st.dictionaries(st.sampled_from("wxyz"), st.sampled_from("12"), max_size=4)
KEY = Key("one", "default")


class Shared(RuleBasedStateMachine):
    """A ConfigMap that several programs apply and edit."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.store = Objects.open(Path(self.folder.name) / "store.db")
        self.values: dict[str, str] = {"kept": "1"}
        self.owners: dict[str, set[str]] = {"kept": {"root Apply"}}
        self.store.acting("root").apply(CONFIG_MAP, self.wish(self.values))

    @rule(author=AUTHORS, entries=ENTRIES, force=st.booleans())
    def apply(self, author: str, entries: dict[str, str], force: bool) -> None:
        me = f"{author} Apply"
        disputed = {
            (name, owner.split()[0])
            for name, value in entries.items()
            if name in self.values and self.values[name] != value
            for owner in self.owners[name] - {me}
        }
        try:
            self.store.acting(author).apply(CONFIG_MAP, self.wish(entries), force=force)
        except Conflict as error:
            told = {
                (cause.field.removeprefix(".data."), cause.message.split('"')[1]) for cause in error.causes
            }
            assert not force
            assert told == disputed
            return
        assert force or not disputed
        for name, value in entries.items():
            held = self.owners.get(name, set()) if self.values.get(name) == value else set()
            self.values[name], self.owners[name] = value, held | {me}
        for name in [name for name, owners in self.owners.items() if me in owners and name not in entries]:
            self.owners[name] -= {me}
            if not self.owners[name]:
                del self.owners[name], self.values[name]

    @rule(author=AUTHORS, entries=ENTRIES)
    def edit(self, author: str, entries: dict[str, str]) -> None:
        self.store.acting(author).patch(CONFIG_MAP, KEY, {"data": entries})
        for name, value in entries.items():
            if self.values.get(name) != value:
                self.values[name], self.owners[name] = value, {f"{author} Update"}

    @rule(author=AUTHORS, name=st.sampled_from("wxyz"))
    def remove(self, author: str, name: str) -> None:
        self.store.acting(author).patch(CONFIG_MAP, KEY, {"data": {name: None}})
        self.values.pop(name, None)
        self.owners.pop(name, None)

    @invariant()
    def every_field_has_its_value_and_its_owners(self) -> None:
        if not hasattr(self, "store"):
            return
        obj = self.store.get(CONFIG_MAP, KEY)
        found: dict[str, set[str]] = {}
        for entry in meta.meta(obj)["managedFields"]:
            for path in fields.read(entry["fieldsV1"]):
                if len(path) == 2:
                    found.setdefault(path[1][2:], set()).add(f"{entry['manager']} {entry['operation']}")
        assert obj["data"] == self.values
        assert found == self.owners

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            self.folder.cleanup()

    @staticmethod
    def wish(entries: dict[str, str]) -> Obj:
        return builders.some(CONFIG_MAP, "one", **({"data": entries} if entries else {}))


TestShared = Shared.TestCase
TestShared.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, derandomize=True, database=None
)
