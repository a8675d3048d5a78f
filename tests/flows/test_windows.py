"""The walk-through by which Windows is installed, with an installer of our own in its place."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from diskyard.api.meta import CDI, CDI_CONFIG, CLAIM, KUBEVIRT, MACHINE, Key
from diskyard.kube.http import connect
from tests import builders
from tests.builders import eventually
from tests.disk.tars import entry, tar
from tests.flows.yard import Yard, running
from tests.importer.publisher import Publisher
from tests.importer.registries import registry
from tests.vm_runtime import installer

GIB = 1 << 30


@pytest.fixture
def images(tmp_path: Path) -> Iterator[Publisher]:
    with registry(tmp_path / "registry", tmp_path / "store") as found:
        yield Publisher(found, tmp_path / "layout", "virtio-container-disk")


def diskyard(yard: Yard, *words: str) -> None:
    """The command line, against that yard."""
    env = {**os.environ, "KUBECONFIG": str(yard.kubeconfig)}
    done = subprocess.run(
        [sys.executable, "-m", "cli", *words], env=env, capture_output=True, text=True, timeout=120, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_a_system_is_installed_from_a_disc_and_keeps_its_state(tmp_path: Path, images: Publisher) -> None:
    """D-01 and D-08."""
    disk, iso = tmp_path / "machine/vms/disk.img", tmp_path / "Win10x64.iso"
    disk.parents[1].mkdir()
    installer.disc(iso)
    drivers = images.push(tar([entry("disk/virtio-win.iso", installer.drivers("drivers from an image"))]))
    with running(tmp_path / "yard", "--allow-host-path", str(disk.parents[1])) as yard:
        diskyard(
            yard, "image-upload", "pvc", "cdromiso", "--size", "16Mi", "--image-path", str(iso), "--insecure"
        )
        on_host = {"hostDisk": {"path": str(disk), "type": "DiskOrCreate", "capacity": "50Gi"}}
        machine = windows(on_host, drivers)
        refusal = yard.refusal(machine)
        assert "featureGates of KubeVirt kubevirt/kubevirt" in refusal
        assert "ConfigMap kubevirt/kubevirt-config" in refusal
        permitted(yard, images.registry.host)
        yard.create(machine)

        diskyard(yard, "start", "win10")
        yard.console_says("win10", "Installing with drivers from an image")
        yard.console_says("win10", "Installed")
        yard.until("virtualmachines", "win10", lambda vm: vm["status"].get("printableStatus") == "Stopped")
        assert disk.stat().st_size == 50 * GIB
        assert disk.stat().st_blocks * 512 < 16 << 20

        diskyard(yard, "start", "win10")
        yard.console_says("win10", "Start number 1 from the disk")
        diskyard(yard, "restart", "win10")
        yard.console_says("win10", "Start number 2 from the disk")

        with closing(connect(yard.kubeconfig)) as client:
            client.patch(MACHINE, Key("win10", "default"), {"spec": {"runStrategy": "Always"}})
        assert yard.stop() == 0
        with running(tmp_path / "yard", "--allow-host-path", str(disk.parents[1])) as again:
            again.console_says("win10", "Start number 3 from the disk")


def test_a_system_is_installed_on_a_claim(tmp_path: Path, images: Publisher) -> None:
    """B-06."""
    iso = tmp_path / "installer.iso"
    installer.disc(iso)
    drivers = images.push(tar([entry("disk/virtio-win.iso", installer.drivers("drivers from an image"))]))
    with running(tmp_path / "yard") as yard:
        permitted(yard, images.registry.host)
        diskyard(
            yard, "image-upload", "pvc", "cdromiso", "--size", "16Mi", "--image-path", str(iso), "--insecure"
        )
        with closing(connect(yard.kubeconfig)) as client:
            client.create(CLAIM, builders.claim("root", "64Mi"))
        yard.create(windows({"persistentVolumeClaim": {"claimName": "root"}}, drivers))

        diskyard(yard, "start", "win10")
        yard.console_says("win10", "Installed")
        yard.until("virtualmachines", "win10", lambda vm: vm["status"].get("printableStatus") == "Stopped")
        diskyard(yard, "start", "win10")
        yard.console_says("win10", "Start number 1 from the disk")


def permitted(yard: Yard, host: str) -> None:
    """Disks of the machine for guests, and images out of a registry without TLS."""
    gates = {"developerConfiguration": {"featureGates": ["HostDisk"]}}
    with closing(connect(yard.kubeconfig)) as client:
        client.patch(KUBEVIRT, Key("kubevirt", "kubevirt"), {"spec": {"configuration": gates}})
        client.patch(CDI, Key("cdi"), {"spec": {"config": {"insecureRegistries": [host]}}})
        eventually(lambda: host in str(client.get(CDI_CONFIG, Key("config"))["spec"]))


def windows(system: dict[str, Any], drivers: str) -> dict[str, Any]:
    """The machine of the walk-through, small; its system's volume, and the URL of its drivers."""
    return {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachine",
        "metadata": {"name": "win10"},
        "spec": {
            "runStrategy": "Manual",
            "template": {"spec": {
                "domain": {
                    "devices": {
                        "autoattachPodInterface": False,
                        "disks": [
                            {"name": "cdromiso", "bootOrder": 1, "cdrom": {"bus": "sata"}},
                            {"name": "harddrive", "disk": {"bus": "virtio"}},
                            {"name": "virtiocontainerdisk", "cdrom": {"bus": "sata"}},
                        ],
                    },
                    "resources": {"requests": {"memory": "64Mi"}},
                },
                "volumes": [
                    {"name": "cdromiso", "persistentVolumeClaim": {"claimName": "cdromiso"}},
                    {"name": "harddrive", **system},
                    {"name": "virtiocontainerdisk", "containerDisk": {"image": drivers.removeprefix("docker://")}},
                ],
            }},
        },
    }  # fmt: skip
