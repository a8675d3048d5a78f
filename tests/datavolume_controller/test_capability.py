"""What is known of provisioners, and what StorageProfiles make of it."""

from typing import Any

import pytest

from datavolume_controller.capability import capability
from datavolume_controller.claim import Refusal, Storage, completed, rendered
from datavolume_controller.profiles import World, status
from diskyard.api import meta
from diskyard.api.config import Config
from diskyard.api.meta import SNAPSHOT_CLASS, STORAGE_PROFILE, Obj
from diskyard.api.names import cdi
from diskyard.api.quantity import GIB
from diskyard.api.storage import Profile, PropertySet, StorageClass, Volume, storage_class
from tests import builders
from tests.builders import some
from tests.datavolume_controller.worlds import NOW

SHORT = {"ReadWriteOnce": "RWO", "ReadWriteMany": "RWX", "ReadOnlyMany": "ROX"}
CLASSES: list[tuple[str, dict[str, str], str]] = [
    ("rbd.csi.ceph.com", {}, "RWX/B RWO/B RWO/F"),
    ("nfs.csi.k8s.io", {}, "RWX/F"),
    ("kubevirt.io.hostpath-provisioner", {}, "RWO/F"),
    ("csi.trident.netapp.io", {"backendType": "ontap-nas-economy"}, "RWX/F RWO/F"),
    ("csi.trident.netapp.io", {"backendType": "ontap-san"}, "RWX/B"),
    ("csi.trident.netapp.io", {}, ""),
    ("driver.longhorn.io", {}, "RWO/B"),
    ("driver.longhorn.io", {"migratable": "true"}, "RWX/B RWO/B"),
    ("driver.longhorn.io", {"nfsOptions": "vers=4"}, "RWX/F RWO/F"),
    ("driver.longhorn.io", {"fsType": "ext4"}, "RWO/F"),
    ("csi.vsphere.vmware.com", {"csi.storage.k8s.io/fstype": "nfs4"}, "RWX/F RWO/B RWO/F"),
    ("csi-powerstore.dellemc.com", {"csi.storage.k8s.io/fstype": "nfs"}, "RWX/F RWO/F ROX/F"),
    ("csi-powerstore.dellemc.com", {}, "RWX/B RWO/B RWO/F ROX/B"),
    ("ebs.csi.aws.com", {"type": "io2"}, "RWX/B RWO/B RWO/F"),
    ("ebs.csi.aws.com", {"type": "gp3"}, "RWO/B"),
    ("infinibox-csi-driver", {"storage_protocol": "nvme"}, "RWX/B RWO/B RWO/F"),
    ("infinibox-csi-driver", {}, ""),
    ("pxd.portworx.com", {"sharedv4_mount_options": "vers=3.0,nolock"}, "RWX/F RWO/F"),
    ("pxd.portworx.com", {"backend": "pure_block"}, "RWX/B RWO/B RWO/F"),
    ("csi.san.synology.com", {}, "RWX/B RWO/B RWO/F"),
    ("vpc.file.csi.ibm.io", {"profile": "dp2", "vmState": "true"}, "RWO/F"),
    ("odd.example", {}, ""),
]


@pytest.mark.parametrize(("provisioner", "parameters", "sets"), CLASSES)
def test_a_provisioner_gives(provisioner: str, parameters: dict[str, str], sets: str) -> None:
    found = capability(StorageClass("here", provisioner, parameters=parameters)).sets
    assert " ".join(f"{SHORT[each.access_modes[0]]}/{each.volume_mode[0]}" for each in found) == sets


def a_profile(provisioner: str, spec: Obj | None = None, **fields: Any) -> Obj:
    obj = {**builders.storage_class("here"), "provisioner": provisioner, **fields.pop("with_", {})}
    profile = some(STORAGE_PROFILE, "here", spec=spec or {})
    return status(World(obj, storage_class(obj), profile, NOW, **fields))


def snapshots(*names: str, default: str = "") -> tuple[Obj, ...]:
    return tuple(
        some(
            SNAPSHOT_CLASS,
            name,
            metadata={"annotations": {cdi.DEFAULT_SNAPSHOT_CLASS: str(name == default).lower()}},
        )
        for name in names
    )


def test_snapshots_are_taken_where_there_is_a_class_for_them() -> None:
    assert a_profile("odd.example")["cloneStrategy"] == "copy"
    assert a_profile("odd.example", snapshots=snapshots("b", "a"))["cloneStrategy"] == "snapshot"
    assert a_profile("odd.example", snapshots=snapshots("b", "a"))["snapshotClass"] == "a"
    assert a_profile("odd.example", snapshots=snapshots("a", "b", default="b"))["snapshotClass"] == "b"
    assert (
        a_profile("odd.example", {"snapshotClass": "a"}, snapshots=snapshots("a", "b"))["snapshotClass"]
        == "a"
    )


def test_a_strategy_that_needs_a_snapshot_class_is_none_without_it() -> None:
    assert a_profile("pd.csi.storage.gke.io")["cloneStrategy"] == "copy"
    assert (
        a_profile("pd.csi.storage.gke.io", snapshots=snapshots("a"))["dataImportCronSourceFormat"]
        == "snapshot"
    )
    assert a_profile("rbd.csi.ceph.com")["cloneStrategy"] == "csi-clone"
    hint = {"metadata": {"name": "here", "annotations": {cdi.CLONE_STRATEGY: "copy"}}}
    assert a_profile("rbd.csi.ceph.com", with_=hint)["cloneStrategy"] == "copy"


def test_parameters_that_we_do_not_know_are_said_so() -> None:
    assert (
        a_profile("infinibox-csi-driver")["conditions"][0]["reason"] == "UnrecognizedStorageClassParameters"
    )


def test_volumes_made_by_hand_say_what_their_class_gives() -> None:
    volumes = (
        Volume("a", "Available", "here", GIB, ("ReadWriteOnce", "ReadWriteMany"), block=False),
        Volume("b", "Available", "here", GIB, ("ReadWriteOnce",), block=True),
    )
    found = a_profile("kubernetes.io/no-provisioner", volumes=volumes)["claimPropertySets"]
    assert {(each["accessModes"][0], each["volumeMode"]) for each in found} == {
        ("ReadWriteOnce", "Filesystem"), ("ReadWriteMany", "Filesystem"), ("ReadWriteOnce", "Block"),
    }  # fmt: skip


ASKED: Obj = {"resources": {"requests": {"storage": "1Gi"}}}


def test_a_claim_is_as_large_as_its_class_makes_volumes() -> None:
    known = Storage((StorageClass("fast", "ebs.csi.aws.com", default=True, parameters={"type": "io1"}),))
    found = rendered(ASKED, "kubevirt", known, Config())
    assert not isinstance(found, Refusal)
    assert found["resources"]["requests"]["storage"] == str(4 * GIB)
    told = Storage(
        known.classes, profiles={"fast": Profile((PropertySet(("ReadWriteOnce",), "Block"),), 8 * GIB)}
    )
    found = rendered(ASKED, "kubevirt", told, Config())
    assert not isinstance(found, Refusal)
    assert found["resources"]["requests"]["storage"] == str(8 * GIB)


def test_without_a_class_the_modes_are_those_of_a_volume_that_fits() -> None:
    volumes = (
        Volume("small", "Available", "", 1 << 20, ("ReadWriteOnce",), block=False),
        Volume("taken", "Bound", "", GIB, ("ReadWriteOnce",), block=False),
        Volume("fits", "Available", "", 2 * GIB, ("ReadWriteMany",), block=True),
    )
    found = rendered(ASKED, "kubevirt", Storage(volumes=volumes), Config())
    assert not isinstance(found, Refusal)
    assert (found["accessModes"], found["volumeMode"]) == (["ReadWriteMany"], "Block")


def test_a_claim_that_asks_for_it_is_completed() -> None:
    storage = Storage((StorageClass("fast", "rbd.csi.ceph.com", virt_default=True),))
    claim = some(meta.CLAIM, "disk", spec={**ASKED, "selector": {"matchLabels": {"a": "b"}}})
    found = completed(claim, storage, Config())
    assert not isinstance(found, Refusal)
    assert meta.spec(found) == {
        "accessModes": ["ReadWriteMany"], "volumeMode": "Block", "storageClassName": "fast",
        "resources": {"requests": {"storage": str(GIB)}}, "selector": {"matchLabels": {"a": "b"}},
    }  # fmt: skip


def test_a_claim_from_a_snapshot_keeps_its_size() -> None:
    source = {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "s"}
    storage = Storage((StorageClass("local", "diskyard.io/local", default=True),))
    claim = some(meta.CLAIM, "disk", spec={**ASKED, "dataSource": source})
    found = completed(claim, storage, Config())
    assert not isinstance(found, Refusal)
    assert meta.spec(found)["resources"] == ASKED["resources"]
