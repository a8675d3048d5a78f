"""kill -9 while sixteen clients write and others watch: what was acknowledged is there, and every change is told once.

The truth is the log of writes in the yard's own store, read when all is over. Watchers do as informers do: list, watch,
and after every cut watch again from what they saw last. They are cut at random bytes, and by the server's deaths.
"""

import base64
import json
import random
import sqlite3
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import urllib3
import yaml

from diskyard.api import meta
from diskyard.api.meta import CONFIG_MAP, Key
from diskyard.errors import ApiError
from diskyard.kube.client import Client, Selection
from diskyard.kube.http import connect
from tests import builders
from tests.builders import eventually
from tests.flows.yard import Yard, sweep

pytestmark = pytest.mark.xdist_group("durability")

WRITERS, WATCHERS = 16, 3
ENOUGH = 160
IN_DEFAULT = Selection("default")
MAPS = "/api/v1/namespaces/default/configmaps"
LAST = "the-last"
"""What is written when all else is over: who has seen it has seen everything."""
_LOGGED = """
SELECT revision, previous, gone, name FROM log
WHERE resource = 'configmaps' AND namespace = 'default' ORDER BY revision
"""


@dataclass
class Written:
    """What the writers of all lives of a server were told."""

    acknowledged: list[tuple[str, str]] = field(default_factory=list)
    """Names and revisions."""

    def note(self, obj: Any) -> None:
        self.acknowledged.append((meta.name(obj), meta.meta(obj)["resourceVersion"]))


class Watcher(threading.Thread):
    """An informer with bad luck: its connection ends again and again, at any byte."""

    def __init__(self, kubeconfig: Path, seed: int) -> None:
        super().__init__(daemon=True)
        self._kubeconfig = kubeconfig
        self._chance = random.Random(seed)
        self._over = threading.Event()
        self.listed: dict[str, str] = {}
        """Names and revisions at the beginning."""
        self.since = ""
        self.cuts = 0
        self.changes: list[tuple[str, str, str]] = []
        """Type, name, revision."""

    def run(self) -> None:
        """Follow until the last change, or until it is told that none will come."""
        with closing(connect(self._kubeconfig)) as client:
            listing = client.list(CONFIG_MAP, IN_DEFAULT)
        self.since = listing.resource_version
        self.listed = {meta.name(one): meta.meta(one)["resourceVersion"] for one in listing.items}
        while not self._over.is_set() and not any(name == LAST for _, name, _ in self.changes):
            self._look(self._chance.randrange(1, 60_000))

    def stop(self) -> None:
        """Follow no longer."""
        self._over.set()
        self.join(120)

    def _look(self, most: int) -> None:
        """One watch, until so many bytes have come or nothing more does."""
        seen, come = b"", 0
        try:
            for piece in self._bytes(self.changes[-1][2] if self.changes else self.since):
                come += len(piece)
                seen += piece[: len(piece) - max(0, come - most)]
                *lines, seen = seen.split(b"\n")
                for line in lines:
                    self._take(json.loads(line))
                if come >= most or (lines and self.changes and self.changes[-1][1] == LAST):
                    break
        except (urllib3.exceptions.HTTPError, OSError):
            self._over.wait(0.1)  # the server is dead: it will come again, perhaps elsewhere
        self.cuts += 1

    def _take(self, event: Any) -> None:
        assert event["type"] in ("ADDED", "MODIFIED", "DELETED"), event
        obj = event["object"]
        self.changes.append((event["type"], meta.name(obj), meta.meta(obj)["resourceVersion"]))

    def _bytes(self, since: str) -> Iterator[bytes]:
        known = yaml.safe_load(self._kubeconfig.read_text())
        server, user = known["clusters"][0]["cluster"], known["users"][0]["user"]
        authority = base64.b64decode(server["certificate-authority-data"]).decode()
        with urllib3.PoolManager(ca_cert_data=authority, retries=False, timeout=60) as pool:
            answer = pool.request(
                "GET", f"{server['server']}{MAPS}?watch=1&resourceVersion={since}",
                headers={"Authorization": f"Bearer {user['token']}"}, preload_content=False,
            )  # fmt: skip
            try:
                assert answer.status == 200, answer.data
                yield from answer.stream(None)
            finally:
                answer.close()


@dataclass(frozen=True)
class History:
    """What two deaths of a server left."""

    written: Written
    log: list[tuple[int, int, bool, str]]
    """Every change of a ConfigMap: its revision, the one it replaces, whether it was the end, whose."""
    there: dict[str, str]
    watchers: list[Watcher]


def write(client: Client, who: str, written: Written) -> None:
    """Make, change and delete until the server is gone."""
    try:
        for number in range(10_000):
            key = Key(f"{who}-{number}", "default")
            written.note(client.create(CONFIG_MAP, builders.some(CONFIG_MAP, key.name)))
            if number % 3:
                written.note(client.patch(CONFIG_MAP, key, {"data": {"changed": "yes"}}))
            if number % 3 == 1:
                client.delete(CONFIG_MAP, key)
    except ApiError:
        return


def until_killed(yard: Yard, life: int, written: Written) -> None:
    """Sixteen write; the server is killed among them."""
    enough = len(written.acknowledged) + ENOUGH
    with ExitStack() as stack:
        clients = [stack.enter_context(closing(connect(yard.kubeconfig))) for _ in range(WRITERS)]
        for number, client in enumerate(clients):
            writer = threading.Thread(target=write, args=(client, f"w{life}-{number}", written), daemon=True)
            writer.start()
            stack.callback(writer.join)
        stack.callback(yard.kill)
        eventually(lambda: len(written.acknowledged) >= enough, 120)


def reap(yard: Yard) -> None:
    """Kill a yard that a test has left when it failed."""
    if yard.process.poll() is None:
        yard.kill()


def lived(directory: Path, stack: ExitStack) -> History:
    """Two lives of a server that end by kill -9, and a third with the last change; `stack` ends what began."""

    def up() -> Yard:
        yard = Yard.up(directory)
        stack.callback(reap, yard)
        return yard

    stack.callback(sweep, directory)
    yard, written = up(), Written()
    watchers = [Watcher(yard.kubeconfig, seed) for seed in range(WATCHERS)]
    for watcher in watchers:
        watcher.start()
        stack.callback(watcher.stop)
    eventually(lambda: all(watcher.since for watcher in watchers), 60)
    until_killed(yard, 1, written)
    until_killed(up(), 2, written)
    last = up()
    with closing(connect(last.kubeconfig)) as client:
        written.note(client.create(CONFIG_MAP, builders.some(CONFIG_MAP, LAST)))
        found = client.list(CONFIG_MAP, IN_DEFAULT).items
    for watcher in watchers:
        watcher.join(120)
    assert last.stop() == 0
    with closing(sqlite3.connect(directory / "store.db")) as store:
        log = store.execute(_LOGGED).fetchall()
    there = {meta.name(one): meta.meta(one)["resourceVersion"] for one in found}
    return History(written, log, there, watchers)


@pytest.fixture(scope="module")
def history() -> Iterator[History]:
    """What two deaths of a server left; nothing of it runs on, however that went."""
    with tempfile.TemporaryDirectory() as folder:
        with ExitStack() as stack:
            found = lived(Path(folder) / "yard", stack)
        yield found


def test_what_was_acknowledged_is_there_after_kill_9(history: History) -> None:
    logged = {(name, str(revision)) for revision, _, _, name in history.log}
    alive = {name for _, _, _, name in history.log} - {name for _, _, gone, name in history.log if gone}

    assert set(history.written.acknowledged) <= logged
    assert history.there.keys() == alive


def test_no_revision_is_handed_out_twice(history: History) -> None:
    revisions = [revision for _, revision in history.written.acknowledged]

    assert len(set(revisions)) == len(revisions)


@pytest.mark.parametrize("number", range(WATCHERS))
def test_who_is_cut_and_resumes_sees_every_change_once_and_in_order(history: History, number: int) -> None:
    watcher = history.watchers[number]
    before = {name: (gone, str(at)) for at, _, gone, name in history.log if at <= int(watcher.since)}
    kinds = {(False, False): "ADDED", (True, False): "MODIFIED", (True, True): "DELETED"}
    logged = [
        (kinds[bool(previous), bool(gone)], name, str(revision))
        for revision, previous, gone, name in history.log
        if revision > int(watcher.since)
    ]

    assert watcher.listed == {name: revision for name, (gone, revision) in before.items() if not gone}
    assert watcher.cuts > 2
    assert watcher.changes == logged
