"""kill -9 of a real cluster's node at the worst moments: what ran still runs, and the next node knows how it ended."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes.client.exceptions import ApiException

from diskyard import IMAGE
from standalone.node import process
from tests.builders import eventually
from tests.flows.cluster import Clustered
from tests.flows.yard import data_volume, machine, processes
from tests.guest import GREETING

pytestmark = pytest.mark.cluster
WAITS = "echo up; while ! test -e /pod/go; do sleep 0.05; done; echo went; exit 5"


@pytest.fixture
def node(cluster: Clustered) -> Iterator[Clustered]:
    """The cluster, whose node a test may end: it runs again afterwards."""
    yield cluster
    cluster.begin()


def waiting(cluster: Clustered, name: str) -> Path:
    """A pod that has begun to wait for the file `go` in its folder; that folder."""
    mounts = [{"name": "pod", "mountPath": "/pod"}]
    main = {"name": "main", "image": IMAGE, "command": ["sh", "-c", WAITS], "volumeMounts": mounts}
    spec = {"restartPolicy": "Never", "containers": [main], "volumes": [{"name": "pod", "emptyDir": {}}]}
    cluster.core().create_namespaced_pod("default", {"metadata": {"name": name}, "spec": spec})
    eventually(lambda: phase(cluster, name) == "Running", 120)
    eventually(lambda: "up" in cluster.logs(name), 60)
    return home(cluster, name) / "volumes" / "kubernetes.io~empty-dir" / "pod"


def home(cluster: Clustered, name: str) -> Path:
    pod = cluster.core().read_namespaced_pod(name, "default")
    return cluster.directory / "pods" / str(pod.metadata.uid)


def keeper(cluster: Clustered, name: str) -> int:
    return process.holder(home(cluster, name) / "containers" / "main" / "0")


def phase(cluster: Clustered, name: str) -> str:
    return str(cluster.core().read_namespaced_pod(name, "default").status.phase)


def ended(cluster: Clustered, name: str) -> Any:
    """How the pod's container ended, once it has."""
    eventually(lambda: phase(cluster, name) == "Failed", 120)
    status = cluster.core().read_namespaced_pod(name, "default").status.container_statuses[0]
    assert status.restart_count == 0
    return status.state.terminated


def gone(cluster: Clustered, name: str) -> bool:
    try:
        cluster.core().read_namespaced_pod(name, "default")
    except ApiException as error:
        return error.status == 404
    return False


def test_a_pod_runs_on_and_is_found_again(node: Clustered) -> None:
    folder = waiting(node, "runs-on")
    node.halt()

    node.begin()

    assert phase(node, "runs-on") == "Running"
    (folder / "go").touch()
    assert ended(node, "runs-on").exit_code == 5
    assert node.logs("runs-on") == "up\nwent\n"


def test_a_pod_that_ended_meanwhile_has_its_true_end(node: Clustered) -> None:
    folder = waiting(node, "ends")
    node.halt()
    (folder / "go").touch()
    eventually(lambda: not keeper(node, "ends"), 60)

    node.begin()

    assert ended(node, "ends").exit_code == 5


def test_a_pod_whose_end_nobody_saw_is_said_to_be_lost(node: Clustered) -> None:
    waiting(node, "lost")
    node.halt()
    os.kill(keeper(node, "lost"), signal.SIGKILL)
    eventually(lambda: not keeper(node, "lost"), 60)

    node.begin()

    end = ended(node, "lost")
    assert (end.exit_code, end.reason) == (255, "Unknown")
    assert "was stopped without notice" in end.message


@pytest.mark.parametrize("grace", [1, 0], ids=["gracefully", "by force"])
def test_a_pod_that_was_deleted_meanwhile_is_ended(node: Clustered, grace: int) -> None:
    waiting(node, f"deleted-{grace}")
    place, held = home(node, f"deleted-{grace}"), keeper(node, f"deleted-{grace}")
    assert held
    node.halt()
    node.core().delete_namespaced_pod(f"deleted-{grace}", "default", grace_period_seconds=grace)

    node.begin()

    eventually(lambda: gone(node, f"deleted-{grace}") and not place.exists(), 120)


def test_an_import_survives_the_node_and_goes_on(node: Clustered, slow_image: str) -> None:
    node.create(data_volume("survivor", {"http": {"url": slow_image}}, "96Mi"))
    node.wait("datavolumes", "survivor", "ImportInProgress", 120)
    node.halt()
    assert processes(node.directory), "the importer outlives the node"

    node.begin()

    done = node.wait("datavolumes", "survivor", "Succeeded", 120)
    assert done["status"].get("restartCount", 0) == 0
    assert (node.volume("survivor") / "disk.img").is_file()


def test_a_guest_is_found_again_and_ctrl_c_stops_it_until_the_next_start(
    node: Clustered, guest_url: str
) -> None:
    node.create(data_volume("steady", {"http": {"url": guest_url}}, "1Gi"))
    node.create(machine("steady", "steady"))
    node.console_says("steady", GREETING.decode(), 240)
    before = node.wait("virtualmachineinstances", "steady", "Running")
    node.halt()

    node.begin()

    after = node.until("virtualmachines", "steady", lambda vm: vm["status"].get("ready") is True, 120)
    found = node.get("virtualmachineinstances", "steady")
    assert (found["metadata"]["uid"], found["status"]["phase"]) == (before["metadata"]["uid"], "Running")
    assert after["status"]["printableStatus"] == "Running"
    assert node.halt(signal.SIGINT) == 0
    assert not processes(node.directory)
    node.begin()
    again = node.until(
        "virtualmachineinstances",
        "steady",
        lambda vmi: (
            vmi["metadata"]["uid"] != before["metadata"]["uid"] and vmi["status"].get("phase") == "Running"
        ),
        240,
    )
    assert again
    node.delete("virtualmachines", "steady")
    node.gone("virtualmachines", "steady", 180)
