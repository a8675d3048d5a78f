"""`kubectl proxy` in front of our server and of a real one: requests, watches and WebSockets pass it alike."""

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import urllib3
import websocket

from diskyard.api.meta import CONFIG_MAP
from tests import builders
from tests.cluster import programs
from tests.conformance.chapters import place
from tests.conformance.exchange import Line

pytestmark = pytest.mark.cluster
ADDRESS = re.compile(r"Starting to serve on (\S+)")


@contextmanager
def proxy(line: Line, home: Path) -> Iterator[str]:
    """A kubectl proxy that lets nobody need a token; host and port."""
    words = ["--kubeconfig", str(line.server.kubeconfig), "proxy", "--port=0"]
    with subprocess.Popen(
        [programs.folder() / "kubectl", *words], env={"HOME": str(home)}, stdout=subprocess.PIPE, text=True
    ) as running:
        try:
            assert running.stdout
            found = ADDRESS.match(running.stdout.readline())
            assert found
            yield found[1]
        finally:
            running.terminate()


@pytest.fixture
def told(line: Line, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """Where the proxy is, and a namespace of the server behind it."""
    with proxy(line, tmp_path) as address:
        yield address, place(line)


def test_requests_pass_it(told: tuple[str, str]) -> None:
    address, name = told
    path = f"http://{address}/api/v1/namespaces/{name}/configmaps"

    made = urllib3.request("POST", path, json=builders.some(CONFIG_MAP, "one", name))
    listed = urllib3.request("GET", path).json()
    gone = urllib3.request("DELETE", f"{path}/one")

    assert (made.status, gone.status) == (201, 200)
    assert "one" in [each["metadata"]["name"] for each in listed["items"]]


def test_a_watch_passes_it_as_lines_and_as_messages(line: Line, told: tuple[str, str]) -> None:
    address, name = told
    path = f"{address}/api/v1/namespaces/{name}/configmaps?watch=1&fieldSelector=metadata.name=late"
    client = line.server.client

    opened = websocket.create_connection(f"ws://{path}", timeout=60, origin=f"http://{address}")
    lines = urllib3.request("GET", f"http://{path}", preload_content=False, timeout=60)
    try:
        client.create(CONFIG_MAP, builders.some(CONFIG_MAP, "late", name))
        message = json.loads(opened.recv())
        first = json.loads(lines.readline())
    finally:
        opened.close()
        lines.close()

    assert [each["type"] for each in (message, first)] == ["ADDED", "ADDED"]
    assert message["object"] == first["object"]
