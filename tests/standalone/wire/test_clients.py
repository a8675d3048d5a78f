"""The official Python client on the served store: what its users write, unchanged."""

from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes import client, config, dynamic, watch

from diskyard import VERSION
from diskyard.api import meta
from diskyard.api.meta import POD
from tests import builders
from tests.served import Yard

VOLUMES = ("cdi.kubevirt.io", "v1beta1")


@pytest.fixture(scope="module")
def api(yard: Yard) -> Iterator[client.ApiClient]:
    with config.new_client_from_config(str(yard.kubeconfig)) as found:
        yield found


@pytest.fixture(scope="module")
def custom(api: client.ApiClient) -> client.CustomObjectsApi:
    return client.CustomObjectsApi(api)


@pytest.fixture(scope="module")
def core(api: client.ApiClient) -> client.CoreV1Api:
    return client.CoreV1Api(api)


def made(custom: Any, place: str, name: str) -> Any:
    body = builders.data_volume(name) | {"metadata": {"name": name}}
    return custom.create_namespaced_custom_object(*VOLUMES, place, "datavolumes", body)


def test_data_volumes_are_created_listed_patched_and_deleted(custom: Any, place: str) -> None:
    made(custom, place, "one")

    patched = custom.patch_namespaced_custom_object(
        *VOLUMES, place, "datavolumes", "one", {"metadata": {"labels": {"a": "b"}}}
    )
    listed = custom.list_namespaced_custom_object(*VOLUMES, place, "datavolumes")["items"]
    custom.delete_namespaced_custom_object(*VOLUMES, place, "datavolumes", "one")

    assert meta.labels(patched) == {"a": "b"}
    assert [meta.name(one) for one in listed] == ["one"]
    with pytest.raises(client.ApiException, match="not found"):
        custom.get_namespaced_custom_object(*VOLUMES, place, "datavolumes", "one")


def test_a_watch_tells_of_a_data_volumes_status(custom: Any, place: str) -> None:
    made(custom, place, "one")
    custom.patch_namespaced_custom_object_status(
        *VOLUMES, place, "datavolumes", "one", {"status": {"phase": "Succeeded"}}
    )

    told = watch.Watch()
    for event in told.stream(
        custom.list_namespaced_custom_object, *VOLUMES, place, "datavolumes", timeout_seconds=5
    ):
        if meta.phase(event["object"]) == "Succeeded":
            told.stop()

    assert meta.phase(event["object"]) == "Succeeded"


def test_typed_objects_go_both_ways(core: Any, place: str) -> None:
    wanted = client.V1ConfigMap(metadata=client.V1ObjectMeta(name="one"), data={"a": "b"})

    core.create_namespaced_config_map(place, wanted)

    assert core.read_namespaced_config_map("one", place).data == {"a": "b"}
    assert [one.metadata.name for one in core.list_namespaced_config_map(place).items] == ["one"]


def test_a_strategic_patch_merges_containers_by_name(core: Any, place: str) -> None:
    core.create_namespaced_pod(place, builders.pod("one") | {"metadata": {"name": "one"}})

    patch = {"spec": {"containers": [{"name": "main", "image": "other"}]}}
    core.patch_namespaced_pod("one", place, patch)

    containers = core.read_namespaced_pod("one", place).spec.containers
    assert [(one.name, one.image, one.command) for one in containers] == [("main", "other", ["true"])]


def test_a_pods_log_is_read_and_followed(yard: Yard, core: Any, place: str) -> None:
    yard.store.create(POD, builders.pod("one") | {"metadata": {"name": "one", "namespace": place}})

    whole = core.read_namespaced_pod_log("one", place)
    last = core.read_namespaced_pod_log("one", place, tail_lines=1)
    followed = core.read_namespaced_pod_log("one", place, follow=True, _preload_content=False)
    lines = [next(followed) for _ in range(4)]
    followed.close()

    assert whole == "one 0\none 1\none 2\n"
    assert last == "one 2\n"
    assert b"".join(lines) == b"one 0\none 1\none 2\nand more\n"


def test_a_log_of_a_container_that_is_not_there_is_refused(yard: Yard, core: Any, place: str) -> None:
    yard.store.create(POD, builders.pod("one") | {"metadata": {"name": "one", "namespace": place}})

    with pytest.raises(client.ApiException, match="container other is not valid for pod one"):
        core.read_namespaced_pod_log("one", place, container="other")


def test_a_log_that_is_refused_at_its_first_piece_is_a_status_too(yard: Yard, core: Any, place: str) -> None:
    yard.store.create(POD, builders.pod("one") | {"metadata": {"name": "one", "namespace": place}})

    with pytest.raises(client.ApiException, match="previous terminated container of pod one not found"):
        core.read_namespaced_pod_log("one", place, previous=True)


def test_the_dynamic_client_discovers_our_kinds(api: client.ApiClient, place: str) -> None:
    machines = dynamic.DynamicClient(api).resources.get(api_version="kubevirt.io/v1", kind="VirtualMachine")

    machines.create(builders.machine("one") | {"metadata": {"name": "one"}}, namespace=place)

    assert machines.get(name="one", namespace=place).spec.runStrategy == "Always"


def test_it_learns_what_the_server_is_and_serves(api: client.ApiClient) -> None:
    assert client.VersionApi(api).get_code().git_version.endswith(f"+diskyard-{VERSION}")
    assert client.CoreApi(api).get_api_versions().versions == ["v1"]
    assert "kubevirt.io" in {one.name for one in client.ApisApi(api).get_api_versions().groups}
    assert client.StorageApi(api).get_api_group().preferred_version.version == "v1"
    assert "pods" in {one.name for one in client.CoreV1Api(api).get_api_resources().resources}
    assert "storageclasses" in {one.name for one in client.StorageV1Api(api).get_api_resources().resources}
