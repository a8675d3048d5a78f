"""kill -9 at every phase of every kind of clone, of the controllers of a cluster and of a whole yard.

The end is the same each time: what was asked for is there, byte for byte, and of what was made for a while nothing.
"""

import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from diskyard.api import meta
from diskyard.api.meta import CLAIM
from diskyard.api.names import cdi, clone, kubernetes
from diskyard.kube.http import connect
from standalone.store.log import Log
from standalone.store.objects import RETENTION
from tests.builders import eventually
from tests.flows.cluster import Clustered
from tests.flows.place import Place
from tests.flows.test_clones import disk, nothing_left, objects
from tests.flows.test_snapshots import SNAPSHOTS, class_by_snapshot, of, snapshots
from tests.flows.yard import Yard, data_volume, sweep

SOURCE = "struck"
FILLED = {"pvc": {"namespace": "default", "name": SOURCE}}
SHOT = {"snapshot": {"namespace": "default", "name": f"{SOURCE}-monday"}}
LARGER = {"resources": {"requests": {"storage": "100Mi"}}}
BY_SNAPSHOT = {"storageClassName": "by-snapshot"}
WAITING = {"storageClassName": kubernetes.LOCAL_WAIT_CLASS}
KINDS: Mapping[str, tuple[dict[str, Any], dict[str, Any], tuple[str, ...]]] = {
    "by-storage": (FILLED, {}, ("Pending", "CSIClone", "Rebind")),
    "copied": (FILLED, LARGER, ("Pending", "HostClone", "Rebind")),
    "snapped": (
        FILLED,
        BY_SNAPSHOT,
        ("Pending", "Snapshot", "SnapshotClone", "Rebind"),
    ),
    "restored": (SHOT, {}, ("Pending", "SnapshotClone", "Rebind")),
    "restored-and-copied": (SHOT, LARGER, ("Pending", "SnapshotClone", "HostClone", "Rebind")),
    "prepared": (
        FILLED,
        {"storageClassName": kubernetes.LOCAL_WAIT_CLASS},
        ("Pending", "CSIClone", "PrepClaim", "Rebind"),
    ),
}
"""What is cloned, how its claim is to be, and the phases that it goes through."""
OVER = "Succeeded"


@dataclass
class Struck:
    """A place with something that is killed again and again."""

    place: Place
    killed: Callable[[], int]
    """Kill it; the last revision that it has written."""
    begun: Callable[[], Place]

    def strike(self) -> int:
        """Kill it, and start it again."""
        last = self.killed()
        self.place = self.begun()
        return last


@pytest.fixture
def controllers(cluster: Clustered) -> Iterator[Struck]:
    """A cluster's controllers alone: its API server, its node and what runs there go on."""

    def killed() -> int:
        assert cluster.controllers
        cluster.controllers.kill()
        cluster.controllers.wait()
        return int(_revision(cluster))

    def begun() -> Place:
        cluster.lead()
        return cluster

    yield Struck(cluster, killed, begun)
    assert cluster.controllers
    if cluster.controllers.poll() is not None:
        cluster.lead()


@pytest.fixture
def whole_yard(tmp_path: Path) -> Iterator[Struck]:
    """A yard of its own: server, controllers and node at once."""
    yards: list[Yard] = []

    def begun() -> Place:
        yards.append(Yard.up(tmp_path / "yard"))
        return yards[-1]

    def killed() -> int:
        yards[-1].kill()
        with closing(Log(tmp_path / "yard" / "store.db", RETENTION)) as store:
            return store.revision

    try:
        yield Struck(begun(), killed, begun)
    finally:
        if yards[-1].process.poll() is None:
            yards[-1].stop()
        sweep(tmp_path / "yard")


def prepare(place: Place, url: str) -> None:
    """A claim that is filled, and a snapshot of it."""
    place.create(data_volume(SOURCE, {"http": {"url": url}}))
    class_by_snapshot(place)
    place.wait("datavolumes", SOURCE, "Succeeded", 120)
    body = {
        "apiVersion": "snapshot.storage.k8s.io/v1",
        "kind": "VolumeSnapshot",
        "metadata": {"name": SHOT["snapshot"]["name"]},
        "spec": {"source": {"persistentVolumeClaimName": SOURCE}},
    }
    objects(place).create_namespaced_custom_object(*SNAPSHOTS, body)


def begin(place: Place, kinds: tuple[str, ...]) -> None:
    """All of them at once."""
    for name in kinds:
        source, storage, _ = KINDS[name]
        asked = of(name, {"source": source}, **storage)
        asked["metadata"]["annotations"] = {cdi.IMMEDIATE_BINDING: "true"}
        place.create(asked)


def struck_at_every_phase(struck: Struck, kinds: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """The phases that each clone went through; something was killed as soon as one was told for the first time."""
    seen: dict[str, list[str]] = {name: [] for name in kinds}
    since = _revision(struck.place)
    begin(struck.place, kinds)
    dead = 0
    while not all(OVER in phases for phases in seen.values()):
        before = sum(map(len, seen.values()))
        since = _until_another(struck.place, since, dead, seen)
        if sum(map(len, seen.values())) > before and not all(OVER in phases for phases in seen.values()):
            dead = struck.strike()
    return {name: tuple(phases[:-1]) for name, phases in seen.items()}


def _until_another(place: Place, since: str, dead: int, seen: dict[str, list[str]]) -> str:
    """Take down phases until one is told that is newer than the last death; the revision that was seen last."""
    with closing(connect(place.kubeconfig)) as server, closing(server.watch(CLAIM, since)) as changes:
        for change in changes:
            since = str(meta.meta(change.obj)["resourceVersion"])
            phase = meta.annotations(change.obj).get(clone.PHASE, "")
            phases = seen.get(meta.name(change.obj))
            if phases is None or not phase or phase in phases:
                continue
            phases.append(phase)
            if int(since) > dead or all(OVER in each for each in seen.values()):
                break
    return since


def _revision(place: Place) -> str:
    with closing(connect(place.kubeconfig)) as server:
        return server.list(CLAIM).resource_version


def checked(place: Place, kinds: tuple[str, ...]) -> None:
    """Each clone is what its source is, and nothing else is left."""
    source = place.volume(SOURCE) / "disk.img"
    for name in kinds:
        place.wait("datavolumes", name, OVER, 60)
        done = subprocess.run(
            ["qemu-img", "compare", "-f", "raw", "-F", "raw", source, disk(place, name)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, (name, done.stdout, done.stderr)
    nothing_left(place)
    eventually(lambda: not [each for each in snapshots(place) if each.startswith("tmp-")], 60)


@pytest.mark.cluster
@pytest.mark.timeout(400)
def test_clones_end_the_same_whenever_the_controllers_are_killed(controllers: Struck, qcow2: str) -> None:
    kinds = tuple(KINDS)
    prepare(controllers.place, qcow2)

    went = struck_at_every_phase(controllers, kinds)

    assert went == {name: phases for name, (_, _, phases) in KINDS.items()}
    checked(controllers.place, kinds)


@pytest.mark.parametrize(
    "kinds",
    [("copied", "snapped"), pytest.param(tuple(KINDS), marks=pytest.mark.cluster)],
    ids=["two", "every"],
)
@pytest.mark.timeout(400)
def test_clones_end_the_same_whenever_the_yard_is_killed(
    whole_yard: Struck, qcow2: str, kinds: tuple[str, ...]
) -> None:
    prepare(whole_yard.place, qcow2)

    went = struck_at_every_phase(whole_yard, kinds)

    assert went == {name: KINDS[name][2] for name in kinds}
    checked(whole_yard.place, kinds)
