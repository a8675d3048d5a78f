"""Streams and watches on the store: bookmarks, slow readers, wake-ups, ends."""

import threading
from itertools import islice

import pytest

from diskyard.api import meta
from diskyard.api.meta import CONFIG_MAP, Key
from diskyard.errors import BadRequest, Expired
from diskyard.kube.client import ALL, Selection
from standalone.store.objects import Objects
from standalone.store.watch import LIMIT, Watching
from tests import builders


def test_a_quiet_watch_is_told_how_far_it_has_seen(store: Objects) -> None:
    stream = store.stream(CONFIG_MAP, store.list(CONFIG_MAP).resource_version)
    elsewhere = store.create(*_secret())

    mark = next(iter(Watching(stream, bookmark=0.01)))

    assert mark.type == "BOOKMARK"
    assert mark.obj["kind"] == "ConfigMap"
    assert mark.obj["metadata"]["resourceVersion"] == meta.meta(elsewhere)["resourceVersion"]


def test_there_is_no_bookmark_while_a_change_waits(store: Objects) -> None:
    stream = store.stream(CONFIG_MAP, store.list(CONFIG_MAP).resource_version)
    store.create(CONFIG_MAP, builders.config_map("one"))

    assert stream.bookmark() is None
    assert [sent.type for sent in stream.take()] == ["ADDED"]
    assert stream.bookmark()


def test_a_reader_too_far_behind_is_sent_to_list_again(store: Objects) -> None:
    stream = store.stream(CONFIG_MAP, store.list(CONFIG_MAP).resource_version)
    store.create(CONFIG_MAP, builders.config_map("one"))

    def write(number: int) -> None:
        for i in range(LIMIT // 8 + 1):
            store.create(CONFIG_MAP, builders.config_map(f"c{number}-{i}"))

    writers = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    assert len(stream.take()) == LIMIT
    with pytest.raises(Expired, match="changes or 64 MiB behind"):
        stream.take()


def test_so_is_one_that_would_hold_too_many_bytes(store: Objects) -> None:
    large = "x" * (1 << 20)
    store.create(CONFIG_MAP, builders.config_map("one"))
    stream = store.stream(CONFIG_MAP, store.list(CONFIG_MAP).resource_version)

    for number in range(66):
        store.patch(CONFIG_MAP, Key("one", "default"), {"data": {"large": large, "n": str(number)}})

    assert sum(len(sent.body) for sent in stream.take()) < 66 << 20
    with pytest.raises(Expired, match="64 MiB behind"):
        stream.take()


def test_a_stream_wakes_its_reader(store: Objects) -> None:
    woken = threading.Event()
    stream = store.stream(CONFIG_MAP, store.list(CONFIG_MAP).resource_version, wake=woken.set)

    store.create(CONFIG_MAP, builders.config_map("one"))

    assert woken.wait(60)
    assert [sent.change().obj["metadata"]["name"] for sent in stream.take()] == ["one"]


def test_an_event_loop_that_has_ended_does_not_stop_the_store(store: Objects) -> None:
    def wake() -> None:
        raise RuntimeError("Event loop is closed")

    store.stream(CONFIG_MAP, store.list(CONFIG_MAP).resource_version, wake=wake)

    assert store.create(CONFIG_MAP, builders.config_map("one"))


@pytest.mark.parametrize("since", ["", "0"])
def test_a_watch_from_nowhere_begins_with_all_that_is_there(store: Objects, since: str) -> None:
    store.create(CONFIG_MAP, builders.config_map("one"))
    watch = store.watch(CONFIG_MAP, since)
    store.create(CONFIG_MAP, builders.config_map("two"))

    changes = list(islice(watch, 2))

    assert [(change.type, meta.name(change.obj)) for change in changes] == [
        ("ADDED", "one"),
        ("ADDED", "two"),
    ]


def test_a_version_that_is_no_number_is_refused(store: Objects) -> None:
    with pytest.raises(BadRequest, match="not a number"):
        store.watch(CONFIG_MAP, "yesterday")


def test_closing_the_store_ends_its_watches(store: Objects) -> None:
    watch = store.watch(CONFIG_MAP, store.list(CONFIG_MAP).resource_version)

    store.close()

    assert list(watch) == []


def test_changes_before_and_after_a_resume_meet_without_gap(store: Objects) -> None:
    first = store.create(CONFIG_MAP, builders.config_map("one"))
    for i in range(3):
        store.patch(CONFIG_MAP, Key("one", "default"), {"data": {"i": str(i)}})
    stream = store.stream(CONFIG_MAP, meta.meta(first)["resourceVersion"], Selection("default"))
    store.patch(CONFIG_MAP, Key("one", "default"), {"data": {"i": "3"}})

    values = [sent.change().obj["data"]["i"] for sent in stream.take()]

    assert values == ["0", "1", "2", "3"]


def test_readers_share_the_bytes_of_a_change(store: Objects) -> None:
    streams = [store.stream(CONFIG_MAP, store.list(CONFIG_MAP).resource_version, ALL) for _ in range(2)]
    store.create(CONFIG_MAP, builders.config_map("one"))

    (one,), (other,) = (stream.take() for stream in streams)

    assert one.body is other.body


def _secret() -> tuple[meta.Kind, meta.Obj]:
    return meta.SECRET, builders.secret("elsewhere")
