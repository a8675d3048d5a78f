"""A real nginx before the proxy, as an Ingress is: it takes no request beyond 1 MiB, and gathers each of them."""

import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from cli.tusclient import Client, File, Proxy
from cli.way import Way
from standalone.store.objects import Objects
from tests.builders import eventually
from tests.uploadproxy.front import Front, front
from tests.uploadproxy.images import MIB, holds, noise
from tests.uploadproxy.pod import free_port

RAW = noise(5 * MIB + 17)
INGRESS = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
events {{}}
http {{
  access_log {folder}/access.log; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass {behind}; proxy_http_version 1.1; }} }}
}}
"""


@pytest.fixture
def place(store: Objects, tmp_path: Path) -> Iterator[Front]:
    with front(store, tmp_path) as found:
        yield found


@pytest.fixture
def ingress(place: Front, tmp_path: Path) -> Iterator[str]:
    folder, port = tmp_path / "nginx", free_port()
    folder.mkdir()
    (folder / "conf").write_text(INGRESS.format(folder=folder, port=port, behind=place.proxy()))
    process = subprocess.Popen(["/usr/sbin/nginx", "-c", folder / "conf"], stderr=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        eventually((folder / "pid").exists, 60)
        yield url
    finally:
        process.terminate()
        process.wait(60)


def test_the_command_sends_chunks_that_pass(place: Front, ingress: str, tmp_path: Path) -> None:
    image = tmp_path / "Win10.iso"
    image.write_bytes(RAW)
    proxy = Proxy(Way(ingress, verify=False), lambda: place.bearer()["Authorization"].removeprefix("Bearer "))

    with closing(Client(proxy, File(image, len(RAW), "x"), 0)) as client:
        client.send(lambda _: None)

    assert place.pod.ended()[0] == 0
    assert holds(place.pod.disk, RAW)
    eventually(lambda: answers(tmp_path / "nginx" / "access.log") == ["413", *["204"] * 6], 60)


def answers(log: Path) -> list[str]:
    """What nginx has answered to each PATCH; it notes that when the client may have gone on already."""
    return [line.split('" ')[1].split()[0] for line in log.read_text().splitlines() if '"PATCH' in line]
