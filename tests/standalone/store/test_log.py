"""What the log promises: an acknowledged write is on disk, revisions grow, old ones expire."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from diskyard.api.meta import CONFIG_MAP, Key
from diskyard.errors import Busy, Expired, InvalidRequest, ServerError
from standalone.store.log import Event, Log, Stale, Write
from tests.builders import eventually

RESOURCE = CONFIG_MAP.resource

WRITER = """
import sys, threading
from pathlib import Path
from standalone.store.objects import Objects
from diskyard.api.meta import CONFIG_MAP
objects = Objects.open(Path(sys.argv[1]))
said = threading.Lock()
def write(number):
    for i in range(100_000):
        made = objects.create(CONFIG_MAP, {"metadata": {"name": f"{number}-{i}", "namespace": "default"}})
        with said:
            print(made["metadata"]["name"], made["metadata"]["resourceVersion"], flush=True)
for number in range(4):
    threading.Thread(target=write, args=(number,)).start()
"""


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    log = Log(tmp_path / "store.db", retention=10)
    yield log
    log.close()


def put(log: Log, name: str, replaces: int = 0, value: int = 0) -> int:
    obj = {"metadata": {"name": name}, "value": value}
    return log.write(Write(RESOURCE, Key(name), obj, replaces)).revision


def remove(log: Log, name: str, replaces: int) -> int:
    return log.write(Write(RESOURCE, Key(name), {"metadata": {"name": name}}, replaces, gone=True)).revision


def nothing(_: Event) -> None:
    pass


def test_a_write_decided_on_an_older_state_is_stale(log: Log) -> None:
    first = put(log, "a")
    put(log, "a", first)

    with pytest.raises(Stale):
        put(log, "a", first)


def test_a_body_carries_its_own_revision(log: Log) -> None:
    revision = put(log, "a")

    found = log.get(RESOURCE, Key("a"))

    assert found
    assert found.obj()["metadata"]["resourceVersion"] == str(revision)


def test_a_list_stands_at_the_revision_that_it_says(log: Log) -> None:
    stop = threading.Event()

    def churn() -> None:
        revision = put(log, "a")
        while not stop.is_set():
            revision = put(log, "a", revision)

    writer = threading.Thread(target=churn)
    writer.start()
    snapshots = [log.snapshot(RESOURCE) for _ in range(2000)]
    stop.set()
    writer.join()

    assert all(one.revision == one.records[0].revision for one in snapshots if one.records)


def test_all_is_there_when_opened_again(tmp_path: Path) -> None:
    log = Log(tmp_path / "store.db")
    put(log, "a", put(log, "a"), value=2)
    remove(log, "b", put(log, "b"))
    before = log.snapshot(RESOURCE)
    log.close()

    log = Log(tmp_path / "store.db")
    after = log.snapshot(RESOURCE)
    log.close()

    assert after == before


def test_a_watch_resumes_across_a_restart(tmp_path: Path) -> None:
    log = Log(tmp_path / "store.db")
    first = put(log, "a")
    second = put(log, "a", first)
    third = remove(log, "a", second)
    log.close()

    log = Log(tmp_path / "store.db")
    events = log.listen(RESOURCE, first, nothing)
    log.close()

    assert [(event.record.revision, event.gone) for event in events] == [(second, False), (third, True)]
    assert [event.before and event.before.revision for event in events] == [first, second]


def test_old_revisions_expire_and_what_is_current_stays(log: Log) -> None:
    kept = put(log, "kept")
    revision = put(log, "busy")
    for _ in range(30):
        revision = put(log, "busy", revision)
    eventually(lambda: log.floor > kept)

    with pytest.raises(Expired, match="too old resource version"):
        log.listen(RESOURCE, kept, nothing)
    assert log.listen(RESOURCE, log.floor, nothing)
    assert {record.key.name for record in log.snapshot(RESOURCE).records} == {"kept", "busy"}


def test_a_change_right_after_the_floor_still_knows_what_was_before(log: Log) -> None:
    revision = put(log, "busy")
    for _ in range(30):
        revision = put(log, "busy", revision)
    eventually(lambda: log.floor > 0)

    first = log.listen(RESOURCE, log.floor, nothing)[0]

    assert first.before
    assert first.before.revision == log.floor


def test_compaction_leaves_nothing_behind(tmp_path: Path) -> None:
    log = Log(tmp_path / "store.db", retention=10)
    for i in range(50):
        remove(log, f"{i}", put(log, f"{i}"))
    log.close()

    with sqlite3.connect(tmp_path / "store.db") as connection:
        rows = connection.execute("SELECT count(*) FROM log").fetchone()[0]
    connection.close()

    assert rows <= 25


def test_a_revision_is_never_handed_out_twice(tmp_path: Path) -> None:
    log = Log(tmp_path / "store.db", retention=0)
    last = remove(log, "a", put(log, "a"))
    log.close()

    log = Log(tmp_path / "store.db")
    following = put(log, "b")
    log.close()

    assert following == last + 1


def test_a_revision_that_is_yet_to_come_cannot_be_watched_from(log: Log) -> None:
    with pytest.raises(Expired, match="unknown"):
        log.listen(RESOURCE, log.revision + 1, nothing)


def test_a_store_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    Log(tmp_path / "store.db").close()
    with sqlite3.connect(tmp_path / "store.db") as connection:
        connection.execute("PRAGMA user_version = 9")
    connection.close()

    with pytest.raises(
        InvalidRequest, match=r"has store version 9, this Diskyard reads up to 1: start the newer"
    ):
        Log(tmp_path / "store.db")


def test_a_store_in_use_is_refused(log: Log, tmp_path: Path) -> None:
    with pytest.raises(Busy, match="in use by another process"):
        Log(tmp_path / "store.db")


def test_a_closed_store_takes_no_writes(log: Log) -> None:
    log.close()

    with pytest.raises(ServerError, match="closed"):
        put(log, "a")


def test_a_write_that_the_disk_refuses_says_so_and_the_next_one_works(log: Log, tmp_path: Path) -> None:
    limit = log._writing.execute("PRAGMA page_count").fetchone()[0]
    log._writing.execute(f"PRAGMA max_page_count = {limit}")
    big = {"metadata": {"name": "big"}, "text": "x" * 100_000}

    with pytest.raises(ServerError, match="full"):
        log.write(Write(RESOURCE, Key("big"), big, 0))
    log._writing.execute("PRAGMA max_page_count = 1000000")

    assert put(log, "small") == 1


def test_what_is_not_json_is_refused_and_the_next_write_works(log: Log) -> None:
    with pytest.raises(ServerError, match="is not JSON"):
        log.write(Write(RESOURCE, Key("odd"), {"metadata": {"name": "odd"}, "value": object()}, 0))

    assert put(log, "plain") == 1


def test_every_acknowledged_write_survives_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    writer = subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE, text=True)
    assert writer.stdout
    acknowledged = [writer.stdout.readline() for _ in range(400)]
    os.kill(writer.pid, signal.SIGKILL)
    acknowledged += [line for line in writer.stdout if line.endswith("\n")]
    writer.stdout.close()
    writer.wait()

    log = Log(path)
    there = {record.key.name: record.revision for record in log.snapshot(RESOURCE).records}
    following = put(log, "next")
    log.close()

    said = {name: int(revision) for name, revision in (line.split() for line in acknowledged)}
    assert said.items() <= there.items()
    assert following > max(there.values())


def test_nobody_else_reads_the_store(tmp_path: Path) -> None:
    path = tmp_path / "store.db"

    with closing(Log(path)):
        modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}

    assert modes.keys() >= {"store.db", "store.db-wal"}
    assert set(modes.values()) == {0o600}
