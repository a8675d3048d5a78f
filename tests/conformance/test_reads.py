"""Lists, selectors, watches."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from diskyard.api import meta
from diskyard.api.meta import CONFIG_MAP, POD, Key
from diskyard.errors import BadRequest
from diskyard.kube.client import Change, Client, Selection, Watch
from tests import builders

COLOURS = {"a": {"colour": "red", "size": "big"}, "b": {"colour": "blue"}, "c": {}}


@pytest.fixture
def coloured(client: Client, place: str) -> str:
    for name, labels in COLOURS.items():
        client.create(CONFIG_MAP, builders.some(CONFIG_MAP, name, place, metadata={"labels": labels}))
    return place


@contextmanager
def watched(client: Client, selection: Selection) -> Iterator[Callable[[int], list[Change]]]:
    """Gives a function that waits for so many changes."""
    seen: list[Change] = []
    watch = client.watch(CONFIG_MAP, client.list(CONFIG_MAP).resource_version, selection)
    reader = threading.Thread(target=lambda: [seen.append(change) for change in watch])
    reader.start()

    def changes(count: int) -> list[Change]:
        builders.eventually(lambda: len([one for one in seen if one.type != "BOOKMARK"]) >= count)
        return [one for one in seen if one.type != "BOOKMARK"]

    try:
        yield changes
    finally:
        watch.close()
        reader.join(10)
    assert not reader.is_alive()


def test_a_list_is_in_order_of_name(client: Client, coloured: str) -> None:
    listing = client.list(CONFIG_MAP, Selection(coloured))

    assert [meta.name(obj) for obj in listing.items] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("colour=red", "a"), ("colour==red", "a"), ("colour!=red", "bc"), ("colour", "ab"), ("!colour", "c"),
        ("colour in (red,blue)", "ab"), ("colour notin (red)", "bc"), ("colour in (red), size=big", "a"),
        ("colour=red,size=small", ""), ("colour=", ""),
    ],
)  # fmt: skip
def test_labels_select(client: Client, coloured: str, selector: str, names: str) -> None:
    listing = client.list(CONFIG_MAP, Selection(coloured, labels=selector))

    assert [meta.name(obj) for obj in listing.items] == list(names)


@pytest.mark.parametrize("selector", ["a in (x", "=", "a,,b", "a b"])
def test_a_label_selector_that_makes_no_sense_is_refused(client: Client, selector: str) -> None:
    with pytest.raises(BadRequest):
        client.list(CONFIG_MAP, Selection(labels=selector))


def test_fields_select(client: Client, place: str) -> None:
    for name, node in (("a", "one"), ("b", "two")):
        pod = builders.pod(name, nodeName=node)
        pod["metadata"]["namespace"] = place
        client.create(POD, pod)

    def names(fields: str) -> list[str]:
        return [meta.name(obj) for obj in client.list(POD, Selection(place, fields=fields)).items]

    assert names("spec.nodeName=one") == ["a"]
    assert names("metadata.name!=a,status.phase=Pending") == ["b"]


def test_a_field_that_cannot_be_selected_by_is_refused(client: Client) -> None:
    with pytest.raises(BadRequest, match="field label not supported"):
        client.list(POD, Selection(fields="spec.colour=red"))


def test_a_watch_from_a_list_shows_every_later_change_once_in_order(client: Client, place: str) -> None:
    with watched(client, Selection(place)) as changes:
        client.create(CONFIG_MAP, builders.some(CONFIG_MAP, "one", place))
        client.patch(CONFIG_MAP, Key("one", place), {"data": {"a": "1"}})
        client.delete(CONFIG_MAP, Key("one", place))

        seen = changes(3)

    assert [change.type for change in seen] == ["ADDED", "MODIFIED", "DELETED"]
    versions = [int(meta.meta(change.obj)["resourceVersion"]) for change in seen]
    assert versions == sorted(set(versions))
    assert seen[2].obj["data"] == {"a": "1"}


def test_a_watch_resumes_where_it_was_cut(client: Client, place: str) -> None:
    first = client.create(CONFIG_MAP, builders.some(CONFIG_MAP, "one", place))
    client.patch(CONFIG_MAP, Key("one", place), {"data": {"a": "1"}})

    watch = client.watch(CONFIG_MAP, meta.meta(first)["resourceVersion"], Selection(place))
    change = next(iter(watch))
    watch.close()

    assert (change.type, change.obj["data"]) == ("MODIFIED", {"a": "1"})


def test_what_begins_to_fit_is_added_and_what_no_longer_fits_is_deleted(client: Client, place: str) -> None:
    client.create(CONFIG_MAP, builders.some(CONFIG_MAP, "one", place))

    with watched(client, Selection(place, labels="colour=red")) as changes:
        for colour in ("red", "blue", "red"):
            client.patch(CONFIG_MAP, Key("one", place), {"metadata": {"labels": {"colour": colour}}})
        seen = changes(3)

    assert [change.type for change in seen] == ["ADDED", "DELETED", "ADDED"]
    assert meta.labels(seen[1].obj) == {"colour": "red"}


def test_a_watch_shows_only_its_namespace(client: Client, place: str) -> None:
    with watched(client, Selection(place)) as changes:
        client.create(CONFIG_MAP, builders.some(CONFIG_MAP, f"other-{place}", "default"))
        client.create(CONFIG_MAP, builders.some(CONFIG_MAP, "mine", place))
        seen = changes(1)

    assert [meta.name(change.obj) for change in seen] == ["mine"]


def test_closing_ends_a_watch_that_waits(client: Client, place: str) -> None:
    watch: Watch = client.watch(CONFIG_MAP, client.list(CONFIG_MAP).resource_version, Selection(place))
    reader = threading.Thread(target=lambda: list(watch))
    reader.start()

    watch.close()
    reader.join(10)

    assert not reader.is_alive()
