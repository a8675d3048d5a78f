"""A populator under anything that users, nodes, storage and crashes do to it, against a model of what must hold."""

import tempfile
from contextlib import ExitStack
from pathlib import Path

from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from hypothesis.strategies import integers, sampled_from

from datavolume_controller.progress import Scraper
from diskyard.api import meta
from diskyard.api.meta import CLAIM, IMPORT_SOURCE, POD, VOLUME, Key, Obj
from diskyard.api.names import cdi
from diskyard.kube.client import Deletion
from standalone.store.objects import Objects
from tests.datavolume_controller.conftest import RUNNING, ended
from tests.datavolume_controller.test_populators import DONE, FATAL, HERE, Play

MEMORY = Path("/dev/shm")


class Populator(RuleBasedStateMachine):
    """One claim; the model knows only what was done to it: what is wanted, what fills it, whether a node is chosen."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        folder = self.stack.enter_context(
            tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None)
        )
        store = self.stack.enter_context(Objects.open(Path(folder) / "store.db"))
        self.play = Play(store, self.stack.enter_context(Scraper(fetch=lambda _: "")))
        self.store = store
        self.wanted = False
        self.waits = False
        self.chosen = False
        self.filled = False
        self.clock = 0

    def teardown(self) -> None:
        self.stack.close()

    @initialize()
    def source_is_there(self) -> None:
        self.play.source()

    @precondition(lambda self: not self.wanted)
    @rule(storage_class=sampled_from(["local", "local-wait"]))
    def claim(self, storage_class: str) -> None:
        self.play.claim(storage_class)
        self.wanted, self.filled, self.chosen = True, False, False
        self.waits = storage_class == "local-wait"

    @precondition(lambda self: self.wanted)
    @rule()
    def claim_goes(self) -> None:
        self.store.delete(CLAIM, HERE)
        self.play.cluster.storage()
        self.wanted = self.filled = False

    @precondition(lambda self: self.wanted and self.waits)
    @rule()
    def scheduler_chooses(self) -> None:
        self.store.patch(CLAIM, HERE, {"metadata": {"annotations": {cdi.SELECTED_NODE: "node-1"}}})
        self.chosen = True

    @rule()
    def source_goes_and_comes(self) -> None:
        self.store.delete(IMPORT_SOURCE, Key("image", "default"))
        self.play.settle()
        self.play.source()

    @rule(end=sampled_from([RUNNING, ended(0, DONE), ended(1, FATAL)]))
    def importer_says(self, end: Obj) -> None:
        self.play.settle()
        if not self.store.list(POD).items:
            return
        self.clock += 1
        state = {
            kind: {**said, "finishedAt": f"2026-11-21T12:00:{self.clock % 60:02}Z"}
            for kind, said in end.items()
        }
        done = end.get("terminated", {}).get("exitCode") == 0
        self.play.report(state, "Succeeded" if done else "Running")
        self.filled = self.filled or done

    @rule(number=integers(0, 99))
    def user_asks_again(self, number: int) -> None:
        if self.wanted:
            self.store.patch(CLAIM, HERE, {"metadata": {"annotations": {cdi.RETRY: str(number)}}})

    @rule(kind=sampled_from([POD, CLAIM]))
    def somebody_deletes_what_works(self, kind: meta.Kind) -> None:
        for each in self.store.list(kind).items:
            if meta.key(each) != HERE:
                self.store.delete(kind, meta.key(each), Deletion(grace=0))

    @rule(actions=integers(1, 4))
    def controllers_die(self, actions: int) -> None:
        self.play.steps.cut = self.play.steps.done + actions
        self.play.steps.settle()

    @rule()
    def storage_is_quicker(self) -> None:
        self.play.cluster.storage()

    @rule()
    def everything_settles(self) -> None:
        self.play.settle()

    @invariant()
    def what_must_hold(self) -> None:
        claims = {meta.name(each): each for each in self.store.list(CLAIM).items if not meta.deleting(each)}
        target = claims.get("disk")
        if target is not None and meta.phase(target) == "Bound":
            assert self.filled, "bound to a volume that nobody filled"
            volume = self.store.get(VOLUME, Key(meta.spec(target)["volumeName"]))
            assert meta.spec(volume)["claimRef"]["uid"] == meta.uid(target)
            assert meta.annotations(target)[cdi.POD_PHASE] == "Succeeded"

    @rule()
    def in_the_end(self) -> None:
        """Nothing is left that nobody needs, and what is needed is there."""
        self.play.settle()
        claims = [meta.name(each) for each in self.store.list(CLAIM).items]
        primes = [name for name in claims if name.startswith("prime-")]
        ready = self.wanted and not self.filled and (self.chosen or not self.waits)
        assert len(primes) == (1 if ready else 0), claims
        assert ("disk" in claims) is self.wanted
        assert len(self.store.list(VOLUME).items) == (1 if ready or self.filled else 0)
        assert len(self.store.list(POD).items) <= len(primes)
        if self.filled:
            assert meta.phase(self.store.get(CLAIM, HERE)) == "Bound"


Populator.TestCase.settings = settings(max_examples=8, stateful_step_count=10, deadline=None)
TestPopulator = Populator.TestCase
