"""`diskyard up` as its users run it: a process of its own, reached through its kubeconfig by the official client."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from tests.builders import eventually

CDI = ("cdi.kubevirt.io", "v1beta1")
KUBEVIRT = ("kubevirt.io", "v1")
READY_WITHIN = 60


@dataclass
class Yard:
    """A running yard and a client that knows nothing of Diskyard."""

    directory: Path
    process: "subprocess.Popen[str]"
    ready: str
    clients: list[client.ApiClient] = field(default_factory=list)

    @classmethod
    def up(cls, directory: Path, *options: str) -> "Yard":
        """Start it and wait for the one line that says `ready`."""
        with (directory.parent / f"{directory.name}.log").open("a") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "cli", "up", "--data-dir", str(directory), "--port", "0", *options],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        assert process.stdout
        for line in process.stdout:
            if line.startswith("ready"):
                return cls(directory, process, line)
        raise AssertionError(f"diskyard up ended with {process.wait()} before it was ready")

    def kill(self) -> None:
        """kill -9: what the machine's power switch does to it."""
        self.process.kill()
        self.process.wait()
        self._forget()

    def stop(self, signal_: int = signal.SIGINT, within: float = 60) -> int:
        """Ctrl-C (or another signal); its exit code."""
        self.process.send_signal(signal_)
        code = self.process.wait(within)
        self._forget()
        return code

    def _forget(self) -> None:
        for known in self.clients:
            known.close()
        self.clients.clear()
        if self.process.stdout:
            self.process.stdout.close()

    def api(self) -> client.ApiClient:
        """The official client, by the kubeconfig that the yard wrote."""
        if not self.clients:
            self.clients.append(config.new_client_from_config(str(self.directory / "kubeconfig")))
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

    def get(self, plural: str, name: str) -> dict[str, Any]:
        """One of our objects, by plural and name."""
        group, version = CDI if plural == "datavolumes" else KUBEVIRT
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

    def wait(self, plural: str, name: str, phase: str, within: float = 60) -> dict[str, Any]:
        """The object, once `status.phase` is `phase`."""
        return self.until(plural, name, lambda obj: obj.get("status", {}).get("phase") == phase, within)

    def until(
        self, plural: str, name: str, holds: Callable[[dict[str, Any]], bool], within: float = 60
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

    def gone(self, plural: str, name: str, within: float = 60) -> None:
        """Wait until the object is not there."""

        def missing() -> bool:
            try:
                self.get(plural, name)
            except ApiException as error:
                return error.status == 404
            return False

        eventually(missing, within)

    def told(self, name: str, words: str, within: float = 20) -> str:
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

    def console_says(self, instance: str, words: str, within: float = 120) -> str:
        """The guest's serial console, once it has said something."""

        def said() -> str:
            try:
                console = self.logs(self.launcher(instance))
            except (ApiException, IndexError) as error:
                raise AssertionError(f"{instance} has no console yet: {error}") from error
            assert words in console, console[-2000:]
            return console

        return eventually(said, within)

    def port(self) -> int:
        """The port that it really listens on."""
        return int(self.ready.split("127.0.0.1:")[1].split()[0])

    @staticmethod
    def refused(directory: Path, *options: str) -> tuple[int, str]:
        """A `diskyard up` that ends by itself: its exit code and what it said."""
        ended = subprocess.run(
            [sys.executable, "-m", "cli", "up", "--data-dir", str(directory), *options],
            capture_output=True, text=True, timeout=READY_WITHIN, check=False,
        )  # fmt: skip
        return ended.returncode, ended.stderr


@contextlib.contextmanager
def running(directory: Path, *options: str) -> Iterator[Yard]:
    """A yard that leaves nothing running behind it, whatever happens."""
    yard = Yard.up(directory, *options)
    try:
        yield yard
    finally:
        if yard.process.poll() is None:
            yard.stop()
        sweep(directory)


def sweep(directory: Path) -> list[int]:
    """Kill every process that still knows the directory; their ids (none after a clean stop)."""
    found = processes(directory)
    for pid in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return found


def processes(directory: Path) -> list[int]:
    """Processes whose command line names the directory."""
    mark = str(directory).encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if mark in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
    return found


def data_volume(name: str, source: dict[str, Any], size: str = "64Mi", **spec: Any) -> dict[str, Any]:
    """A DataVolume manifest, as users write it."""
    return {
        "apiVersion": "/".join(CDI),
        "kind": "DataVolume",
        "metadata": {"name": name},
        "spec": {"source": source, "storage": {"resources": {"requests": {"storage": size}}}, **spec},
    }


def machine(name: str, claim: str, *, memory: str = "128Mi", strategy: str = "Always") -> dict[str, Any]:
    """A VirtualMachine manifest that boots from a DataVolume."""
    return {
        "apiVersion": "/".join(KUBEVIRT),
        "kind": "VirtualMachine",
        "metadata": {"name": name},
        "spec": {
            "runStrategy": strategy,
            "template": {
                "spec": {
                    "terminationGracePeriodSeconds": 20,
                    "domain": {
                        "devices": {"disks": [{"name": "root", "disk": {"bus": "virtio"}}]},
                        "resources": {"requests": {"memory": memory}},
                    },
                    "volumes": [{"name": "root", "dataVolume": {"name": claim}}],
                }
            },
        },
    }
