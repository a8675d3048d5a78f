"""Clones of disks in file systems and of block devices, one to the other, by every strategy, into two namespaces."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from kubernetes.client.exceptions import ApiException

from tests.builders import eventually
from tests.flows.place import CDI, Place
from tests.flows.test_clones import disk, done, nothing_left, objects
from tests.flows.test_snapshots import SNAPSHOTS, class_by_snapshot, of, snapshots
from tests.flows.yard import data_volume

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="block devices are root's")
BLOCK = {"volumeMode": "Block"}
FILE = {"volumeMode": "Filesystem"}
SNAPPED = {"storageClassName": "by-snapshot"}
MODES: Mapping[str, tuple[str, dict[str, Any], str]] = {
    "device": ("modes-block", BLOCK, "csi-clone"),
    "device-by-snapshot": ("modes-block", BLOCK | SNAPPED, "snapshot"),
    "device-to-file": ("modes-block", FILE, "copy"),
    "file": ("modes-file", FILE, "csi-clone"),
    "file-by-snapshot": ("modes-file", FILE | SNAPPED, "snapshot"),
    "file-to-device": ("modes-file", BLOCK, "copy"),
    "larger-device": ("modes-block", BLOCK | {"resources": {"requests": {"storage": "80Mi"}}}, "csi-clone"),
    "device-of-snapshot": ("modes-shot", BLOCK, "snapshot"),
    "file-of-snapshot": ("modes-shot", FILE, "copy"),
}
"""What is cloned, how the clone is to be, and how it then comes about."""
MISFITS = {"device-to-file", "file-to-device", "file-of-snapshot"}


@pytest.fixture(scope="module")
def sources(place: Place, qcow2: str) -> Path:
    """The same disk in a file system, on a device, and in a snapshot of that; the first."""
    for name, mode in (("modes-block", BLOCK), ("modes-file", FILE)):
        made = data_volume(name, {"http": {"url": qcow2}})
        made["spec"]["storage"] |= mode
        place.create(made)
    class_by_snapshot(place)
    for name in ("modes-block", "modes-file"):
        place.wait("datavolumes", name, "Succeeded", 120)
    body = {
        "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot", "metadata": {"name": "modes-shot"},
        "spec": {"source": {"persistentVolumeClaimName": "modes-block"}},
    }  # fmt: skip
    objects(place).create_namespaced_custom_object(*SNAPSHOTS, body)
    return disk(place, "modes-file")


def test_every_strategy_serves_both_modes_in_both_namespaces(
    place: Place, sources: Path, elsewhere: str
) -> None:
    for namespace in ("default", elsewhere):
        for name, (source, storage, _) in MODES.items():
            entry = "snapshot" if source == "modes-shot" else "pvc"
            asked = of(name, {"source": {entry: {"namespace": "default", "name": source}}}, **storage)
            objects(place).create_namespaced_custom_object(*CDI, namespace, "datavolumes", asked)

    for namespace in ("default", elsewhere):
        for name, (_, _, strategy) in MODES.items():
            done(place, name, namespace)
            said = place.core().read_namespaced_persistent_volume_claim(name, namespace).metadata.annotations
            why = said.get("cdi.kubevirt.io/cloneFallbackReason", "")
            assert said["cdi.kubevirt.io/cloneType"] == strategy, (name, why)
            assert ("volume modes of source and target" in why) == (name in MISFITS), (name, why)
            compared = subprocess.run(
                ["qemu-img", "compare", "-f", "raw", "-F", "raw", sources, disk(place, name, namespace)],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert compared.returncode == 0, (namespace, name, compared.stdout, compared.stderr)
    nothing_left(place)
    eventually(lambda: not [each for each in snapshots(place) if each.startswith("tmp-")], 60)
    for namespace in ("default", elsewhere):
        for name in MODES:
            objects(place).delete_namespaced_custom_object(*CDI, namespace, "datavolumes", name)
            eventually(lambda name=name, namespace=namespace: _gone(place, name, namespace), 120)


def _gone(place: Place, name: str, namespace: str) -> bool:
    try:
        place.core().read_namespaced_persistent_volume_claim(name, namespace)
    except ApiException as error:
        return error.status == 404
    return False
