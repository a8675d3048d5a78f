"""A client that vanishes: no FIN, no RST, its packets end in nothing, as a laptop's that is carried away."""

import contextlib
import os
import random
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from standalone.store.objects import Objects
from tests.builders import eventually
from tests.uploadproxy.front import Front, front
from tests.uploadproxy.images import MIB, holds, noise

RAW = noise(6 * MIB)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can have packets dropped")


@contextlib.contextmanager
def vanished(address: str) -> Iterator[None]:
    """Nothing of that address arrives anywhere, and nothing arrives there."""
    table = f"inet vanished-{address.replace('.', '-')}"
    rules = f"""
table {table} {{
  chain input {{
    type filter hook input priority -300
    ip saddr {address} drop
    ip daddr {address} drop
  }}
}}
"""
    subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)
    try:
        yield
    finally:
        subprocess.run(["nft", "delete", "table", *table.split()], check=True)


def test_a_client_that_vanishes_keeps_neither_lock_nor_place(store: Objects, tmp_path: Path) -> None:
    places = random.Random()
    address = f"127.45.{places.randrange(1, 255)}.{places.randrange(1, 255)}"
    with contextlib.ExitStack() as stack:
        place = stack.enter_context(front(store, tmp_path))
        url, narrow = place.proxy(), place.proxy(idle=3.0, requests=1)
        path = place.create(url, len(RAW))
        host, port = narrow.removeprefix("http://").split(":")
        sock = stack.enter_context(socket.create_connection((host, int(port)), 60, (address, 0)))
        lines = {**place.patching(0), "Host": host, "Content-Length": str(len(RAW))}
        head = "".join(f"{name}: {text}\r\n" for name, text in lines.items())
        sock.sendall(f"PATCH {path} HTTP/1.1\r\n{head}\r\n".encode() + RAW[:MIB])
        eventually(place.reached)
        eventually(lambda: asked(place, narrow) == 429, 60)
        stack.enter_context(vanished(address))

        assert eventually(lambda: asked(place, narrow) == 200, 90)
        assert eventually(lambda: gone_on(place, url + path), 90)
        assert place.pod.ended()[0] == 0
        assert holds(place.pod.disk, RAW)


def asked(place: Front, url: str) -> int:
    """The status of a small request."""
    return place.session.get(url + "/v1/uploads", headers=place.bearer(), timeout=60).status_code


def gone_on(place: Front, url: str) -> bool:
    """Whether the rest was taken in, from where the server says that it goes on."""
    offset = place.offset(url)
    return offset >= 0 and place.patch(url, offset, RAW[offset:]).status_code == 204
