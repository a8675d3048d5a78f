"""A real API server and the yard's node: it registers, runs pods, gives logs, provides volumes, imports disks."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import datavolume_controller
from datavolume_controller.progress import Scraper
from diskyard import crds
from diskyard.api import meta
from diskyard.api.meta import (
    CDI,
    CDI_CONFIG,
    CLAIM,
    CRD,
    DATA_VOLUME,
    NAMESPACE,
    NODE,
    POD,
    SERVICE_ACCOUNT,
    VOLUME,
    Key,
    Kind,
    Obj,
)
from diskyard.errors import AlreadyExists, ApiError, InvalidRequest, NotFound, ServerError
from diskyard.kube.controller import Controllers
from standalone.directory import Directory
from standalone.farguests import FarGuests
from standalone.outpost import Outpost, Post, toward
from standalone.wire.ports import Port
from tests import builders
from tests.builders import eventually, some
from tests.cluster import programs
from tests.cluster.server import Cluster
from tests.imageserver import image_server
from tests.standalone.node.yard import python, shell

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("outpost")]
PLACE = "outpost"
MOUNT = {"volumeMounts": [{"name": "d", "mountPath": "/data"}]}
VOLUMES = [{"name": "d", "persistentVolumeClaim": {"claimName": "disk"}}]


def address() -> str:
    """Of this machine, where it has one beside its loopback: an API server passes nothing on to that."""
    try:
        return toward("https://192.0.2.1")
    except InvalidRequest:
        return "127.0.0.1"


@pytest.fixture(scope="module")
def outpost(real: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outpost]:
    real.client.create(NAMESPACE, builders.namespace(PLACE))
    eventually(lambda: there(real, SERVICE_ACCOUNT, Key("default", PLACE)), 60)
    folder = tmp_path_factory.mktemp("outpost")
    with (
        ExitStack() as stack,
        Outpost.open(
            Directory(folder / "node"), Post(real.kubeconfig, "far", address(), port=0), print
        ) as found,
    ):
        stack.callback(found.stop_pods)
        yield found


def there(real: Cluster, kind: Kind, key: Key) -> bool:
    try:
        real.client.get(kind, key)
    except ApiError:
        return False
    return True


def until(real: Cluster, kind: Kind, name: str, phase: str) -> Obj:
    def reached() -> Obj:
        found = real.client.get(kind, Key(name, PLACE))
        assert meta.phase(found) == phase, meta.status(found)
        return found

    return eventually(reached, 120)


def kubectl(real: Cluster, *words: str) -> str:
    command = [programs.folder() / "kubectl", "--kubeconfig", real.kubeconfig, "-n", PLACE, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    return done.stdout + done.stderr


def placed(obj: Obj) -> Obj:
    return {**obj, "metadata": {**obj["metadata"], "namespace": PLACE}}


def test_it_is_a_node_that_is_ready(real: Cluster, outpost: Outpost) -> None:
    def ready() -> Obj:
        node = real.client.get(NODE, Key("far"))
        assert meta.holds(node, "Ready")
        assert not meta.spec(node).get("taints"), "the controller manager believes that it lives"
        return node

    node = eventually(ready, 120)
    assert meta.status(node)["daemonEndpoints"]["kubeletEndpoint"]["Port"] == outpost.port


def test_a_pod_runs_with_its_token_and_kubectl_reads_its_log(real: Cluster, outpost: Outpost) -> None:
    script = "echo hello; ls /var/run/secrets/kubernetes.io/serviceaccount"
    real.client.create(POD, placed(shell("one", script)))

    until(real, POD, "one", "Succeeded")

    assert kubectl(real, "logs", "one") == "hello\nca.crt\nnamespace\ntoken\n"
    said = kubectl(real, "logs", "one", "--previous")
    assert 'previous terminated container "main" in pod "one" not found' in said


def test_a_claim_is_bound_and_written_to(real: Cluster, outpost: Outpost) -> None:
    real.client.create(CLAIM, placed(builders.claim("disk", "1Mi", storageClassName="local-wait")))
    real.client.create(POD, placed(shell("two", "echo x > /data/x", container=MOUNT, volumes=VOLUMES)))

    until(real, POD, "two", "Succeeded")

    claim = until(real, CLAIM, "disk", "Bound")
    volume = real.client.get(VOLUME, Key(meta.spec(claim)["volumeName"]))
    path = Path(meta.spec(volume)["local"]["path"])
    assert (path / "x").read_text() == "x\n"
    real.client.delete(POD, Key("two", PLACE))
    real.client.delete(CLAIM, Key("disk", PLACE))
    eventually(lambda: not there(real, VOLUME, meta.key(volume)) and not path.exists(), 120)


def test_a_data_volume_is_imported(real: Cluster, outpost: Outpost, tmp_path: Path) -> None:
    for crd in crds.definitions():
        try:
            real.client.create(CRD, crd)
        except AlreadyExists:
            continue
    eventually(lambda: served(real), 60)
    for kind, name in ((CDI, "cdi"), (CDI_CONFIG, "config")):
        if not there(real, kind, Key(name)):
            real.client.create(kind, some(kind, name, spec={}))
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "disk.raw").write_bytes(b"disk" * (1 << 18))
    with (
        image_server(tmp_path / "images", tmp_path / "nginx") as images,
        Scraper() as scraper,
        ExitStack() as stack,
    ):
        controllers = Controllers(real.client, datavolume_controller.reconcilers(scraper))
        controllers.start()
        stack.callback(controllers.stop)
        wish = {"resources": {"requests": {"storage": "64Mi"}}, "storageClassName": "local"}
        real.client.create(
            DATA_VOLUME, placed(builders.data_volume("dv", images.url("disk.raw"), storage=wish))
        )

        until(real, DATA_VOLUME, "dv", "Succeeded")

    volume = real.client.get(VOLUME, Key(meta.spec(until(real, CLAIM, "dv", "Bound"))["volumeName"]))
    disk = Path(meta.spec(volume)["local"]["path"]) / "disk.img"
    assert disk.read_bytes()[: 1 << 20] == b"disk" * (1 << 18)


LAUNCHER = """
import socket
import threading

def serve(name, answer):
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("/private/" + name)
        listening.listen()
        while True:
            came, _ = listening.accept()
            with came:
                came.sendall(answer(came.recv(4096)))

threading.Thread(target=serve, args=("console", bytes.upper)).start()
print("up", flush=True)
serve("control.sock", lambda order: b'{"done": "freeze", "said": ' + order.strip() + b"}" + bytes([10]))
"""
"""What a launcher shares with the agent of its node: a socket for orders, one for its console."""


@pytest.mark.skipif(address() == "127.0.0.1", reason="this machine has no address that others reach")
def test_guests_of_another_node_are_reached_by_way_of_the_api_server(real: Cluster, outpost: Outpost) -> None:
    mounts = {"volumeMounts": [{"name": "private", "mountPath": "/private"}]}
    volumes = [{"name": "private", "emptyDir": {}}]
    pod = real.client.create(POD, placed(python("guest", LAUNCHER, container=mounts, volumes=volumes)))
    until(real, POD, "guest", "Running")
    eventually(lambda: "up" in kubectl(real, "logs", "guest"), 60)
    far = FarGuests(real.client, "far")

    said = far.order(meta.uid(pod), "freeze", seconds=5)
    stream = far.stream(meta.uid(pod), "console")
    stream.settimeout(60)
    stream.sendall(b"hello")
    heard = stream.recv(64)
    stream.close()

    assert (said, heard) == ({"do": "freeze", "with": {"seconds": 5}}, b"HELLO")
    with pytest.raises(ServerError, match="the guest's launcher does not answer"):
        far.order("0000", "pause")
    with pytest.raises(ServerError, match="the guest has no address on its node"):
        far.port(meta.uid(pod), Port(80))
    with pytest.raises(NotFound):
        far.order("..", "pause")
    real.client.delete(POD, Key("guest", PLACE))


def served(real: Cluster) -> bool:
    try:
        real.client.list(DATA_VOLUME)
    except ApiError:
        return False
    return True
