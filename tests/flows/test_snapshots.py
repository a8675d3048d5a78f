"""Snapshots by the API, as users make them, and DataVolumes that are cloned from them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from diskyard.api.names import kubernetes
from tests.builders import eventually
from tests.flows.place import Place
from tests.flows.test_clones import SOMEBODY, disk, done, nothing_left, objects, permitted, somebody, way
from tests.flows.yard import CDI, data_volume

SNAPSHOTS = ("snapshot.storage.k8s.io", "v1", "default", "volumesnapshots")


@pytest.fixture(scope="module")
def filled(place: Place, qcow2: str) -> Path:
    """The disk of a claim that is filled."""
    place.create(data_volume("of-snapshots", {"http": {"url": qcow2}}))
    place.wait("datavolumes", "of-snapshots", "Succeeded", 120)
    return place.volume("of-snapshots") / "disk.img"


@pytest.fixture(scope="module")
def monday(place: Place, filled: Path) -> str:
    """A snapshot of it."""
    return taken(place, "monday")


def taken(place: Place, name: str) -> str:
    spec = {"source": {"persistentVolumeClaimName": "of-snapshots"}}
    body = {"apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot", "metadata": {"name": name}}
    objects(place).create_namespaced_custom_object(*SNAPSHOTS, {**body, "spec": spec})

    def ready() -> bool:
        found = objects(place).get_namespaced_custom_object(*SNAPSHOTS, name)
        assert found.get("status", {}).get("readyToUse"), found.get("status")
        return True

    eventually(ready, 120)
    return name


def class_by_snapshot(place: Place) -> str:
    """A storage class whose claims are cloned by snapshots, made where it is not there."""
    name, profiles = "by-snapshot", (*CDI, "storageprofiles")
    found = client.StorageV1Api(place.api())
    if not any(each.metadata.name == name for each in found.list_storage_class().items):
        found.create_storage_class({"metadata": {"name": name}, "provisioner": kubernetes.PROVISIONER})

    def known(strategy: str = "") -> bool:
        try:
            said = objects(place).get_cluster_custom_object(*profiles, name).get("status") or {}
        except ApiException as error:
            raise AssertionError(f"{name} has no profile: {error.status}") from error
        assert said, f"the profile of {name} says nothing yet"
        assert strategy in said.get("cloneStrategy", ""), said
        return True

    eventually(known, 120)
    objects(place).patch_cluster_custom_object(*profiles, name, {"spec": {"cloneStrategy": "snapshot"}})
    eventually(lambda: known("snapshot"), 120)
    return name


def snapshots(place: Place) -> list[str]:
    return [
        each["metadata"]["name"] for each in objects(place).list_namespaced_custom_object(*SNAPSHOTS)["items"]
    ]


def of(name: str, source: dict[str, Any], **storage: Any) -> dict[str, Any]:
    spec = {**source, "storage": storage}
    return {"apiVersion": "/".join(CDI), "kind": "DataVolume", "metadata": {"name": name}, "spec": spec}


def test_a_snapshot_is_cloned_at_its_size(place: Place, monday: str, filled: Path) -> None:
    place.create(of("from-monday", {"source": {"snapshot": {"namespace": "default", "name": monday}}}))

    place.wait("datavolumes", "from-monday", "Succeeded", 120)

    same = disk(place, "from-monday").read_bytes() == filled.read_bytes()
    assert same, "the clone is not what the snapshot holds"
    assert way(place, "from-monday") == ("snapshot", "")
    nothing_left(place)


def test_a_data_source_may_stand_for_a_snapshot(place: Place, monday: str, filled: Path) -> None:
    said = {"source": {"snapshot": {"namespace": "default", "name": monday}}}
    body = {"apiVersion": "/".join(CDI), "kind": "DataSource", "metadata": {"name": "mondays"}, "spec": said}
    objects(place).create_namespaced_custom_object(*CDI, "default", "datasources", body)
    eventually(lambda: _ready(place, "mondays"))

    place.create(of("by-name", {"sourceRef": {"kind": "DataSource", "name": "mondays"}}))

    place.wait("datavolumes", "by-name", "Succeeded", 120)
    same = disk(place, "by-name").read_bytes() == filled.read_bytes()
    assert same, "the clone is not what the snapshot holds"


def test_a_larger_disk_is_copied_from_what_the_snapshot_becomes(
    place: Place, monday: str, filled: Path
) -> None:
    source = {"source": {"snapshot": {"namespace": "default", "name": monday}}}
    place.create(of("larger-monday", source, resources={"requests": {"storage": "100Mi"}}))

    place.wait("datavolumes", "larger-monday", "Succeeded", 180)

    assert way(place, "larger-monday")[0] == "copy"
    found = disk(place, "larger-monday")
    assert found.stat().st_size == 100 << 20
    same = found.read_bytes()[: filled.stat().st_size] == filled.read_bytes()
    assert same, "the clone is not what the snapshot holds"
    nothing_left(place)


def test_a_snapshot_of_another_namespace_takes_the_right_to_it(
    place: Place, monday: str, filled: Path, elsewhere: str
) -> None:
    asked = of("far-monday", {"source": {"snapshot": {"namespace": "default", "name": monday}}})
    where = (*CDI, elsewhere, "datavolumes")
    with somebody(place, elsewhere) as theirs:
        with pytest.raises(ApiException) as refused:
            theirs.create_namespaced_custom_object(*where, asked)
        assert "has insufficient permissions in clone source namespace default" in str(refused.value.body)
        with permitted(place, (elsewhere, SOMEBODY)):
            theirs.create_namespaced_custom_object(*where, asked)
            done(place, "far-monday", elsewhere)

    same = disk(place, "far-monday", elsewhere).read_bytes() == filled.read_bytes()
    assert same, "the clone is not what the snapshot holds"
    nothing_left(place)


@pytest.fixture
def by_snapshot(place: Place) -> Iterator[None]:
    """Claims are cloned by snapshots."""
    profiles = (*CDI, "storageprofiles", "local")
    api = client.CustomObjectsApi(place.api())
    api.patch_cluster_custom_object(*profiles, {"spec": {"cloneStrategy": "snapshot"}})
    eventually(lambda: api.get_cluster_custom_object(*profiles)["status"].get("cloneStrategy") == "snapshot")
    yield
    api.patch_cluster_custom_object(*profiles, {"spec": {"cloneStrategy": None}})
    eventually(lambda: api.get_cluster_custom_object(*profiles)["status"].get("cloneStrategy") != "snapshot")


def test_a_claim_is_cloned_by_a_snapshot_that_goes_again(
    place: Place, by_snapshot: None, filled: Path
) -> None:
    source = {"source": {"pvc": {"namespace": "default", "name": "of-snapshots"}}}
    place.create(of("smart", source))

    place.wait("datavolumes", "smart", "Succeeded", 120)

    assert way(place, "smart") == ("snapshot", "")
    same = disk(place, "smart").read_bytes() == filled.read_bytes()
    assert same, "the clone is not what the claim holds"
    nothing_left(place)
    eventually(lambda: not [each for each in snapshots(place) if each.startswith("tmp-snapshot-")])


def _ready(place: Place, name: str) -> bool:
    found = objects(place).get_namespaced_custom_object(*CDI, "default", "datasources", name)
    conditions = found.get("status", {}).get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
