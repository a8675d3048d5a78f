"""A guest's life as its user commands it: by the command line, and by virtctl's wire."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from diskyard.api import meta
from diskyard.api.meta import INSTANCE, KUBEVIRT, REPLICA_SET, Key
from diskyard.errors import BadRequest, Conflict, NotFound
from diskyard.kube.client import Selection
from diskyard.kube.http import HttpClient, connect
from tests.builders import eventually
from tests.flows.yard import Yard, data_volume, machine
from tests.guest import GREETING
from tests.terminal import terminal

DOORS = "/apis/subresources.kubevirt.io/v1alpha3/namespaces/default"
PLAIN = "plain.kubevirt.io"
RUNTIME = Key("kubevirt", "kubevirt")
WALK_THROUGH = """
apiVersion: kubevirt.io/v1
kind: KubeVirt
metadata: {name: kubevirt, namespace: kubevirt}
spec:
  certificateRotateStrategy: {}
  configuration: {developerConfiguration: {}}
  customizeComponents: {}
  imagePullPolicy: IfNotPresent
  workloadUpdateStrategy: {}
"""
"""kubevirt-cr.yaml as KubeVirt publishes it."""


@pytest.fixture(scope="module")
def guest(yard: Yard, guest_url: str) -> Iterator[Yard]:
    """The yard, with a stopped machine `worker`."""
    yard.create(data_volume("worker", {"http": {"url": guest_url}}, "1Gi"))
    made = machine("worker", "worker")
    made["spec"].pop("runStrategy", None)
    yard.create({**made, "spec": {**made["spec"], "running": False}})
    yard.wait("datavolumes", "worker", "Succeeded")
    yield yard
    yard.delete("virtualmachines", "worker")
    yard.gone("virtualmachines", "worker")
    yard.delete("datavolumes", "worker")


@pytest.fixture
def server(guest: Yard) -> Iterator[HttpClient]:
    found = connect(guest.directory / "kubeconfig")
    yield found
    found.close()


def diskyard(yard: Yard, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """The command line, against that yard."""
    command = [sys.executable, "-m", "cli", *arguments]
    surroundings = {**os.environ, "KUBECONFIG": str(yard.directory / "kubeconfig")}
    return subprocess.run(command, env=surroundings, capture_output=True, text=True, timeout=120, check=False)


def becomes(yard: Yard, word: str, name: str = "worker") -> dict[str, Any]:
    return yard.until("virtualmachines", name, lambda vm: vm["status"].get("printableStatus") == word, 120)


def test_a_guest_is_started_joined_paused_and_stopped(
    guest: Yard, server: HttpClient, tmp_path: Path
) -> None:
    started = diskyard(guest, "start", "worker")
    assert (started.returncode, started.stdout) == (0, "VM worker was scheduled to start\n")
    becomes(guest, "Running")
    guest.console_says("worker", GREETING.decode(), 120)
    guest.console_says("worker", "This is a shell", 120)

    assert "x7y" in typed(guest, "echo x$((3 + 4))y\n", "x7y")
    greeting = server.stream(f"{DOORS}/virtualmachineinstances/worker/vnc", PLAIN)
    assert greeting.recv() == b"RFB 003.008\n"
    greeting.close()

    xml = diskyard(guest, "domain", "worker").stdout
    assert all(
        each in xml for each in ("<domain type=", "/disk.img'", "<entry name='manufacturer'>KubeVirt<")
    ), xml
    for figure in (
        'kubevirt_vmi_cpu_usage_seconds_total{name="worker",namespace="default"',
        'kubevirt_vmi_storage_read_traffic_bytes_total{drive="root",name="worker"',
        'diskyard_datavolumes{phase="Succeeded"}',
    ):
        eventually(lambda figure=figure: figure in server.text("/metrics"))

    manifest = tmp_path / "worker.yaml"
    manifest.write_text("apiVersion: kubevirt.io/v1\nkind: VirtualMachine\nmetadata: {name: worker}\n")
    assert diskyard(guest, "pause", "-f", str(manifest)).stdout == "VMI worker was paused\n"
    becomes(guest, "Paused")
    again = diskyard(guest, "pause", "worker")
    assert (again.returncode, again.stderr) == (
        1,
        'diskyard: Operation cannot be fulfilled on virtualmachineinstance.kubevirt.io "worker": VMI is already '
        "paused\n",
    )
    diskyard(guest, "unpause", "worker")
    becomes(guest, "Running")

    stopped = diskyard(guest, "stop", str(manifest))
    assert (stopped.returncode, stopped.stdout) == (0, "VM worker was scheduled to stop\n")
    becomes(guest, "Stopped")
    assert guest.get("virtualmachines", "worker")["spec"]["running"] is False


def test_several_viewers_see_one_screen(guest: Yard) -> None:
    bodiless(guest, "virtualmachines/worker/start")
    becomes(guest, "Running")
    with proxied(guest) as port:
        viewers = [socket.create_connection(("127.0.0.1", port), 60) for _ in range(2)]
        for viewer in viewers:
            with viewer:
                assert viewer.recv(12, socket.MSG_WAITALL) == b"RFB 003.008\n"
    bodiless(guest, "virtualmachines/worker/stop")
    becomes(guest, "Stopped")


def bodiless(yard: Yard, where: str) -> None:
    """Ask for it as clients of that version do, which send no body."""
    way = yard.api().configuration
    known = {"Authorization": way.get_api_key_with_prefix("BearerToken", alias="authorization")}
    with requests.Session() as session:
        session.trust_env = False
        answer = session.put(f"{way.host}{DOORS}/{where}", headers=known, verify=way.ssl_ca_cert, timeout=60)
    assert (answer.status_code, answer.text) == (202, "")


@contextmanager
def proxied(yard: Yard) -> Iterator[int]:
    """The port at which `diskyard vnc` has the guest's screen."""
    surroundings = {**os.environ, "KUBECONFIG": str(yard.directory / "kubeconfig")}
    command = [sys.executable, "-m", "cli", "vnc", "worker", "--proxy-only"]
    with subprocess.Popen(command, env=surroundings, stderr=subprocess.PIPE, text=True) as showing:
        assert showing.stderr
        line = showing.stderr.readline()
        try:
            yield int(line.split("vnc://127.0.0.1:")[1].split()[0])
        finally:
            showing.kill()


def test_what_cannot_be_is_said_as_the_real_server_says_it(guest: Yard, server: HttpClient) -> None:
    becomes(guest, "Stopped")
    with pytest.raises(Conflict, match=r'on virtualmachine\.kubevirt\.io "worker": VM is not running'):
        server.order(f"{DOORS}/virtualmachines/worker/stop", {})
    with pytest.raises(NotFound, match=r'virtualmachine\.kubevirt\.io "win10-vm\.yaml" not found'):
        server.order(f"{DOORS}/virtualmachines/win10-vm.yaml/start", {})
    with pytest.raises(NotFound, match=r'virtualmachineinstance\.kubevirt\.io "worker" not found'):
        server.stream(f"{DOORS}/virtualmachineinstances/worker/console", PLAIN)
    with pytest.raises(
        NotFound,
        match=r"virtualmachines/migrate is not supported yet: start, stop, restart, addvolume, ",
    ):
        server.order(f"{DOORS}/virtualmachines/worker/migrate", {})
    with pytest.raises(BadRequest, match="the options in the body are not an object"):
        server.order(f"{DOORS}/virtualmachines/worker/start", [])


def test_a_dry_run_changes_nothing(guest: Yard, server: HttpClient) -> None:
    becomes(guest, "Stopped")

    server.order(f"{DOORS}/virtualmachines/worker/start", {"dryRun": ["All"]})

    assert guest.get("virtualmachines", "worker")["spec"]["running"] is False


def test_a_guest_with_a_tpm_begins_paused_and_goes_on(yard: Yard) -> None:
    made = machine("sealed", "unused")
    spec = made["spec"]["template"]["spec"]
    spec["volumes"] = [{"name": "root", "emptyDisk": {"capacity": "8Mi"}}]
    spec["terminationGracePeriodSeconds"] = 0
    spec["domain"]["devices"]["tpm"] = {}
    spec["domain"]["ioThreadsPolicy"] = "shared"
    yard.create({**made, "spec": {**made["spec"], "runStrategy": "Halted"}})
    with closing(connect(yard.kubeconfig)) as server:
        server.order(f"{DOORS}/virtualmachines/sealed/start", {"paused": True})

        becomes(yard, "Paused", "sealed")
        xml = server.text(f"{DOORS}/virtualmachineinstances/sealed/domain")
        assert "<tpm model=" in xml
        assert "<iothreads>1<" in xml
        diskyard(yard, "unpause", "sealed")
        becomes(yard, "Running", "sealed")

    yard.delete("virtualmachines", "sealed")
    yard.gone("virtualmachines", "sealed")


def test_the_runtime_is_available_and_the_walk_throughs_object_is_taken(yard: Yard, tmp_path: Path) -> None:
    """A-05."""
    manifest = tmp_path / "kubevirt-cr.yaml"
    manifest.write_text(WALK_THROUGH)
    with closing(connect(yard.kubeconfig)) as server:
        eventually(lambda: meta.holds(server.get(KUBEVIRT, RUNTIME), "Available"), 60)

        applied = diskyard(yard, "apply", "-f", str(manifest))

        assert (applied.returncode, applied.stderr) == (0, ""), "nothing of it is warned about"
        assert meta.holds(server.get(KUBEVIRT, RUNTIME), "Available")


def test_a_replica_set_is_scaled_up_and_down(yard: Yard) -> None:
    one = machine("herd", "unused")["spec"]["template"]["spec"]
    one |= {
        "startStrategy": "Paused",
        "terminationGracePeriodSeconds": 0,
        "volumes": [{"name": "root", "emptyDisk": {"capacity": "8Mi"}}],
    }
    labels = {"herd": "sheep"}
    yard.create({
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachineInstanceReplicaSet",
        "metadata": {"name": "herd"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": one},
        },
    })  # fmt: skip

    herd = Key("herd", "default")
    with closing(connect(yard.kubeconfig)) as server:
        eventually(lambda: server.get(REPLICA_SET, herd).get("status", {}).get("replicas") == 2, 60)
        server.patch(REPLICA_SET, herd, {"spec": {"replicas": 1}}, "scale")
        eventually(lambda: server.get(REPLICA_SET, herd)["status"]["replicas"] == 1, 60)
        assert server.table(REPLICA_SET, Selection("default"))["rows"][0]["cells"][:3] == ["herd", 1, 1]

        server.delete(REPLICA_SET, herd)
        eventually(lambda: not server.list(INSTANCE, Selection("default", "herd=sheep")).items, 120)


def typed(yard: Yard, keys: str, until: str) -> str:
    """What the terminal shows of the guest's console after those keys, up to these words; Ctrl-] leaves it."""
    with terminal({"KUBECONFIG": str(yard.kubeconfig)}, "console", "worker") as joined:
        joined.shows("Ctrl-] leaves")
        joined.type(keys)
        joined.shows(until)
        joined.type("\x1d")
        assert joined.ended() == 0
        return joined.shown
