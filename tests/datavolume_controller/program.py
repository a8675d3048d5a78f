"""`diskyard-controller` as a process of its own, before a store behind its wire."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from tests.builders import eventually

READY = "ready: "


@dataclass
class Controller:
    """A running one."""

    process: "subprocess.Popen[bytes]"
    url: str
    log: Path

    def answer(self, path: str, bundle: Path | bool, token: str = "") -> requests.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        verify = str(bundle) if bundle else False
        return requests.get(f"{self.url}{path}", headers=headers, verify=verify, timeout=60)

    def page(self, path: str, bundle: Path | bool, token: str = "") -> str:
        answer = self.answer(path, bundle, token)
        assert answer.status_code == 200, answer.text
        return answer.text

    def stop(self, within: float = 60) -> int:
        self.process.terminate()
        return self.process.wait(within)


@contextmanager
def controller(kubeconfig: Path, log: Path, *options: str) -> Iterator[Controller]:
    """One that is ready, and gone in the end whatever happens."""
    command = [sys.executable, "-m", "datavolume_controller", "--kubeconfig", str(kubeconfig)]
    command += ["--host", "127.0.0.1", "--port", "0", *options]
    with log.open("w") as file:
        process = subprocess.Popen(command, stderr=file)
    try:

        def ready() -> str:
            assert process.poll() is None, f"ended with {process.returncode}: {log.read_text()}"
            return next((line for line in log.read_text().splitlines() if line.startswith(READY)), "")

        yield Controller(process, eventually(ready, 60).removeprefix(READY), log)
    finally:
        process.kill()
        process.wait()


def review(
    obj: dict[str, Any], *, resource: str = "datavolumes", operation: str = "CREATE"
) -> dict[str, Any]:
    """What an API server asks about an object."""
    group, _, version = obj["apiVersion"].rpartition("/")
    return {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "u-1",
            "resource": {"group": group, "version": version, "resource": resource},
            "operation": operation,
            "namespace": "default",
            "userInfo": {"username": "ann", "groups": ["system:authenticated"]},
            "object": obj,
        },
    }
