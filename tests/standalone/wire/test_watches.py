"""Watches over the wire: lines as they come, in every form, until someone has enough."""

import json
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

from diskyard.api import meta
from diskyard.api.meta import CONFIG_MAP, DATA_VOLUME, Key, Obj
from diskyard.api.names.kubernetes import INITIAL_EVENTS_END
from standalone.wire.crowd import Most
from tests import builders
from tests.builders import eventually
from tests.served import LOCALHOST, served
from tests.standalone.wire.conftest import Wire

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
ESTABLISHED: Final = "01"
VOLUMES = "/apis/cdi.kubevirt.io/v1beta1/namespaces/{place}/datavolumes"


@contextmanager
def watching(wire: Wire, path: str, accept: str = "application/json") -> Iterator[Iterator[Obj]]:
    headers = {"Authorization": f"Bearer {wire.yard.token}", "Accept": accept}
    answer = wire.pool.request(
        "GET", wire.yard.url + path, headers=headers, preload_content=False, timeout=60, retries=False
    )
    assert answer.status == 200
    try:
        yield (json.loads(line) for line in answer)
    finally:
        answer.close()


def test_what_is_there_comes_first_then_every_change(
    wire: Wire, place: str, volume: Callable[..., Obj]
) -> None:
    volume("one")

    with watching(wire, VOLUMES.format(place=place) + "?watch=true") as events:
        first = next(events)
        wire.yard.store.patch(DATA_VOLUME, Key("one", place), {"metadata": {"labels": {"a": "b"}}})
        second = next(events)
        wire.yard.store.delete(DATA_VOLUME, Key("one", place))
        third = next(events)

    assert [event["type"] for event in (first, second, third)] == ["ADDED", "MODIFIED", "DELETED"]
    assert meta.labels(second["object"]) == {"a": "b"}
    assert first["object"]["kind"] == "DataVolume"


def test_initial_events_end_with_a_bookmark_that_says_so(
    wire: Wire, place: str, volume: Callable[..., Obj]
) -> None:
    volume("one")
    asked = "?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"

    with watching(wire, VOLUMES.format(place=place) + asked) as events:
        first, second = next(events), next(events)

    assert (first["type"], second["type"]) == ("ADDED", "BOOKMARK")
    assert meta.annotations(second["object"]) == {INITIAL_EVENTS_END: "true"}
    assert int(meta.meta(second["object"])["resourceVersion"]) >= int(
        meta.meta(first["object"])["resourceVersion"]
    )


def test_a_table_announces_its_columns_once(wire: Wire, place: str, volume: Callable[..., Obj]) -> None:
    volume("one")
    volume("two")

    with watching(wire, VOLUMES.format(place=place) + "?watch=true", TABLE) as events:
        tables = [next(events)["object"], next(events)["object"]]

    assert [table["rows"][0]["cells"][0] for table in tables] == ["one", "two"]
    assert len(tables[0]["columnDefinitions"]) == 5
    assert tables[1]["columnDefinitions"] is None


def test_an_old_client_is_told_in_its_version(wire: Wire, place: str, volume: Callable[..., Obj]) -> None:
    volume("one")
    path = VOLUMES.format(place=place).replace("v1beta1", "v1alpha1")

    with watching(wire, path + "?watch=true") as events:
        assert next(events)["object"]["apiVersion"] == "cdi.kubevirt.io/v1alpha1"


def test_one_object_can_be_watched_by_its_name(wire: Wire, place: str, volume: Callable[..., Obj]) -> None:
    volume("one")
    volume("two")

    with watching(wire, VOLUMES.format(place=place) + "/two?watch=true") as events:
        assert meta.name(next(events)["object"]) == "two"


def test_a_watch_ends_when_its_time_is_over(wire: Wire, place: str) -> None:
    with watching(wire, VOLUMES.format(place=place) + "?watch=true&timeoutSeconds=1") as events:
        assert list(events) == []


@pytest.mark.parametrize(("revision", "status"), [("999999999", 410), ("soon", 400)])
def test_a_revision_that_never_was_is_refused(wire: Wire, revision: str, status: int) -> None:
    answer = wire.get(f"/api/v1/pods?watch=true&resourceVersion={revision}")

    assert answer.status == status


def test_a_server_that_stops_ends_its_watches_at_once(tmp_path: Any) -> None:
    with served(tmp_path) as yard:
        watch = yard.client.watch(DATA_VOLUME, "0")

    assert eventually(lambda: list(watch) == [])


def test_who_stops_to_read_is_cut_off_and_nobody_else_waits(tmp_path: Path) -> None:
    path = "/api/v1/namespaces/default/configmaps?watch=1"
    with served(tmp_path, most=Most(unread=2)) as yard:
        context = ssl.create_default_context(cafile=str(yard.authority))
        port = urlsplit(yard.url).port or 0
        with context.wrap_socket(
            socket.create_connection((LOCALHOST, port), 60), server_hostname=LOCALHOST
        ) as slow:
            own = slow.getsockname()[1]
            slow.sendall(
                f"GET {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {yard.token}\r\n\r\n".encode()
            )
            assert slow.recv(12) == b"HTTP/1.1 200"
            assert serves(port, own)

            large = "x" * (1 << 20)
            for number in range(32):
                yard.store.create(CONFIG_MAP, builders.config_map(f"c{number}", large=large))

            eventually(lambda: not serves(port, own), 60)
            assert yard.client.get(CONFIG_MAP, Key("c31", "default"))


def serves(here: int, there: int) -> bool:
    """Whether the server at that port still has its end of a connection from the other one (proc_net_tcp.rst)."""
    lines = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    ends = (f"{here:04X}", f"{there:04X}", ESTABLISHED)
    return any((line[1].split(":")[1], line[2].split(":")[1], line[3]) == ends for line in lines)
