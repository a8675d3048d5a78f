"""A real cluster with Diskyard on it, out of this checkout: the chart's accounts, roles and webhooks; our programs."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from diskyard import crds
from diskyard.api.meta import DATA_VOLUME, LEASE, NAMESPACE, SERVICE_ACCOUNT, STORAGE_CLASS, Key
from diskyard.api.names import cdi
from diskyard.errors import ApiError, Invalid
from standalone.access.tokens import write_kubeconfig
from standalone.node.network import plan
from tests import builders
from tests.builders import eventually
from tests.cluster import programs
from tests.cluster.helm import rendered
from tests.cluster.server import Cluster
from tests.flows.place import Place
from tests.flows.yard import STOPPED_WITHIN, sweep

READY_WITHIN = 120
HOUR = 3600
CONTROLLERS_LEASE = Key("cdi-controller-leader-election-helper", "cdi")
_EMULATION = "kubevirt.spec.configuration.developerConfiguration.useEmulation=true"
_GUESTS = ("kubevirt.create=true", _EMULATION)


@dataclass
class Clustered(Place):
    """A cluster with Diskyard on it, whose node can be stopped and started."""

    operator: "Installation"
    figures: str = ""
    """Where the controllers' metrics are."""
    controllers: "subprocess.Popen[bytes] | None" = None
    node: "subprocess.Popen[bytes] | None" = None

    def begin(self) -> None:
        """Start the node, unless it runs."""
        if self.node is None or self.node.poll() is not None:
            self.node = self.operator.node(self.directory)

    def lead(self) -> None:
        """Start the controllers; those before, if any, were killed, and their Lease is as good as over."""
        if self.controllers is not None:
            assert self.controllers.poll() is not None
            self.operator.real.client.delete(LEASE, CONTROLLERS_LEASE)
        self.controllers, self.figures = self.operator.program("cdi-sa", "--part", "controllers")

    def halt(self, signal_: int = signal.SIGKILL) -> int:
        """End the node; its exit code."""
        assert self.node
        self.node.send_signal(signal_)
        return self.node.wait(STOPPED_WITHIN)


@contextmanager
def installed(real: Cluster, folder: Path) -> Iterator[Clustered]:
    """Diskyard on that cluster, as its operator installs it; ended with the block."""
    folder.mkdir(mode=0o755)
    with ExitStack() as stack:
        operator = Installation(real, folder, stack)
        real.client.create(NAMESPACE, builders.namespace("cdi"))
        no_programs = ("admission.enabled=false", "kubevirt.virtctl.enabled=false")
        apply(real, [*rendered("deploy=false", *no_programs, *_GUESTS, crds=True), *crds.snapshots()])
        _, webhooks = operator.program("cdi-apiserver", "--part", "admission", "--name", "127.0.0.1")
        place = Clustered(folder / "node", real.kubeconfig, operator)
        place.lead()
        stack.callback(sweep, place.directory)
        stack.callback(place.close)
        place.begin()
        default = {"metadata": {"annotations": {cdi.DEFAULT_CLASS: "true"}}}
        real.client.patch(STORAGE_CLASS, Key("local"), default)
        virtctl = f"kubevirt.virtctl.url={operator.guests()}"
        apply(real, rendered("deploy=false", f"admission.url={webhooks}", virtctl, *_GUESTS))
        eventually(lambda: _refuses_nonsense(real), READY_WITHIN)
        eventually(lambda: _passes_on_guests(real), READY_WITHIN)
        yield place
        for log in (folder / "cdi-sa.log", folder / "cdi-apiserver.log"):
            denied = [line for line in log.read_text().splitlines() if _lacks_a_role(line)]
            assert not denied, "\n".join(["the chart's roles lack something:", *denied[-5:]])


def _lacks_a_role(line: str) -> bool:
    """Whether a controller was refused for want of rights, not for what a quota or a namespace's end forbids."""
    return "forbidden" in line and not any(why in line for why in ("exceeded quota", "being terminated"))


def apply(real: Cluster, objects: list[dict[str, Any]]) -> None:
    """As `helm install` does: definitions first."""
    order = sorted(objects, key=lambda each: each["kind"] != "CustomResourceDefinition")
    kubectl(real, {"apiVersion": "v1", "kind": "List", "items": order[: _definitions(order)]})
    for each in order[: _definitions(order)]:
        name = f"crd/{each['metadata']['name']}"
        _kubectl(real, "wait", "--for=condition=Established", name, "--timeout=60s")
    kubectl(real, {"apiVersion": "v1", "kind": "List", "items": order[_definitions(order) :]})


def kubectl(real: Cluster, manifest: Mapping[str, Any]) -> None:
    """`kubectl apply` of a manifest."""
    if manifest["items"]:
        _kubectl(real, "apply", "--server-side", "--force-conflicts", "-f", "-", sent=orjson.dumps(manifest))


def _kubectl(real: Cluster, *words: str, sent: bytes = b"") -> None:
    command = [programs.folder() / "kubectl", "--kubeconfig", real.kubeconfig, *words]
    done = subprocess.run(command, input=sent, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


def _definitions(order: list[dict[str, Any]]) -> int:
    return sum(1 for each in order if each["kind"] == "CustomResourceDefinition")


def _refuses_nonsense(real: Cluster) -> bool:
    """Whether the webhooks are called, and their certificate is believed."""
    try:
        real.client.create(DATA_VOLUME, builders.data_volume("nonsense", source={}))
    except Invalid:
        return True
    except ApiError:
        return False
    real.client.delete(DATA_VOLUME, Key("nonsense", "default"))
    return False


def _passes_on_guests(real: Cluster) -> bool:
    """Whether orders to guests reach the node: an APIService may be available and not know whom to trust."""
    try:
        return "virtualmachines/start" in real.client.text("/apis/subresources.kubevirt.io/v1")
    except ApiError:
        return False


def kubeconfig(real: Cluster, account: str, folder: Path) -> Path:
    """The way of one of the chart's accounts to that cluster."""
    path = folder / f"kubeconfig-{account}"
    write_kubeconfig(path, real.url, real.authority, token(real, account))
    return path


def token(real: Cluster, account: str) -> str:
    """Of one of the chart's accounts."""
    asked = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "metadata": {"name": account, "namespace": "cdi"},
        "spec": {"expirationSeconds": 10 * HOUR},
    }
    return str(real.client.create(SERVICE_ACCOUNT, asked, "token")["status"]["token"])


class Installation:
    """The programs, each with an account of its own, ended when the stack unwinds."""

    def __init__(self, real: Cluster, folder: Path, stack: ExitStack) -> None:
        self.real = real
        self._folder = folder
        self._stack = stack
        self._guests_port = "0"

    def program(self, account: str, *options: str) -> tuple["subprocess.Popen[bytes]", str]:
        """`diskyard-controller` as that account, and where it is reached."""
        path = kubeconfig(self.real, account, self._folder)
        words = [
            "-m",
            "datavolume_controller",
            "--kubeconfig",
            str(path),
            "--host",
            "127.0.0.1",
            "--port",
            "0",
        ]
        process, line = self._started(account, words, *options, "-v")
        return process, line.rpartition(" ")[2]

    def node(self, directory: Path) -> "subprocess.Popen[bytes]":
        """`diskyard node` as the administrator."""
        words = ["-m", "cli", "node", "--kubeconfig", str(self.real.kubeconfig), "--port", "0"]
        options = (
            "--data-dir", str(directory), "--name", "node", "--verbose", "--guests-port", self._guests_port
        )  # fmt: skip
        network = ("--guest-network", _guest_network(directory)) if os.geteuid() == 0 else ()
        return self._started("node", words, *options, *network)[0]

    def guests(self) -> str:
        """Where the node serves virtctl, from now on also when it is started again."""
        log, said = self._folder / "node.log", "guests are served to virtctl at "

        def serving() -> str:
            lines = log.read_text(errors="replace").splitlines()
            return next((line.removeprefix(said) for line in lines if line.startswith(said)), "")

        url = eventually(serving, READY_WITHIN)
        self._guests_port = url.rpartition(":")[2]
        return url

    def _started(self, name: str, words: list[str], *options: str) -> tuple["subprocess.Popen[bytes]", str]:
        """The program, and the line with which it says that it is ready."""
        log = self._folder / f"{name}.log"
        with log.open("ab") as file:
            before = file.tell()
            process = subprocess.Popen(
                [sys.executable, *words, *options], stdin=subprocess.DEVNULL, stdout=file, stderr=file
            )
        self._stack.callback(_end, process)

        def ready() -> str:
            assert process.poll() is None, (
                f"{name} ended with {process.returncode}:\n{log.read_text()[-3000:]}"
            )
            said = log.read_bytes()[before:].decode(errors="replace").splitlines()
            return next((line for line in said if line.startswith("ready")), "")

        return process, eventually(ready, READY_WITHIN)


def _guest_network(directory: Path) -> str:
    """For one node's guests, where no yard looks for a network of its own."""
    number = int(plan.yard(directory), 16)
    return f"100.{64 + number // 64 % 64}.{number % 64 * 4}.0/22"


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
