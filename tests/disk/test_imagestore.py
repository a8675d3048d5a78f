"""The store of images: one transfer, many uses, and nothing is lost or mixed up by a kill at any step."""

import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from diskyard.disk.imagestore import Fill, ImageStore
from diskyard.disk.probe import Format
from diskyard.disk.stored import Identity
from diskyard.disk.target import Result, Target
from diskyard.errors import InvalidRequest, NoSpace, SourceUnavailable
from tests.builders import eventually

ONE: Final = Identity("docker://images.example/one", "sha256:1")
STEPS: Final = frozenset(
    {"open", "os.rename", "os.link", "os.mkdir", "os.remove", "os.rmdir", "os.chmod", "os.utime"}
)
"""What Python tells its audit hooks of: every change of a file system, and files being opened."""


def content(what: Identity) -> bytes:
    return what.digest.encode().ljust(70_000, b".") + bytes(200_000)


def bring(what: Identity) -> Fill:
    """Fetches an image as ingest does: it takes its name when it is whole."""

    def fill(target: Target) -> Result:
        target.part.write_bytes(content(what))
        target.part.rename(target.path)
        return Result(Format.RAW, len(content(what)), 1, 1, "", labels={"os": "one"})

    return fill


def unwanted(_: Target) -> Result:
    raise AssertionError("it is in the store, and was fetched again")


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path / "images")


def test_an_image_is_fetched_once_and_leased_by_many(store: ImageStore) -> None:
    store.lease(ONE, "a", "default/a", bring(ONE))
    got = store.lease(ONE, "b", "default/b", unwanted)

    files = [store.leased(holder).stat() for holder in "ab"]
    assert got is not None
    assert (got[1], got[0].labels) == (None, {"os": "one"})
    assert os.path.samestat(*files)
    assert store.leased("b").read_bytes() == content(ONE)
    assert [each.users for each in store.found()] == [("default/a", "default/b")]


def test_what_is_not_there_is_said_so_where_nothing_fetches_it(store: ImageStore) -> None:
    assert store.lease(ONE, "a", "") is None
    assert store.opened(ONE) is None
    assert not store.leased("a").exists()


@pytest.mark.parametrize("holder", ["", "../a", "a/b", ".a", "a" * 256])
def test_a_lease_has_a_plain_name(store: ImageStore, holder: str) -> None:
    with pytest.raises(InvalidRequest, match="plain name of a lease"):
        store.lease(ONE, holder, "", bring(ONE))


def test_two_who_ask_at_the_same_moment_share_one_transfer(store: ImageStore) -> None:
    entered, go, fetched = threading.Event(), threading.Event(), []

    def slow(target: Target) -> Result:
        fetched.append(target)
        entered.set()
        go.wait(60)
        return bring(ONE)(target)

    threads = [threading.Thread(target=store.lease, args=(ONE, name, "", slow)) for name in "abc"]
    threads[0].start()
    assert entered.wait(60)
    for thread in threads[1:]:
        thread.start()
    go.set()
    for thread in threads:
        thread.join(60)

    assert len(fetched) == 1
    assert {store.leased(name).stat().st_ino for name in "abc"} == {store.leased("a").stat().st_ino}


def test_where_the_first_fails_the_next_one_fetches(store: ImageStore) -> None:
    def broken(_: Target) -> Result:
        raise SourceUnavailable("no connection")

    with pytest.raises(SourceUnavailable):
        store.lease(ONE, "a", "", broken)

    assert store.lease(ONE, "a", "", bring(ONE)) is not None
    assert not list((store.folder / "incoming").iterdir())


def test_a_changed_image_is_never_used(store: ImageStore) -> None:
    store.lease(ONE, "a", "", bring(ONE))
    store.release("a")
    disk = next((store.folder / "images").glob("*/disk.img"))
    disk.chmod(0o600)
    with disk.open("r+b") as file:
        file.write(b"X")

    assert store.lease(ONE, "b", "") is None
    assert store.lease(ONE, "b", "", bring(ONE)) is not None
    assert store.leased("b").read_bytes() == content(ONE)


def test_an_image_whose_file_looks_different_is_read_before_it_is_used(store: ImageStore) -> None:
    store.lease(ONE, "a", "", bring(ONE))
    disk = next((store.folder / "images").glob("*/disk.img"))
    os.utime(disk, (1, 1))

    assert store.lease(ONE, "b", "", unwanted) is not None


def test_eviction_takes_what_nobody_holds_the_oldest_first(store: ImageStore) -> None:
    images = [Identity("docker://images.example/i", f"sha256:{n}") for n in range(4)]
    for age, what in enumerate(images):
        store.lease(what, what.digest.replace(":", ""), "", bring(what))
        about = store.folder / "images" / what.key / "about.json"
        os.utime(about, (1_000 + age, 1_000 + age))
    for what in images[1:]:
        store.release(what.digest.replace(":", ""))

    gone = store.evict(age=1e12, enough=lambda: len(store.found()) <= 3)

    assert [each.identity for each in gone] == [images[1]]
    assert {each.identity for each in store.evict(age=60)} == set(images[2:])
    assert [each.entry.identity for each in store.found()] == [images[0]]


def test_who_copies_an_image_keeps_it_while_it_is_evicted(store: ImageStore) -> None:
    got = store.opened(ONE, bring(ONE))
    assert got is not None

    assert store.evict(age=-1) != []

    buf = memoryview(bytearray(10))
    got[2].preadinto(buf, 0)
    got[2].close()
    assert bytes(buf) == content(ONE)[:10]


def test_a_full_disk_costs_images_that_nobody_uses_and_is_said_with_numbers(store: ImageStore) -> None:
    other = Identity("docker://images.example/other", "sha256:2")
    got = store.opened(other, bring(other))
    assert got is not None
    got[2].close()

    def full(_: Target) -> Result:
        raise NoSpace("no space left on device while writing")

    with pytest.raises(
        NoSpace, match=r"has no room: \d+ bytes may be used, and 0 images that are in use take 0"
    ):
        store.lease(ONE, "a", "", full)
    assert store.found() == []


def test_a_name_is_remembered_for_who_asked(store: ImageStore) -> None:
    store.remember("one tenant's name", ONE)

    assert store.recalled("one tenant's name") == ONE
    assert store.recalled("another's name") is None


def test_leases_of_guests_that_are_gone_end(store: ImageStore) -> None:
    for name in ("a", "b"):
        store.lease(ONE, name, name, bring(ONE))

    store.tidy(alive=lambda holder: holder == "b")

    assert [each.users for each in store.found()] == [("b",)]


def killed(step: int, act: Callable[[], object]) -> bool:
    """Do something in a process that is killed before that step; whether it was."""
    child = os.fork()
    if child == 0:
        try:
            _count(step)
            act()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def _count(step: int) -> None:
    left = [step]

    def hook(event: str, _: Any) -> None:
        if event in STEPS:
            left[0] -= 1
            if left[0] < 0:
                os._exit(9)

    sys.addaudithook(hook)


IMAGES: Final = [Identity("docker://images.example/i", f"sha256:{n}") for n in range(3)]
HOLDERS: Final = ("a", "b", "c")
images = st.sampled_from(IMAGES)
holders = st.sampled_from(HOLDERS)
steps = st.integers(0, 45)


class Model(RuleBasedStateMachine):
    """Leases as they should be; what a killed process was about to change may be either way."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="diskyard-images-"))
        self.store = ImageStore(self.folder)
        self.leases: dict[str, Identity] = {}
        self.unsure: set[str] = set()

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    @rule(what=images, holder=holders)
    def lease(self, what: Identity, holder: str) -> None:
        there = any(each.entry.identity == what for each in self.store.found())
        assert self.store.lease(what, holder, holder, unwanted if there else bring(what)) is not None
        self.leases[holder] = what
        self.unsure.discard(holder)

    @rule(holder=holders)
    def release(self, holder: str) -> None:
        self.store.release(holder)
        self.leases.pop(holder, None)
        self.unsure.discard(holder)

    @rule()
    def evict(self) -> None:
        held = {what for holder, what in self.leases.items() if holder not in self.unsure}
        gone = {each.identity for each in self.store.evict(age=-1)}
        assert not gone & held

    @rule(step=steps, what=images, holder=holders)
    def killed_at_a_lease(self, step: int, what: Identity, holder: str) -> None:
        killed(step, lambda: self.store.lease(what, holder, holder, bring(what)))
        self.unsure.add(holder)

    @rule(step=steps, holder=holders)
    def killed_at_a_release(self, step: int, holder: str) -> None:
        killed(step, lambda: self.store.release(holder))
        self.unsure.add(holder)

    @rule(step=steps)
    def killed_at_an_eviction(self, step: int) -> None:
        killed(step, lambda: self.store.evict(age=-1))

    @precondition(lambda self: self.unsure)
    @rule(step=steps)
    def killed_while_tidying(self, step: int) -> None:
        killed(step, lambda: self.store.tidy(lambda holder: holder in self.leases, age=-1))

    @rule()
    def tidy(self) -> None:
        for holder in self.unsure:
            self.leases.pop(holder, None)
        self.unsure.clear()
        self.store.tidy(lambda holder: holder in self.leases, age=-1)
        assert {path.name for path in (self.folder / "leases").iterdir()} == set(self.leases)
        assert not list((self.folder / "incoming").iterdir())
        assert not list(self.folder.glob("*/.*"))

    @invariant()
    def leases_hold(self) -> None:
        for holder, what in self.leases.items():
            if holder not in self.unsure:
                same = self.store.leased(holder).read_bytes() == content(what)
                assert same, holder

    @invariant()
    def nothing_is_half_there(self) -> None:
        for holder in self.unsure:
            if self.store.leased(holder).exists():
                whole = self.store.leased(holder).read_bytes() in [content(what) for what in IMAGES]
                assert whole, holder


Model.TestCase.settings = settings(max_examples=12, stateful_step_count=15, deadline=None)
TestModel = Model.TestCase


def test_a_kill_of_the_one_who_fetches_lets_the_waiting_one_go_on(store: ImageStore) -> None:
    entered = store.folder / "entered"

    def hangs(_: Target) -> Result:
        entered.touch()
        threading.Event().wait()
        raise AssertionError("it was to be killed")

    child = os.fork()
    if child == 0:
        try:
            store.lease(ONE, "a", "", hangs)
        finally:
            os._exit(0)
    eventually(entered.exists)
    waiting = threading.Thread(target=store.lease, args=(ONE, "b", "", bring(ONE)))
    waiting.start()

    os.kill(child, 9)
    os.waitpid(child, 0)
    waiting.join(60)

    assert store.leased("b").read_bytes() == content(ONE)
