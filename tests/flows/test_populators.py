"""Claims with a populator, and imports that are put right, in every place: by the API, as users do it."""

from typing import Any

import pytest
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from tests.builders import eventually
from tests.flows.place import Place
from tests.flows.yard import CDI, data_volume
from tests.imageserver import ImageServer

GIVEN = "cdi.kubevirt.io/storage.pod.phase"
PROGRESS = "cdi.kubevirt.io/storage.populator.progress"


def import_source(name: str, url: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "/".join(CDI),
        "kind": "VolumeImportSource",
        "metadata": {"name": name},
        "spec": {"source": {"http": {"url": url}}, **spec},
    }


def populated(name: str, source: str, storage_class: str = "local", **metadata: Any) -> dict[str, Any]:
    """A claim as Kubernetes' own users write it."""
    reference = {"apiGroup": "cdi.kubevirt.io", "kind": "VolumeImportSource", "name": source}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, **metadata},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": storage_class,
            "resources": {"requests": {"storage": "80Mi"}},
            "dataSourceRef": reference,
        },
    }


def bound(place: Place, name: str) -> Any:
    def seen() -> Any:
        found = place.core().read_namespaced_persistent_volume_claim(name, "default")
        assert found.status.phase == "Bound", "\n".join(place.events(name))
        return found

    return eventually(seen, 90)


def notes(place: Place, name: str) -> dict[str, str]:
    """The claim's annotations."""
    found = place.core().read_namespaced_persistent_volume_claim(name, "default")
    return dict(found.metadata.annotations or {})


def claims(place: Place) -> set[str]:
    found = place.core().list_namespaced_persistent_volume_claim("default").items
    return {each.metadata.name for each in found}


def test_a_claim_is_filled_by_what_it_names_and_nothing_else_is_left(
    place: Place, images: ImageServer, qcow2: str
) -> None:
    place.core().create_namespaced_persistent_volume_claim("default", populated("populated", "image"))
    place.told("populated", "VolumeImportSource default/image doesn't exist")
    place.create(import_source("image", qcow2))

    bound(place, "populated")

    disk = place.volume("populated") / "disk.img"
    image = (images.folder / "disk.raw").read_bytes()
    assert disk.read_bytes()[: len(image)] == image
    eventually(lambda: notes(place, "populated").get(GIVEN) == "Succeeded")
    eventually(lambda: notes(place, "populated").get(PROGRESS) == "100.0%")
    eventually(lambda: not [each for each in claims(place) if each.startswith("prime-")], 60)
    place.core().delete_namespaced_persistent_volume_claim("populated", "default")
    eventually(lambda: not disk.parent.exists(), 60)


def test_a_datavolume_goes_by_a_populator_when_asked(place: Place, qcow2: str) -> None:
    dv = data_volume("by-populator", {"http": {"url": qcow2}})
    dv["metadata"]["annotations"] = {"cdi.kubevirt.io/storage.usePopulator": "true"}
    place.create(dv)

    done = place.wait("datavolumes", "by-populator", "Succeeded", 90)

    assert done["status"]["progress"] == "100.0%"
    assert (place.volume("by-populator") / "disk.img").stat().st_size == 64 << 20
    api = client.CustomObjectsApi(place.api())

    def sources() -> list[str]:
        found = api.list_namespaced_custom_object(*CDI, "default", "volumeimportsources")["items"]
        return [each["metadata"]["name"] for each in found]

    eventually(lambda: not [each for each in sources() if each.startswith("volume-import-source-")])
    eventually(lambda: not [each for each in claims(place) if each.startswith("prime-")], 60)


def test_a_populated_claim_that_is_deleted_half_way_leaves_nothing(place: Place, slow_image: str) -> None:
    place.create(import_source("slow", slow_image))
    asked = populated("half-way", "slow")
    asked["spec"]["resources"]["requests"]["storage"] = "200Mi"
    place.core().create_namespaced_persistent_volume_claim("default", asked)

    def running() -> bool:
        return notes(place, "half-way").get(GIVEN) == "Running"

    eventually(running)
    place.core().delete_namespaced_persistent_volume_claim("half-way", "default")

    eventually(lambda: not [each for each in claims(place) if each.startswith(("prime-", "half-way"))], 90)

    def pods() -> list[str]:
        return [each.metadata.name for each in place.core().list_namespaced_pod("default").items]

    eventually(lambda: not [each for each in pods() if each.startswith("importer-prime-")])


def test_a_wrong_url_is_put_right_without_another_datavolume(
    place: Place, images: ImageServer, qcow2: str
) -> None:
    place.create(data_volume("mistyped", {"http": {"url": images.url("no-such-image")}}))
    place.wait("datavolumes", "mistyped", "Failed", 90)

    place.patch("datavolumes", "mistyped", {"spec": {"source": {"http": {"url": qcow2}}}})

    done = place.wait("datavolumes", "mistyped", "Succeeded", 90)
    assert done["metadata"]["annotations"]["diskyard.io/attempts"].count('"run"') >= 2


def test_a_retry_fetches_what_is_there_by_now(place: Place, images: ImageServer) -> None:
    (images.root / "late.img").unlink(missing_ok=True)
    place.create(data_volume("too-early", {"http": {"url": images.url("late.img")}}))
    place.wait("datavolumes", "too-early", "Failed", 90)
    (images.root / "late.img").write_bytes(bytes(1 << 20))

    place.patch("datavolumes", "too-early", {"metadata": {"annotations": {"diskyard.io/retry": "now"}}})

    place.wait("datavolumes", "too-early", "Succeeded", 90)


def test_nothing_else_of_a_datavolume_changes(place: Place, qcow2: str) -> None:
    place.create(data_volume("settled", {"http": {"url": qcow2}}))
    place.wait("datavolumes", "settled", "Succeeded", 90)
    with pytest.raises(ApiException, match="Cannot update DataVolume Spec") as refused:
        place.patch("datavolumes", "settled", {"spec": {"source": {"http": {"url": "http://other/image"}}}})
    assert refused.value.status == 422


def test_a_claim_is_completed_as_a_datavolumes_where_its_label_asks(place: Place) -> None:
    asked: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "completed", "labels": {"cdi.kubevirt.io/applyStorageProfile": "true"}},
        "spec": {"resources": {"requests": {"storage": "64Mi"}}},
    }
    found = place.core().create_namespaced_persistent_volume_claim("default", asked)
    assert (found.spec.access_modes, found.spec.storage_class_name) == (["ReadWriteOnce"], "local")
    assert found.spec.resources.requests["storage"] == "71135396"
