"""Client over HTTP beyond what the conformance suite asks: finding a server, losing one, ending a watch."""

import gc
import threading
import warnings
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from diskyard.api import meta
from diskyard.api.meta import CONFIG_MAP, POD, Key, Obj
from diskyard.errors import InvalidRequest, NotFound, ServerError
from diskyard.kube.client import Change
from diskyard.kube.http import LogWish, connect
from standalone.node.log import LogOptions
from tests import builders
from tests.builders import eventually
from tests.served import Yard, served


def log(pod: Obj, options: LogOptions) -> Iterator[bytes]:
    yield f"{meta.name(pod)} {options.tail} {options.timestamps}\n".encode()


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    with served(tmp_path_factory.mktemp("yard"), log) as running:
        yield running


def test_a_kubeconfig_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        InvalidRequest, match=r"no API server can be told from .*nothing: there is no such file"
    ):
        connect(tmp_path / "nothing")


def test_a_server_that_does_not_answer_is_named(tmp_path: Path) -> None:
    with served(tmp_path) as gone:
        client = connect(gone.kubeconfig)

    with pytest.raises(
        ServerError, match=rf"no answer from the API server at {gone.url}: Connection refused; is it"
    ):
        client.get(POD, Key("one", "default"))
    client.close()


def test_a_watch_that_is_closed_from_another_thread_ends_at_once(yard: Yard) -> None:
    watch = yard.client.watch(CONFIG_MAP, yard.client.list(CONFIG_MAP).resource_version)
    seen: list[Change] = []
    reader = threading.Thread(target=lambda: seen.extend(watch))
    reader.start()
    yard.store.create(CONFIG_MAP, builders.config_map("told"))
    eventually(lambda: seen)

    watch.close()
    watch.close()
    reader.join(60)

    assert not reader.is_alive()
    assert [(change.type, meta.name(change.obj)) for change in seen] == [("ADDED", "told")]


def test_a_watch_that_nobody_has_read_gives_its_connection_back_when_it_is_closed(yard: Yard) -> None:
    since = yard.client.list(CONFIG_MAP).resource_version
    with closing(connect(yard.kubeconfig)) as client, warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        ring: list[object] = []  # the collector takes all of it at once, the connection before who holds it
        watch = client.watch(CONFIG_MAP, since)
        ring += [ring, watch]

        watch.close()

        del ring, watch
        gc.collect()
        left = [str(each.message) for each in seen if each.category is ResourceWarning]
    assert left == []


def test_a_watch_that_is_closed_before_it_is_read_has_nothing_to_tell(yard: Yard) -> None:
    watch = yard.client.watch(CONFIG_MAP, "0")

    watch.close()

    assert list(watch) == []


def test_listed_objects_say_what_they_are(yard: Yard) -> None:
    yard.store.create(CONFIG_MAP, builders.config_map("one"))

    listed = yard.client.list(CONFIG_MAP).items

    assert {(one["apiVersion"], one["kind"]) for one in listed} == {("v1", "ConfigMap")}


def test_a_log_comes_as_wished(yard: Yard) -> None:
    yard.store.create(POD, builders.pod("talker"))

    said = b"".join(yard.client.logs(Key("talker", "default"), LogWish(tail=3, timestamps=True)))

    assert said == b"talker 3 True\n"


def test_a_log_of_no_pod_is_not_found_before_it_is_read(yard: Yard) -> None:
    with pytest.raises(NotFound, match='pods "nobody" not found'):
        yard.client.logs(Key("nobody", "default"), LogWish())


def test_names_are_quoted_on_their_way(yard: Yard) -> None:
    with pytest.raises(NotFound, match=r'configmaps "a/\.\./b" not found'):
        yard.client.get(CONFIG_MAP, Key("a/../b", "default"))
