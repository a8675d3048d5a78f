"""Watches over WebSockets, as browsers and `kubectl proxy` carry them."""

import base64
import json
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from socket import create_connection
from urllib.parse import urlsplit

import pytest
import websocket

from diskyard.api import meta
from diskyard.api.meta import DATA_VOLUME, Key, Obj
from diskyard.web.websocket import BEARER
from tests.standalone.wire.conftest import Wire

VOLUMES = "/apis/cdi.kubevirt.io/v1beta1/namespaces/{place}/datavolumes?watch=1"


@contextmanager
def socket(wire: Wire, path: str, *protocols: str, **headers: str) -> Iterator[websocket.WebSocket]:
    where = urlsplit(wire.yard.url)
    known = ssl.create_default_context(cafile=str(wire.yard.authority))
    with (
        create_connection((where.hostname, where.port), 60) as plain,
        known.wrap_socket(plain, server_hostname=where.hostname) as secured,
    ):
        yield websocket.create_connection(
            wire.yard.url.replace("https", "wss") + path,
            subprotocols=list(protocols) or None,
            header=headers,
            socket=secured,
        )


def bearer(token: str) -> str:
    return BEARER + base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")


def test_every_change_is_a_message(wire: Wire, place: str, volume: Callable[..., Obj]) -> None:
    volume("one")
    admitted = {"Authorization": f"Bearer {wire.yard.token}"}

    with socket(wire, VOLUMES.format(place=place), **admitted) as opened:
        first = json.loads(opened.recv())
        wire.yard.store.patch(DATA_VOLUME, Key("one", place), {"metadata": {"labels": {"a": "b"}}})
        second = json.loads(opened.recv())

    assert [(one["type"], meta.name(one["object"])) for one in (first, second)] == [
        ("ADDED", "one"), ("MODIFIED", "one"),
    ]  # fmt: skip


def test_a_token_may_stand_among_the_subprotocols(wire: Wire, place: str, volume: Callable[..., Obj]) -> None:
    volume("one")

    with socket(wire, VOLUMES.format(place=place), "watch.example", bearer(wire.yard.token)) as opened:
        first = json.loads(opened.recv())

    assert opened.subprotocol == "watch.example"
    assert meta.name(first["object"]) == "one"


@pytest.mark.parametrize(
    "protocols",
    [
        (),
        ("watch.example",),
        ("watch.example", bearer("no such token")),
        ("watch.example", BEARER + "A"),
    ],
)
def test_whoever_shows_no_token_is_kept_out(wire: Wire, protocols: tuple[str, ...]) -> None:
    with (
        pytest.raises(websocket.WebSocketBadStatusException, match=r"40[13]"),
        socket(wire, VOLUMES.format(place="default"), *protocols),
    ):
        pass


def test_a_token_alone_is_not_enough(wire: Wire) -> None:
    with (
        pytest.raises(websocket.WebSocketBadStatusException, match="403"),
        socket(wire, VOLUMES.format(place="default"), bearer(wire.yard.token)),
    ):
        pass


def test_a_watch_ends_when_its_time_is_over(wire: Wire, place: str) -> None:
    admitted = {"Authorization": f"Bearer {wire.yard.token}"}

    with socket(wire, VOLUMES.format(place=place) + "&timeoutSeconds=1", **admitted) as opened:
        code, _ = opened.recv_data()

    assert code == websocket.ABNF.OPCODE_CLOSE
