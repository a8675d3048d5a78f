"""The proxy before a real upload pod: who comes in, how long clients may take, and that it keeps nothing."""

import os
import random
import socket
import struct
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import requests

from diskyard.errors import InvalidRequest
from standalone.store.objects import Objects
from tests.builders import eventually
from tests.uploadproxy.front import Front, forged, front, resigned
from tests.uploadproxy.images import MIB, holds, noise
from tests.uploadproxy.pod import Stalled
from uploadproxy.limits import Limits

RAW = noise(6 * MIB)


@pytest.fixture
def place(store: Objects, tmp_path: Path) -> Iterator[Front]:
    with front(store, tmp_path) as found:
        yield found


def test_tokens_open_the_one_claim_they_are_for_while_they_last(place: Front) -> None:
    url = place.proxy(ready=0.2) + "/v1beta1/upload"
    others = {
        "expired": place.bearer(life=timedelta(hours=-1)),
        "signed by somebody else": forged(),
        "signed by nobody": resigned(place.bearer(), "none"),
        "signed with the public key": resigned(place.bearer(), "HS256", place.public_key),
        "another's signature": resigned(place.bearer(), "PS256", b"x"),
        "for a clone": place.bearer(operation="Clone"),
        "for a pod": place.bearer(resource="pods"),
        "replayed to another namespace": place.bearer(namespace="other"),
        "for another claim": place.bearer(name="another"),
    }

    codes = {
        why: place.session.post(url, data=RAW, headers=headers, timeout=60).status_code
        for why, headers in others.items()
    }

    assert codes == {
        "expired": 401, "signed by somebody else": 401, "signed by nobody": 401, "signed with the public key": 401,
        "another's signature": 401, "for a clone": 400, "for a pod": 400,
        "replayed to another namespace": 503, "for another claim": 503,
    }  # fmt: skip
    assert place.pod.left() == []


def test_an_upload_goes_on_by_any_proxy_with_any_token(place: Front) -> None:
    first, second = place.proxy(), place.proxy()
    path = place.create(first, len(RAW))

    for number, offset in enumerate(range(0, len(RAW), MIB)):
        url = (first, second)[number % 2] + path
        assert place.offset(url) == offset
        assert place.patch(url, offset, RAW[offset : offset + MIB]).status_code == 204

    assert place.pod.ended()[0] == 0
    assert holds(place.pod.disk, RAW)


def test_when_a_proxy_stops_in_the_midst_another_one_goes_on(place: Front) -> None:
    first, second = place.proxy(), place.proxy()
    path = place.create(first, len(RAW))
    body = Stalled(RAW[: 3 * MIB], RAW[3 * MIB :])
    thread = threading.Thread(target=_patched, args=(place, first + path, body))
    thread.start()
    assert body.sent.wait(60)

    place.proxies[0].stop(0)
    body.go.set()
    thread.join(60)

    assert eventually(lambda: _gone_on(place, second + path), 90)
    assert place.pod.ended()[0] == 0
    assert holds(place.pod.disk, RAW)


def _gone_on(place: Front, url: str) -> bool:
    """Whether the rest was taken in, from where the pod says that it goes on."""
    offset = place.offset(url)
    return offset >= 0 and place.patch(url, offset, RAW[offset:]).status_code == 204


def _patched(place: Front, url: str, body: Stalled) -> None:
    with requests.Session() as session:
        session.trust_env = False
        try:
            session.patch(url, data=iter(body), headers=place.patching(0), timeout=120)
        except requests.RequestException:
            return


@pytest.mark.parametrize(
    ("limits", "pause", "words"),
    [
        ({"idle": 0.5}, 60.0, "no byte came for 0.5 s"),
        ({"idle": 3.0, "slowest": 1e6}, 0.1, "expected 1e+06 a second at least"),
        ({"total": 1.0}, 0.1, "took longer than 1 s"),
    ],
    ids=["silent", "dawdling", "endless"],
)
def test_who_holds_a_place_without_sending_is_given_up(
    place: Front, limits: dict[str, float], pause: float, words: str
) -> None:
    url = place.proxy(**limits)
    path = place.create(url, len(RAW))

    answer = _dripped(place, url, path, pause, words)

    assert answer.startswith("HTTP/1.1 408 "), answer
    assert words in answer
    assert place.offset(url + path) >= 0


def _dripped(place: Front, url: str, path: str, pause: float, words: str) -> str:
    """The answer to a PATCH whose body comes by single bytes, up to these words or its end."""
    ended = threading.Event()
    with _sending(place, url, path) as sock:

        def drip() -> None:
            try:
                while not ended.wait(pause):
                    sock.sendall(b"x")
            except OSError:
                return

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            heard = b""
            while words.encode() not in heard and (piece := sock.recv(4096)):
                heard += piece
            return heard.decode()
        finally:
            ended.set()
            thread.join()


@pytest.mark.parametrize("limit", ["one_client", "requests"])
def test_one_client_and_all_of_them_have_so_many_places(place: Front, limit: str) -> None:
    url = place.proxy(**{limit: 1})
    path = place.create(place.proxy(), len(RAW))
    body = Stalled(RAW[:MIB], RAW[MIB:])
    thread = threading.Thread(target=_patched, args=(place, url + path, body))
    thread.start()
    assert body.sent.wait(60)
    eventually(place.reached)

    refused = eventually(lambda: _busy(place, url), 60)
    body.go.set()
    thread.join(60)

    assert refused == ("5", "too many uploads at once: try again in a moment")
    assert place.pod.ended()[0] == 0


def _busy(place: Front, url: str) -> tuple[str, str] | None:
    answer = place.session.get(url + "/v1/uploads", headers=place.bearer(), timeout=60)
    return (answer.headers["Retry-After"], answer.text) if answer.status_code == 429 else None


def test_the_server_bears_silence_as_long_as_its_proxy_says(store: Objects, tmp_path: Path) -> None:
    with front(store, tmp_path, idle=0.2) as place:
        url = place.proxy(idle=60.0)
        path = place.create(url, len(RAW))

        with _sending(place, url, path) as sock:
            sock.sendall(RAW[:MIB])
            threading.Event().wait(1)  # five times as long as the server itself would bear
            sock.sendall(RAW[MIB:])
            answer = sock.recv(4096)

        assert answer.startswith(b"HTTP/1.1 204 "), answer
        assert place.pod.ended()[0] == 0
        assert holds(place.pod.disk, RAW)


def _sending(place: Front, url: str, path: str) -> socket.socket:
    """A connection on which a PATCH of the whole has begun."""
    host, port = url.removeprefix("http://").split(":")
    lines = {**place.patching(0), "Host": host, "Content-Length": str(len(RAW))}
    head = "".join(f"{name}: {text}\r\n" for name, text in lines.items())
    sock = socket.create_connection((host, int(port)), 60)
    sock.sendall(f"PATCH {path} HTTP/1.1\r\n{head}\r\n".encode())
    return sock


def test_a_client_that_vanishes_in_the_midst_costs_nothing_that_came(place: Front) -> None:
    url = place.proxy()
    path = place.create(url, len(RAW))
    with _sending(place, url, path) as sock:
        sock.sendall(RAW[: 3 * MIB])
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # ends by RST

    assert eventually(lambda: _gone_on(place, url + path), 90)
    assert place.pod.ended()[0] == 0
    assert holds(place.pod.disk, RAW)


def test_after_kill_9_of_the_pod_at_any_byte_the_client_goes_on(place: Front) -> None:
    url, places = place.proxy(), random.Random()
    path = place.create(url, len(RAW))
    body = Stalled(RAW[: places.randrange(1, 4 * MIB)])
    thread = threading.Thread(target=_patched, args=(place, url + path, body))
    thread.start()
    assert body.sent.wait(60)
    place.pod.kill()
    body.go.set()
    thread.join(60)
    place.pod.start()

    assert eventually(lambda: _gone_on(place, url + path), 90)
    assert place.pod.ended()[0] == 0
    assert holds(place.pod.disk, RAW)


def test_limits_are_said_in_the_environment() -> None:
    said = Limits.from_env(
        {"DISKYARD_UPLOAD_IDLE": "5", "DISKYARD_UPLOAD_TOTAL": "600", "DISKYARD_UPLOAD_REQUESTS": "9"}
    )

    assert (said.idle, said.total, said.requests, said.one_client) == (5, 600, 9, 64)
    with pytest.raises(InvalidRequest, match="DISKYARD_UPLOAD_IDLE: expected a number above 0, found 'soon'"):
        Limits.from_env({"DISKYARD_UPLOAD_IDLE": "soon"})


def test_noise_is_not_a_token(place: Front) -> None:
    url = place.proxy() + "/v1beta1/upload"
    for size in (1, 1000, 30_000):
        bearer = {"Authorization": "Bearer " + os.urandom(size).hex()}
        assert place.session.post(url, headers=bearer, timeout=60).status_code == 401
