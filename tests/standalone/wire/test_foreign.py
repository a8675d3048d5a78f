"""Clients that nobody here wrote, and their informers, on the served store."""

import asyncio
from collections.abc import Iterator
from typing import Any

import kubernetes
import kubernetes_asyncio
import lightkube
import pytest
from kubernetes.informer import ADDED, DELETED, MODIFIED, SharedInformer
from kubernetes_asyncio.watch import Watch
from lightkube.codecs import load_all_yaml
from lightkube.core.exceptions import ApiError
from lightkube.generic_resource import create_namespaced_resource
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import ConfigMap, Namespace, PersistentVolumeClaim
from lightkube.types import CascadeType, PatchType

from diskyard.api import meta
from diskyard.api.meta import CONFIG_MAP, Key
from tests import builders
from tests.builders import eventually
from tests.served import Yard

VOLUMES = ("cdi.kubevirt.io", "v1beta1")
DataVolume = create_namespaced_resource(*VOLUMES, "DataVolume", "datavolumes")


@pytest.fixture(scope="module")
def light(yard: Yard) -> Iterator[lightkube.Client]:
    known = lightkube.KubeConfig.from_file(str(yard.kubeconfig))
    found = lightkube.Client(config=known, field_manager="light", trust_env=False)
    yield found
    found._client._client.close()


def told(core: Any, place: str) -> tuple[SharedInformer, list[tuple[str, str]]]:
    """An informer of ConfigMaps, and what it has told."""
    seen: list[tuple[str, str]] = []
    informer = SharedInformer(core.list_namespaced_config_map, namespace=place)
    for kind in (ADDED, MODIFIED, DELETED):
        informer.add_event_handler(kind, lambda obj, kind=kind: seen.append((kind, obj.metadata.name)))
    return informer, seen


def test_the_official_informer_keeps_a_cache_that_follows(yard: Yard, place: str) -> None:
    yard.store.create(CONFIG_MAP, builders.some(CONFIG_MAP, "one", place))
    with kubernetes.config.new_client_from_config(str(yard.kubeconfig)) as api:
        informer, seen = told(kubernetes.client.CoreV1Api(api), place)
        informer.start()
        eventually(lambda: seen == [(ADDED, "one")], 60)
        yard.store.create(CONFIG_MAP, builders.some(CONFIG_MAP, "two", place))
        yard.store.patch(CONFIG_MAP, Key("one", place), {"data": {"a": "b"}})
        yard.store.delete(CONFIG_MAP, Key("two", place))
        eventually(lambda: len(seen) == 4, 60)
        cached = [(one.metadata.name, one.data) for one in informer.cache.list()]
        stopping = eventually(lambda: informer._watch)
        stopping.stop()
        yard.store.patch(
            CONFIG_MAP, Key("one", place), {"data": {"a": "c"}}
        )  # wakes its watch, which then ends
        informer.stop()

    assert seen[1:4] == [(ADDED, "two"), (MODIFIED, "one"), (DELETED, "two")]
    assert cached == [("one", {"a": "b"})]


def test_kubernetes_asyncio_writes_watches_and_is_refused_in_its_words(yard: Yard, place: str) -> None:
    async def used() -> tuple[list[str], str]:
        known = kubernetes_asyncio.client.Configuration()
        await kubernetes_asyncio.config.load_kube_config(str(yard.kubeconfig), client_configuration=known)
        async with kubernetes_asyncio.client.ApiClient(known) as api, Watch() as watch:
            custom = kubernetes_asyncio.client.CustomObjectsApi(api)
            body = builders.data_volume("one") | {"metadata": {"name": "one"}}
            await custom.create_namespaced_custom_object(*VOLUMES, place, "datavolumes", body)
            await custom.patch_namespaced_custom_object(
                *VOLUMES, place, "datavolumes", "one", {"metadata": {"labels": {"a": "b"}}},
                _content_type="application/merge-patch+json",
            )  # fmt: skip
            await custom.delete_namespaced_custom_object(*VOLUMES, place, "datavolumes", "one")
            core = kubernetes_asyncio.client.CoreV1Api(api)
            await core.create_namespaced_config_map(place, {"metadata": {"name": "two"}, "data": {"a": "b"}})
            # to its end: whoever breaks a watch off leaves a socket open until the collector comes
            events = watch.stream(core.list_namespaced_config_map, namespace=place, timeout_seconds=1)
            found = [event["object"].metadata.name async for event in events]
            with pytest.raises(kubernetes_asyncio.client.ApiException) as refused:
                await custom.get_namespaced_custom_object(*VOLUMES, place, "datavolumes", "one")
            return found, str(refused.value.body)

    found, refused = asyncio.run(used())

    assert found == ["two"]
    assert 'datavolumes.cdi.kubevirt.io \\"one\\" not found' in refused


def test_lightkube_makes_reads_patches_applies_and_deletes(light: lightkube.Client, place: str) -> None:
    light.create(ConfigMap(metadata=ObjectMeta(name="one", namespace=place), data={"a": "b"}))
    light.patch(ConfigMap, "one", {"data": {"c": "d"}}, namespace=place, patch_type=PatchType.MERGE)
    applied = light.apply(
        ConfigMap(metadata=ObjectMeta(name="two", namespace=place, labels={"x": "y"}), data={"a": "b"})
    )
    listed = {one.metadata.name: one.data for one in light.list(ConfigMap, namespace=place)}
    labelled = [one.metadata.name for one in light.list(ConfigMap, namespace=place, labels={"x": ["y", "z"]})]
    light.delete(ConfigMap, "one", namespace=place, cascade=CascadeType.BACKGROUND)
    left = [one.metadata.name for one in light.list(ConfigMap, namespace=place)]

    assert [one.manager for one in applied.metadata.managedFields] == ["light"]
    assert listed == {"one": {"a": "b", "c": "d"}, "two": {"a": "b"}}
    assert labelled == ["two"]
    assert left == ["two"]


def test_lightkube_watches_waits_and_knows_custom_kinds(
    yard: Yard, light: lightkube.Client, place: str
) -> None:
    light.create(DataVolume(builders.data_volume("one") | {"metadata": {"name": "one", "namespace": place}}))
    status = {"conditions": [{"type": "Ready", "status": "True"}], "phase": "Succeeded"}
    yard.store.patch(builders.DATA_VOLUME, Key("one", place), {"status": status}, "status")

    kind, first = next(iter(light.watch(DataVolume, namespace=place)))
    ready = light.wait(DataVolume, "one", for_conditions=["Ready"], namespace=place)

    assert (kind, first.metadata.name) == ("ADDED", "one")
    assert meta.phase(ready) == "Succeeded"


def test_lightkube_reads_what_it_loaded_from_yaml(light: lightkube.Client, place: str) -> None:
    text = """
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: one}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
"""

    (made,) = (light.create(one, namespace=place) for one in load_all_yaml(text))
    found = light.get(PersistentVolumeClaim, "one", namespace=place)

    assert made.metadata.uid == found.metadata.uid
    assert found.status.phase == "Pending"
    assert place in [one.metadata.name for one in light.list(Namespace)]


def test_lightkube_is_refused_in_kubernetes_words(light: lightkube.Client, place: str) -> None:
    with pytest.raises(ApiError) as refused:
        light.create(ConfigMap(metadata=ObjectMeta(name="No Name", namespace=place)))

    assert refused.value.status.code == 422
    assert "RFC 1123 subdomain" in refused.value.status.message
