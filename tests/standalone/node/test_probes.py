"""A container is ready when its probes say so, and begins again when they say that it is dead."""

import pytest

from diskyard.api import meta
from diskyard.api.meta import Obj
from standalone.node import probe
from tests.builders import eventually
from tests.standalone.node.yard import Yard, python, shell

FIELD = {"env": [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]}
SERVER = """
import http.server, os, pathlib
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        good = pathlib.Path("/s/good").exists() and self.headers.get("X-Key") == "open" and self.path == "/healthz"
        self.send_response(200 if good else 503); self.end_headers()
    def log_message(self, *_): pass
print("up", flush=True)
http.server.HTTPServer((os.environ["POD_IP"], 8080), Handler).serve_forever()
"""
SCRATCH = {"volumeMounts": [{"name": "s", "mountPath": "/s"}]}
VOLUMES = [{"name": "s", "emptyDir": {}}]
OFTEN = {"periodSeconds": 0.2, "timeoutSeconds": 20}
"""Of a slow machine: often asked, and given time to answer."""


def probing(kind: str, **said: object) -> Obj:
    return {f"{kind}Probe": {**OFTEN, **said}}


def touch(yard: Yard, pod: str, name: str) -> None:
    volumes = yard.path / "pods" / meta.uid(yard.pod(pod)) / "volumes"
    (volumes / "kubernetes.io~empty-dir" / "s" / name).touch()


def ready(yard: Yard, pod: str, wanted: bool) -> Obj:
    def reached() -> Obj:
        found = yard.pod(pod)
        assert bool(yard.container(pod).get("ready")) is wanted, meta.status(found)
        assert meta.holds(found, "Ready") is wanted
        return found

    return eventually(reached, 60)


def told(yard: Yard, pod: str, reason: str) -> str:
    return eventually(lambda: yard.told(pod).get(reason, ""), 60)


def test_a_server_is_ready_when_it_answers(yard: Yard) -> None:
    get = {"port": "web", "path": "/healthz", "httpHeaders": [{"name": "X-Key", "value": "open"}]}
    ports = {"ports": [{"name": "web", "containerPort": 8080}]}
    container = {**FIELD, **SCRATCH, **ports, **probing("readiness", httpGet=get)}
    yard.run(python("one", SERVER, container=container, volumes=VOLUMES))
    yard.until_said("one", "up")
    sentence = told(yard, "one", "Unhealthy")
    ready(yard, "one", False)

    touch(yard, "one", "good")

    ready(yard, "one", True)
    assert sentence.startswith("Readiness probe failed: ")


def test_a_command_inside_says_whether_it_is_ready_and_stops_being(yard: Yard) -> None:
    script = 'test -e /s/good && ! test -e /s/bad || { echo "not yet, $WORD"; exit 1; }'
    check = probing("readiness", exec={"command": ["sh", "-c", script]}, failureThreshold=1)
    container = {**SCRATCH, **check, "env": [{"name": "WORD", "value": "patience"}]}
    yard.run(shell("one", "echo up; sleep 1000", container=container, volumes=VOLUMES))
    yard.until_said("one", "up")
    eventually(lambda: told(yard, "one", "Unhealthy") == "Readiness probe failed: not yet, patience", 60)
    touch(yard, "one", "good")
    ready(yard, "one", True)

    touch(yard, "one", "bad")

    ready(yard, "one", False)


def test_a_command_of_a_probe_is_no_more_than_its_container(yard: Yard) -> None:
    rights = "grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status"
    look = f"{{ id -u; {rights}; ls -d /etc/shadow; }} > /s/new 2>&1; mv /s/new /s/who"
    check = probing("readiness", exec={"command": ["sh", "-c", look + "; true"]})
    limit = {"resources": {"limits": {"memory": "128Mi"}}}
    yard.run(shell("one", "echo up; sleep 1000", container={**SCRATCH, **check, **limit}, volumes=VOLUMES))
    ready(yard, "one", True)

    volumes = yard.path / "pods" / meta.uid(yard.pod("one")) / "volumes"
    said = (volumes / "kubernetes.io~empty-dir" / "s" / "who").read_text().splitlines()
    assert said[:4] == ["107", "CapEff:\t" + "0" * 16, "CapBnd:\t" + "0" * 16, "NoNewPrivs:\t1"]
    assert "No such file" in said[4]


def test_a_container_that_listens_no_more_begins_again(yard: Yard) -> None:
    script = (
        "import os, socket, time; s = socket.create_server((os.environ['POD_IP'], 8081))\n"
        "print('up', flush=True)\n"
    )
    wait = "import pathlib\nwhile not pathlib.Path('/s/bad').exists(): time.sleep(0.05)\ns.close(); time.sleep(1000)"
    check = probing(
        "liveness", tcpSocket={"port": 8081}, terminationGracePeriodSeconds=1, initialDelaySeconds=1
    )
    container = {**FIELD, **SCRATCH, **check}
    yard.run(python("one", script + wait, container=container, volumes=VOLUMES, restartPolicy="Always"))
    yard.until_said("one", "up")

    touch(yard, "one", "bad")

    eventually(lambda: yard.container("one").get("restartCount"), 60)
    assert told(yard, "one", "Killing") == "Container main failed liveness probe, will be restarted"


def test_other_probes_wait_until_the_container_has_started(yard: Yard) -> None:
    started = probing("startup", exec={"command": ["test", "-e", "/s/started"]}, failureThreshold=1000)
    check = probing("readiness", exec={"command": ["true"]})
    container = {**SCRATCH, **started, **check}
    yard.run(shell("one", "echo up; sleep 1000", container=container, volumes=VOLUMES))
    yard.until_said("one", "up")
    told(yard, "one", "Unhealthy")
    before = yard.container("one")

    touch(yard, "one", "started")

    ready(yard, "one", True)
    assert (before["ready"], before["started"]) == (False, False)


def test_a_command_that_takes_too_long_is_ended(yard: Yard) -> None:
    check = probing("readiness", exec={"command": ["sleep", "8231"]}, timeoutSeconds=0.5)
    yard.run(shell("one", "echo up; sleep 1000", container=check))

    assert told(yard, "one", "Unhealthy") == "Readiness probe failed: command timed out after 0.5s"


@pytest.mark.parametrize(
    ("container", "sentence"),
    [
        ({"readinessProbe": {"grpc": {"port": 1}}}, "expected one of httpGet, tcpSocket, exec, found grpc"),
        ({"livenessProbe": {"exec": {}}}, "livenessProbe.exec: expected a command"),
        ({"readinessProbe": {"httpGet": {"port": "web"}}}, "'web' is no port of the container"),
        ({"readinessProbe": {"tcpSocket": {"port": 80}}}, ""),
    ],
)
def test_a_probe_that_cannot_be_asked_is_refused(container: Obj, sentence: str) -> None:
    found = probe.refusal(container)

    assert sentence in found
    assert bool(found) == bool(sentence)
