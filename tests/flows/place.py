"""A place where Diskyard works, reached through its kubeconfig by the official client: a yard, or a cluster."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from tests.builders import eventually

CDI = ("cdi.kubevirt.io", "v1beta1")
KUBEVIRT = ("kubevirt.io", "v1")


@dataclass
class Place:
    """Where it is, and a client that knows nothing of Diskyard."""

    directory: Path
    """Of its node: the volumes lie there."""
    kubeconfig: Path
    clients: list[client.ApiClient] = field(default_factory=list, init=False)

    def close(self) -> None:
        """Let the connections go."""
        for known in self.clients:
            known.close()
        self.clients.clear()

    def api(self) -> client.ApiClient:
        """The official client, by the kubeconfig of the place."""
        if not self.clients:
            self.clients.append(config.new_client_from_config(str(self.kubeconfig)))
        return self.clients[0]

    def core(self) -> client.CoreV1Api:
        """Pods, claims, events ..."""
        return client.CoreV1Api(self.api())

    def create(self, obj: dict[str, Any]) -> dict[str, Any]:
        """Create one of our objects."""
        group, version = obj["apiVersion"].split("/")
        plural = obj["kind"].lower() + "s"
        api = client.CustomObjectsApi(self.api())
        return dict(api.create_namespaced_custom_object(group, version, "default", plural, obj))

    def refusal(self, obj: dict[str, Any]) -> str:
        """What is said when that object is to be made and may not be."""
        with pytest.raises(ApiException) as refused:
            self.create(obj)
        assert refused.value.status == 422, refused.value
        return str(refused.value.body)

    def get(self, plural: str, name: str) -> dict[str, Any]:
        """One of our objects, by plural and name."""
        group, version = CDI if plural in ("datavolumes", "datasources") else KUBEVIRT
        api = client.CustomObjectsApi(self.api())
        return dict(api.get_namespaced_custom_object(group, version, "default", plural, name))

    def patch(self, plural: str, name: str, patch: dict[str, Any]) -> None:
        """Merge a patch into one of our objects."""
        group, version = CDI if plural == "datavolumes" else KUBEVIRT
        client.CustomObjectsApi(self.api()).patch_namespaced_custom_object(
            group, version, "default", plural, name, patch
        )

    def delete(self, plural: str, name: str) -> None:
        """Ask for the deletion of one of our objects."""
        group, version = CDI if plural == "datavolumes" else KUBEVIRT
        client.CustomObjectsApi(self.api()).delete_namespaced_custom_object(
            group, version, "default", plural, name
        )

    def wait(self, plural: str, name: str, phase: str, within: float = 180) -> dict[str, Any]:
        """The object, once `status.phase` is `phase`."""
        return self.until(plural, name, lambda obj: obj.get("status", {}).get("phase") == phase, within)

    def until(
        self, plural: str, name: str, holds: Callable[[dict[str, Any]], bool], within: float = 180
    ) -> dict[str, Any]:
        """The object, once something holds of it; its last state in the failure."""

        def seen() -> dict[str, Any]:
            try:
                obj = self.get(plural, name)
            except ApiException as error:
                raise AssertionError(f"{plural}/{name}: {error.status} {error.reason}") from error
            assert holds({"status": {}, **obj}), json.dumps(obj.get("status"), indent=1)
            return obj

        return eventually(seen, within)

    def gone(self, plural: str, name: str, within: float = 180) -> None:
        """Wait until the object is not there."""

        def missing() -> bool:
            try:
                self.get(plural, name)
            except ApiException as error:
                return error.status == 404
            return False

        eventually(missing, within)

    def told(self, name: str, words: str, within: float = 120) -> str:
        """The events about objects of that name, once one holds these words."""

        def said() -> str:
            told = "\n".join(self.events(name))
            assert words in told, told
            return told

        return eventually(said, within)

    def events(self, name: str) -> list[str]:
        """`Reason: message` of every event about objects of that name."""
        found = self.core().list_namespaced_event("default", field_selector=f"involvedObject.name={name}")
        return [f"{event.reason}: {event.message}" for event in found.items]

    def volume(self, claim: str) -> Path:
        """The directory behind a claim."""
        bound = self.core().read_namespaced_persistent_volume_claim(claim, "default")
        return self.directory / "volumes" / str(bound.spec.volume_name)

    def logs(self, pod: str) -> str:
        """What a pod has said so far."""
        return str(self.core().read_namespaced_pod_log(pod, "default"))

    def launcher(self, instance: str) -> str:
        """The name of the pod that a guest runs in."""
        pods = self.core().list_namespaced_pod("default", label_selector=f"vm.kubevirt.io/name={instance}")
        return str(pods.items[0].metadata.name)

    def console_says(self, instance: str, words: str, within: float = 240) -> str:
        """The guest's serial console, once it has said something."""

        def said() -> str:
            try:
                console = self.logs(self.launcher(instance))
            except (ApiException, IndexError) as error:
                raise AssertionError(f"{instance} has no console yet: {error}") from error
            assert words in console, console[-2000:]
            return console

        return eventually(said, within)
