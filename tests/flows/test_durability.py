"""kill -9 while sixteen clients write: what was acknowledged is neither lost nor told twice or out of order."""

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from diskyard.api import meta
from diskyard.api.meta import CONFIG_MAP
from diskyard.errors import ApiError
from diskyard.kube.client import Selection
from diskyard.kube.http import connect
from tests import builders
from tests.builders import eventually
from tests.flows.yard import Yard, sweep

WRITERS = 16
ENOUGH = 160
IN_DEFAULT = Selection("default")
Written = dict[str, str]
"""The revision of every acknowledged write, by the name of what was written."""


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """A data directory that no process knows any more in the end."""
    yield tmp_path / "yard"
    sweep(tmp_path / "yard")


def write(yard: Yard, who: str, acknowledged: Written) -> None:
    """Write until the server is gone."""
    with closing(connect(yard.directory / "kubeconfig")) as client:
        for number in range(10_000):
            name = f"{who}-{number}"
            try:
                made = client.create(CONFIG_MAP, builders.some(CONFIG_MAP, name))
            except ApiError:
                return
            acknowledged[name] = meta.meta(made)["resourceVersion"]


def until_killed(yard: Yard, life: int) -> Written:
    """What sixteen writers were told before the server was killed among them."""
    acknowledged: Written = {}
    writers = [
        threading.Thread(target=write, args=(yard, f"w{life}-{number}", acknowledged), daemon=True)
        for number in range(WRITERS)
    ]
    for writer in writers:
        writer.start()
    eventually(lambda: len(acknowledged) >= ENOUGH, 120)
    yard.kill()
    for writer in writers:
        writer.join()
    return acknowledged


def told(yard: Yard, since: str, last: str) -> list[tuple[str, str]]:
    """Names and revisions of what a watch tells that resumes at `since`, up to the revision `last`."""
    found = []
    with closing(connect(yard.directory / "kubeconfig")) as client:
        watch = client.watch(CONFIG_MAP, since, IN_DEFAULT)
        for change in watch:
            if change.type == "ADDED":
                found.append((meta.name(change.obj), str(meta.meta(change.obj)["resourceVersion"])))
            if int(meta.meta(change.obj)["resourceVersion"]) >= int(last):
                break
        watch.close()
    return found


def test_acknowledged_writes_survive_kill_9_and_are_watched_once_and_in_order(directory: Path) -> None:
    yard = Yard.up(directory)
    with closing(connect(directory / "kubeconfig")) as client:
        since = client.list(CONFIG_MAP, IN_DEFAULT).resource_version
    acknowledged = until_killed(yard, 1)
    again = Yard.up(directory)
    acknowledged |= until_killed(again, 2)
    last = Yard.up(directory)
    with closing(connect(directory / "kubeconfig")) as client:
        listing = client.list(CONFIG_MAP, IN_DEFAULT)
        there = {meta.name(one): meta.meta(one)["resourceVersion"] for one in listing.items}
        newest = max(there.values(), key=int)

    changes = told(last, since, newest)

    assert acknowledged.items() <= there.items()
    assert len(set(there.values())) == len(there), "a resourceVersion was handed out twice"
    revisions = [int(revision) for _, revision in changes]
    assert revisions == sorted(set(revisions))
    assert dict(changes) == {name: revision for name, revision in there.items() if int(revision) > int(since)}
    assert last.stop() == 0
