"""Clones by the API, as users make them: into the same namespace and another, with and without the right to."""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from tests.builders import eventually
from tests.flows.place import Place
from tests.flows.yard import CDI, data_volume
from tests.imageserver import ImageServer

SOMEBODY = "somebody"


@pytest.fixture(scope="session")
def source(place: Place, qcow2: str) -> Path:
    """The disk of a claim that is filled; nothing ever writes to it."""
    place.create(data_volume("golden", {"http": {"url": qcow2}}))
    place.wait("datavolumes", "golden", "Succeeded", 120)
    return place.volume("golden") / "disk.img"


def cloned(name: str, source: str = "golden", namespace: str = "default", **storage: Any) -> dict[str, Any]:
    return {
        "apiVersion": "/".join(CDI),
        "kind": "DataVolume",
        "metadata": {"name": name},
        "spec": {"source": {"pvc": {"name": source, "namespace": namespace}}, "storage": storage},
    }


def objects(place: Place, namespace: str = "default") -> client.CustomObjectsApi:
    return client.CustomObjectsApi(place.api())


def done(place: Place, name: str, namespace: str) -> dict[str, Any]:
    def seen() -> dict[str, Any]:
        found = objects(place).get_namespaced_custom_object(*CDI, namespace, "datavolumes", name)
        assert found.get("status", {}).get("phase") == "Succeeded", json.dumps(found.get("status"), indent=1)
        return dict(found)

    return eventually(seen, 120)


def disk(place: Place, name: str, namespace: str = "default") -> Path:
    found = place.core().read_namespaced_persistent_volume_claim(name, namespace)
    return place.directory / "volumes" / str(found.spec.volume_name) / "disk.img"


def way(place: Place, name: str) -> tuple[str, str]:
    """How a claim was cloned, and why not better."""
    said = place.core().read_namespaced_persistent_volume_claim(name, "default").metadata.annotations
    return said["cdi.kubevirt.io/cloneType"], said.get("cdi.kubevirt.io/cloneFallbackReason", "")


def left(place: Place) -> list[str]:
    """What clones have made for a while and is still there, in any namespace."""
    core = place.core()
    claims = core.list_persistent_volume_claim_for_all_namespaces().items
    pods = core.list_pod_for_all_namespaces().items
    secrets = core.list_secret_for_all_namespaces().items
    names = [each.metadata.name for each in (*claims, *pods, *secrets)]
    sources = objects(place).list_cluster_custom_object(*CDI, "volumeclonesources")["items"]
    names += [each["metadata"]["name"] for each in sources]
    return [
        each
        for each in names
        if re.match("tmp-|prep-|volume-clone-source-|importer-tmp", each) or "source-pod" in each
    ]


def nothing_left(place: Place) -> None:
    def seen() -> bool:
        found = left(place)
        assert not found, found
        return True

    eventually(seen, 90)


def condition(obj: dict[str, Any], kind: str) -> tuple[str, str, str]:
    found = next(c for c in obj["status"]["conditions"] if c["type"] == kind)
    return found["status"], found.get("reason", ""), found.get("message", "")


def test_a_claim_is_cloned_and_nothing_else_is_left(place: Place, source: Path) -> None:
    place.create(cloned("near"))

    found = place.wait("datavolumes", "near", "Succeeded", 120)

    assert disk(place, "near").read_bytes() == source.read_bytes()
    assert disk(place, "near").stat().st_blocks <= source.stat().st_blocks + 64
    assert condition(found, "Running") == ("False", "Completed", "Clone Complete")
    assert found["status"]["progress"] == "100.0%"
    place.told("near", "Successfully cloned from default/golden into default/near")
    assert way(place, "near") == ("csi-clone", "")
    nothing_left(place)


def test_a_clone_into_another_namespace_is_as_good(place: Place, source: Path, elsewhere: str) -> None:
    objects(place).create_namespaced_custom_object(*CDI, elsewhere, "datavolumes", cloned("far"))

    done(place, "far", elsewhere)

    assert disk(place, "far", elsewhere).read_bytes() == source.read_bytes()
    nothing_left(place)


def test_a_clone_may_be_larger_and_its_disk_grows(place: Place, source: Path) -> None:
    place.create(cloned("larger", resources={"requests": {"storage": "100Mi"}}))

    place.wait("datavolumes", "larger", "Succeeded", 120)

    assert way(place, "larger") == (
        "copy",
        "The disk is to be larger than the source's: it is copied, so that it grows",
    )
    found = disk(place, "larger")
    assert found.stat().st_size == 100 << 20
    assert found.read_bytes()[: source.stat().st_size] == source.read_bytes()


def test_a_clone_that_is_too_small_is_refused_with_both_sizes(place: Place, source: Path) -> None:
    place.create(cloned("smaller", resources={"requests": {"storage": "32Mi"}}))

    place.told("smaller", "target resources requests storage size is smaller than the source", 60)

    assert "33554432" not in left(place)
    place.delete("datavolumes", "smaller")
    place.gone("datavolumes", "smaller")


def test_a_source_may_come_later(place: Place, images: ImageServer, qcow2: str) -> None:
    place.create(cloned("early", "late-golden"))
    place.until("datavolumes", "early", lambda dv: "late-golden" in json.dumps(dv["status"]), 60)
    place.create(data_volume("late-golden", {"http": {"url": qcow2}}))

    place.wait("datavolumes", "early", "Succeeded", 120)

    assert disk(place, "early").read_bytes() == disk(place, "late-golden").read_bytes()


def test_a_source_that_is_written_to_is_waited_for_and_its_user_named(place: Place, qcow2: str) -> None:
    place.create(data_volume("busy", {"http": {"url": qcow2}}))
    place.wait("datavolumes", "busy", "Succeeded", 120)
    claim = {"name": "disk", "persistentVolumeClaim": {"claimName": "busy"}}
    writer = {
        "metadata": {"name": "writer"},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [
                {
                    "name": "main", "image": "diskyard", "command": ["sleep", "3600"],
                    "volumeMounts": [{"name": "disk", "mountPath": "/disk"}],
                }
            ],
            "volumes": [claim],
        },
    }  # fmt: skip
    place.core().create_namespaced_pod("default", writer)
    place.create(cloned("patient", "busy"))
    place.told("patient", "pod default/writer using PersistentVolumeClaim busy", 60)

    place.core().delete_namespaced_pod("writer", "default")

    place.wait("datavolumes", "patient", "Succeeded", 120)


def test_a_data_source_is_cloned_as_what_it_stands_for(place: Place, source: Path) -> None:
    place.create(
        {
            "apiVersion": "/".join(CDI),
            "kind": "DataSource",
            "metadata": {"name": "newest"},
            "spec": {"source": {"pvc": {"name": "golden", "namespace": "default"}}},
        }
    )
    asked = cloned("of-newest")
    del asked["spec"]["source"]
    asked["spec"]["sourceRef"] = {"kind": "DataSource", "name": "newest"}
    place.create(asked)

    place.wait("datavolumes", "of-newest", "Succeeded", 120)

    assert disk(place, "of-newest").read_bytes() == source.read_bytes()


def by_hand(name: str, **annotations: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": name,
            "annotations": {f"cdi.kubevirt.io/{k}": v for k, v in annotations.items()},
        },
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "local",
            "resources": {"requests": {"storage": "80Mi"}},
            "dataSourceRef": {"apiGroup": "cdi.kubevirt.io", "kind": "VolumeCloneSource", "name": "wanted"},
        },
    }


def wanted(name: str = "wanted") -> dict[str, Any]:
    return {
        "apiVersion": "/".join(CDI),
        "kind": "VolumeCloneSource",
        "metadata": {"name": name},
        "spec": {"source": {"kind": "PersistentVolumeClaim", "name": "golden"}},
    }


def test_a_claim_by_hand_is_cloned_from_what_it_names(place: Place, source: Path) -> None:
    place.create(wanted())
    place.core().create_namespaced_persistent_volume_claim("default", by_hand("own"))

    eventually(lambda: _bound(place, "own", "default"), 120)
    assert disk(place, "own").read_bytes()[: source.stat().st_size] == source.read_bytes()
    objects(place).delete_namespaced_custom_object(*CDI, "default", "volumeclonesources", "wanted")
    nothing_left(place)


def test_nobody_gets_at_another_namespace_by_writing_its_name_on_a_claim(
    place: Place, source: Path, elsewhere: str
) -> None:
    """What made CVE-2025-14459 and its forerunners possible: the controllers' right is never the user's."""
    nothing_left(place)  # of what was cloned before
    objects(place).create_namespaced_custom_object(*CDI, elsewhere, "volumeclonesources", wanted())
    forged = by_hand("thief", dataSourceNamespace="default")
    forged["metadata"]["annotations"]["cdi.kubevirt.io/storage.clone.token"] = "a.b.c"
    place.core().create_namespaced_persistent_volume_claim(elsewhere, forged)

    def refused() -> bool:
        found = place.core().read_namespaced_persistent_volume_claim("thief", elsewhere)
        said = (found.metadata.annotations or {}).get("cdi.kubevirt.io/cloneError", "")
        assert "may not be cloned from pvc default/golden" in said, found.metadata.annotations
        return True

    eventually(refused, 60)
    found = place.core().read_namespaced_persistent_volume_claim("thief", elsewhere)
    assert found.status.phase == "Pending"
    assert not [each for each in left(place) if each.startswith(("tmp-", "importer-tmp"))]
    place.core().delete_namespaced_persistent_volume_claim("thief", elsewhere)
    objects(place).delete_namespaced_custom_object(*CDI, elsewhere, "volumeclonesources", "wanted")


def test_a_service_account_with_the_right_may(place: Place, source: Path, elsewhere: str) -> None:
    objects(place).create_namespaced_custom_object(*CDI, elsewhere, "volumeclonesources", wanted("allowed"))
    asked = by_hand("given", dataSourceNamespace="default")
    asked["spec"]["dataSourceRef"]["name"] = "allowed"

    with permitted(place, (elsewhere, "default")):
        place.core().create_namespaced_persistent_volume_claim(elsewhere, asked)
        eventually(lambda: _bound(place, "given", elsewhere), 120)

    objects(place).delete_namespaced_custom_object(*CDI, elsewhere, "volumeclonesources", "allowed")
    nothing_left(place)


def test_a_clone_that_is_deleted_half_way_leaves_nothing(place: Place, images: ImageServer) -> None:
    (images.root / "large.img").write_bytes(os.urandom(64 << 20))
    place.create(data_volume("large", {"http": {"url": images.url("large.img")}}, "512Mi"))
    place.wait("datavolumes", "large", "Succeeded", 120)
    place.create(cloned("given-up", "large", resources={"requests": {"storage": "600Mi"}}))
    eventually(lambda: [each for each in left(place) if each.startswith("tmp-pvc")], 60)

    place.delete("datavolumes", "given-up")

    place.gone("datavolumes", "given-up", 90)
    nothing_left(place)


def test_a_quota_of_the_sources_namespace_is_said(place: Place, elsewhere: str, source: Path) -> None:
    place.core().create_namespace({"metadata": {"name": "full"}})
    made = objects(place).create_namespaced_custom_object(
        *CDI, "full", "datavolumes", data_volume("image", {"blank": {}}, "16Mi")
    )
    assert made
    done(place, "image", "full")
    quota = {"metadata": {"name": "none"}, "spec": {"hard": {"persistentvolumeclaims": "1"}}}
    place.core().create_namespaced_resource_quota("full", quota)
    place.create(cloned("over", "image", "full"))

    found = place.until("datavolumes", "over", lambda dv: "ErrExceededQuota" in json.dumps(dv["status"]), 90)
    assert "exceeded quota" in json.dumps(found["status"])
    more = {"spec": {"hard": {"persistentvolumeclaims": "5"}}}
    place.core().patch_namespaced_resource_quota("none", "full", more)

    place.wait("datavolumes", "over", "Succeeded", 120)


def _bound(place: Place, name: str, namespace: str) -> bool:
    return bool(place.core().read_namespaced_persistent_volume_claim(name, namespace).status.phase == "Bound")


@contextmanager
def somebody(place: Place, namespace: str) -> Iterator[client.CustomObjectsApi]:
    """The way of an account that may do everything in one namespace, and nothing elsewhere."""
    core, rbac = place.core(), client.RbacAuthorizationV1Api(place.api())
    core.create_namespaced_service_account(namespace, {"metadata": {"name": SOMEBODY}})
    rbac.create_namespaced_role_binding(
        namespace,
        {
            "metadata": {"name": SOMEBODY},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"},
            "subjects": [{"kind": "ServiceAccount", "name": SOMEBODY, "namespace": namespace}],
        },
    )
    asked = core.create_namespaced_service_account_token(SOMEBODY, namespace, {"spec": {}})
    settings = client.Configuration()
    mine = place.api().configuration
    settings.host, settings.ssl_ca_cert = mine.host, mine.ssl_ca_cert
    settings.api_key = {"authorization": f"Bearer {asked.status.token}"}
    with client.ApiClient(settings) as theirs:
        yield client.CustomObjectsApi(theirs)
    rbac.delete_namespaced_role_binding(SOMEBODY, namespace)
    core.delete_namespaced_service_account(SOMEBODY, namespace)


@contextmanager
def permitted(place: Place, account: tuple[str, str], source: str = "default") -> Iterator[None]:
    """An account, by namespace and name, that may clone what is in another namespace."""
    rbac, (namespace, name) = client.RbacAuthorizationV1Api(place.api()), account
    binding = {
        "metadata": {"name": f"{namespace}-clones"},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cdi.kubevirt.io:clone-sourcer",
        },
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
    }  # fmt: skip
    rbac.create_namespaced_role_binding(source, binding)
    yield
    rbac.delete_namespaced_role_binding(f"{namespace}-clones", source)


def test_who_may_not_clone_is_told_so_when_he_asks(place: Place, elsewhere: str, source: Path) -> None:
    with somebody(place, elsewhere) as theirs, pytest.raises(ApiException) as refused:
        theirs.create_namespaced_custom_object(*CDI, elsewhere, "datavolumes", cloned("not-mine"))
    assert "has insufficient permissions in clone source namespace default" in str(refused.value.body)
