"""From `diskyard apply` of the quickstart to the first byte fetched and to the guest's first words.

Beside it, the same disk in a plain qemu of the same size: what of that time is the guest's own.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import yaml

from cli import acts
from demo.server import served
from diskyard.api.meta import DATA_VOLUME, MACHINE, Key
from diskyard.errors import ApiError
from diskyard.kube.http import HttpClient, LogWish, connect
from standalone.directory import Directory
from vm_runtime.agent.host import acceleration

QUICKSTART = Path(__file__).parents[1] / "docs/examples/quickstart.yaml"
GREETING = b"Hello from a guest"
GUEST = Key("quickstart", "default")
PATIENCE = 120


@dataclass(frozen=True)
class Line:
    first_byte: float
    """Seconds from `apply` to the importer's first request for the image."""
    greeting: float
    """Seconds from `apply` to the guest's first words on its serial console."""


def line(yard: Directory, image: Path) -> Line:
    requests: list[float] = []
    with (
        tempfile.NamedTemporaryFile("w", suffix=".yaml") as manifest,
        served(image, lambda: requests.append(time.monotonic())) as url,
        closing(connect(yard.kubeconfig)) as client,
    ):
        manifest.write(_quickstart(url))
        manifest.flush()
        begun = time.monotonic()
        command = [
            sys.executable,
            "-m",
            "cli",
            "apply",
            "-f",
            manifest.name,
            "--kubeconfig",
            str(yard.kubeconfig),
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        _await_greeting(client)
        greeting = time.monotonic() - begun
        for kind in (MACHINE, DATA_VOLUME):
            acts.deleted(client, kind, GUEST, wait=True)
        return Line(requests[0] - begun, greeting)


def plain_boot(disk: Path, mebibytes: int = 256) -> float:
    """Seconds from the start of a plain qemu with so much memory to the guest's first words."""
    accelerator = "kvm" if acceleration().kvm else "tcg"
    command = [
        "qemu-system-x86_64",
        "-machine",
        "q35",
        "-accel",
        accelerator,
        "-m",
        str(mebibytes),
        "-nodefaults",
    ]
    command += [
        "-display",
        "none",
        "-serial",
        "stdio",
        "-snapshot",
        "-drive",
        f"file={disk},format=raw,if=virtio",
    ]
    return greeted(command)


def greeted(command: Sequence[str]) -> float:
    """Seconds from the start of a qemu by that command to its guest's first words."""
    begun = time.monotonic()
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as machine:
        try:
            assert machine.stdout is not None
            assert any(GREETING in line for line in machine.stdout), "the guest ended without a word"
            return time.monotonic() - begun
        finally:
            machine.kill()


def _quickstart(url: str) -> str:
    objs = list(yaml.safe_load_all(QUICKSTART.read_text()))
    for obj in objs:
        if obj["kind"] == DATA_VOLUME.kind:
            obj["spec"]["source"]["http"]["url"] = url
    return yaml.safe_dump_all(objs)


def _await_greeting(client: HttpClient) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with suppress(ApiError):  # no pod yet, or one that has not started
            pod = acts.speaking_pod(client, f"vm/{GUEST.name}", GUEST.namespace)
            if GREETING in b"".join(client.logs(pod, LogWish())):
                return
        time.sleep(0.02)
    raise AssertionError(f"the guest said nothing within {PATIENCE} seconds")
