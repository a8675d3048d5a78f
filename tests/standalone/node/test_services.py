"""A Service of a user's own has an address on this machine that leads to pods that are ready."""

import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from diskyard.api import meta
from diskyard.api.meta import POD, SERVICE, Key, Obj
from diskyard.kube.client import Deletion
from diskyard.kube.controller import Controllers
from standalone.node.forward import Forwarder
from standalone.node.services import Services
from tests.builders import eventually, some
from tests.standalone.node.yard import Yard, opened, python

SERVER = """
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = os.environ["NAME"].encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
http.server.HTTPServer((os.environ["POD_IP"], 8080), Handler).serve_forever()
"""


def field(name: str, path: str) -> Obj:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def server(name: str) -> Obj:
    container = {
        "env": [field("POD_IP", "status.podIP"), field("NAME", "metadata.name")],
        "ports": [{"name": "web", "containerPort": 8080}],
        "readinessProbe": {"tcpSocket": {"port": "web"}, "periodSeconds": 0.2, "timeoutSeconds": 20},
    }
    pod = python(name, SERVER, container=container)
    pod["metadata"]["labels"] = {"app": "web"}
    return pod


def service(port: int = 8000, **spec: object) -> Obj:
    ports = [{"port": port, "targetPort": "web", "protocol": "TCP"}]
    return some(SERVICE, "web", spec={"selector": {"app": "web"}, "ports": ports, **spec})


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    with opened(tmp_path) as one:
        forwarder = Forwarder()
        controllers = Controllers(one.store, [Services(forwarder)])
        controllers.start()
        try:
            yield one
        finally:
            controllers.stop()
            forwarder.close()


def address(yard: Yard) -> str:
    return str(
        eventually(lambda: meta.spec(yard.store.get(SERVICE, Key("web", "default"))).get("clusterIP"), 60)
    )


def said(yard: Yard) -> str:
    try:
        with urllib.request.urlopen(f"http://{address(yard)}:8000/", timeout=30) as answer:
            return str(answer.read().decode())
    except (OSError, urllib.error.URLError, ConnectionError):
        return ""


def test_a_service_leads_to_a_pod_that_is_ready(yard: Yard) -> None:
    yard.store.create(SERVICE, service())
    yard.run(server("one"))

    assert eventually(lambda: said(yard), 60) == "one"
    assert address(yard).startswith("127.33.")


def test_pods_take_turns_and_those_that_are_gone_are_left_out(yard: Yard) -> None:
    yard.store.create(SERVICE, service())
    for name in ("one", "two"):
        yard.run(server(name))
    seen: set[str] = set()
    eventually(lambda: seen.add(said(yard)) or {"one", "two"} <= seen, 60)

    yard.store.delete(POD, Key("one", "default"), Deletion(grace=0))

    eventually(lambda: yard.gone("one"), 60)
    eventually(lambda: {said(yard) for _ in range(4)} == {"two"}, 60)


def test_when_it_is_gone_nobody_listens(yard: Yard) -> None:
    yard.store.create(SERVICE, service())
    yard.run(server("one"))
    eventually(lambda: said(yard), 60)
    place = (address(yard), 8000)

    yard.store.delete(SERVICE, Key("web", "default"))

    def closed() -> bool:
        with socket.socket() as asked:
            asked.settimeout(30)
            return asked.connect_ex(place) != 0

    eventually(closed, 60)


def test_a_port_that_is_taken_is_told(yard: Yard) -> None:
    with socket.create_server(("127.33.0.1", 0)) as other:
        port = other.getsockname()[1]
        yard.store.create(SERVICE, service(port, clusterIP="127.33.0.1"))

        told = eventually(lambda: yard.told("web").get("FailedToListen", ""), 60)

    assert told.startswith(f"nobody listens at 127.33.0.1:{port} for this Service: ")


@pytest.mark.parametrize("spec", [{"selector": None}, {"clusterIP": "None"}, {"type": "ExternalName"}])
def test_what_is_not_ours_to_serve_is_left_alone(yard: Yard, spec: Obj) -> None:
    forwarder = Forwarder()
    yard.store.create(SERVICE, service(**spec))

    found = Services(forwarder).gather(yard.store, Key("web", "default"))

    forwarder.close()
    assert found is None
