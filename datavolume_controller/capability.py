"""What provisioners give: access and volume modes (the preferred first), clones, minimum sizes. CDI's table. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from diskyard.api.names import kubernetes
from diskyard.api.names.kubernetes import IN_TREE
from diskyard.api.quantity import GIB
from diskyard.api.storage import BLOCK, FILESYSTEM, PropertySet, StorageClass

UNKNOWN: Final = "UNKNOWN"
"""The key of a class whose provisioner we know, and whose parameters we do not."""


@dataclass(frozen=True)
class Capability:
    """What is known of a class by its provisioner and parameters."""

    key: str
    sets: tuple[PropertySet, ...] = ()
    clone_strategy: str = ""
    """Empty: whatever else there is."""
    cron_snapshots: bool = False
    """Golden images are better kept as snapshots."""
    cron_rwo: bool = False
    minimum: int = 0

    @property
    def recognised(self) -> bool:
        """Whether anything is known."""
        return bool(self.sets)


def capability(storage_class: StorageClass) -> Capability:
    """What we know of a class."""
    key = refined(storage_class)
    return Capability(
        key=key,
        sets=_SETS.get(key, ()),
        clone_strategy=_STRATEGIES.get(key, ""),
        cron_snapshots=key in _CRON_SNAPSHOTS,
        cron_rwo=key in _CRON_RWO,
        minimum=_MINIMUMS.get(key, 0),
    )


def refined(storage_class: StorageClass) -> str:
    """The provisioner, with what the class's parameters make of it: `driver.longhorn.io/nfs`."""
    found = _REFINED.get(storage_class.provisioner)
    suffix = found(storage_class.parameters) if found else ""
    return UNKNOWN if suffix == UNKNOWN else f"{storage_class.provisioner}{suffix}"


Parameters = Mapping[str, str]


def _named(parameter: str, known: Mapping[str, str], otherwise: str = "") -> Callable[[Parameters], str]:
    """The suffix that a parameter's text stands for."""

    def suffix(said: Parameters) -> str:
        return known.get(said.get(parameter, "").lower(), otherwise)

    return suffix


def _file_system(said: Parameters) -> str:
    found = next((text for name, text in said.items() if name.lower().endswith("fstype")), "")
    return "/nfs" if "nfs" in found.lower() else ""


def _portworx(said: Parameters) -> str:
    options = said.get("sharedv4_mount_options", "")
    if "vers=3.0" in options and "nolock" in options:
        return "/nfs"
    backend = said.get("backend", "")
    return f"/{backend}" if backend in ("pure_block", "pure_fa_file") else ""


def _trident(said: Parameters) -> str:
    backend = said.get("backendType", "")
    for known in ("ontap-nas", "ontap-san"):
        if backend.startswith(known):
            return f"/{known}"
    flexible = "performance=flex" in said.get("selector", "")
    return "/gcnv-flex" if backend == "google-cloud-netapp-volumes" and flexible else UNKNOWN


def _longhorn(said: Parameters) -> str:
    if said.get("migratable") == "true":
        return "/migratable"
    if said.get("nfsOptions"):
        return "/nfs"
    return "/fs" if said.get("fsType") else ""


def _vpc_file(said: Parameters) -> str:
    profile = said.get("profile", "")
    if profile not in ("rfs", "dp2"):
        return ""
    return f"/{profile}-rwo" if said.get("vmState") == "true" else f"/{profile}"


_NFS: Final = _named("protocol", {"nfs": "/nfs"})
_REFINED: Final[Mapping[str, Callable[[Parameters], str]]] = {
    "kubevirt.io.hostpath-provisioner": lambda said: (
        "/overlay" if "overlayCSI" in {*said, *said.values()} else ""
    ),
    IN_TREE + "portworx-volume": _portworx,
    "pxd.portworx.com": _portworx,
    "csi.trident.netapp.io": _trident,
    "infinibox-csi-driver": _named(
        "storage_protocol",
        {
            "iscsi": "/iscsiorfibrechannel",
            "fc": "/iscsiorfibrechannel",
            "nvme": "/nvme",
            "nfs": "/nfs",
            "nfs_treeq": "/nfs",
        },
        UNKNOWN,
    ),
    "csi.vsphere.vmware.com": _file_system,
    "csi-unity.dellemc.com": _NFS,
    "csi.huawei.com": _NFS,
    "csi-powerstore.dellemc.com": _file_system,
    "csi-vxflexos.dellemc.com": _file_system,
    "csi-powermax.dellemc.com": _file_system,
    "driver.longhorn.io": _longhorn,
    "ebs.csi.aws.com": _named("type", {"io1": "/io1", "io2": "/io2", "gp2": "/gp", "gp3": "/gp"}),
    "pd.csi.storage.gke.io": _named(
        "type", dict.fromkeys(("hyperdisk-balanced", "hyperdisk-balanced-high-availability"), "/hyperdisk")
    ),
    "csi.san.synology.com": _named(
        "protocol",
        {"": "/iscsi", "iscsi": "/iscsi", "smb": "/smb", "nfs": "/nfs", "nfs_treeq": "/nfs"},
        UNKNOWN,
    ),
    "vpc.file.csi.ibm.io": _vpc_file,
}


def _sets(*said: str) -> tuple[PropertySet, ...]:
    """`RWX/B` -> ReadWriteMany on a block device."""
    access = {"RWO": "ReadWriteOnce", "RWX": "ReadWriteMany", "ROX": "ReadOnlyMany"}
    return tuple(PropertySet((access[each[:3]],), BLOCK if each[4] == "B" else FILESYSTEM) for each in said)


_CEPHS: Final = ("", "rook-ceph.", "openshift-storage.")
_RBD: Final = tuple(f"{prefix}rbd.csi.ceph.com" for prefix in _CEPHS)
_CEPHFS: Final = tuple(f"{prefix}cephfs.csi.ceph.com" for prefix in _CEPHS)
_PORTWORX: Final = (IN_TREE + "portworx-volume", "pxd.portworx.com")
_TRIDENT: Final = tuple(f"csi.trident.netapp.io/{each}" for each in ("ontap-nas", "ontap-san", "gcnv-flex"))
_INFINIBOX: Final = tuple(f"infinibox-csi-driver/{each}" for each in ("iscsiorfibrechannel", "nvme", "nfs"))
_SYNOLOGY: Final = tuple(f"csi.san.synology.com/{each}" for each in ("iscsi", "nfs", "smb"))
_GKE: Final = ("pd.csi.storage.gke.io", "pd.csi.storage.gke.io/hyperdisk")
_VPC_FILE: Final = tuple(
    f"vpc.file.csi.ibm.io{each}" for each in ("", "/dp2", "/rfs", "/dp2-rwo", "/rfs-rwo")
)

_GROUPS: Final = (
    (_sets("RWO/F", "RWO/B"), (kubernetes.PROVISIONER,)),
    (_sets("RWO/F"), (
        "rancher.io/local-path", "kubevirt.io.hostpath-provisioner",
        kubernetes.HOSTPATH_PROVISIONER, kubernetes.MINIKUBE_PROVISIONER, IN_TREE + "storageos", "storageos",
        "directpv-min-io", "driver.longhorn.io/fs", "vpc.file.csi.ibm.io/dp2-rwo", "vpc.file.csi.ibm.io/rfs-rwo",
    )),
    (_sets("RWX/F"), (
        "kubevirt.io.hostpath-provisioner/overlay", "nfs.csi.k8s.io", "k8s-sigs.io/nfs-subdir-external-provisioner",
        IN_TREE + "azure-file", "file.csi.azure.com", "manila.csi.openstack.org",
    )),
    (_sets("RWX/B", "RWO/B", "RWO/F"), (
        IN_TREE + "rbd", *_RBD, "hspc.csi.hitachi.com", "csi.hpe.com", "block.csi.ibm.com",
        "pxd.portworx.com/pure_block", "infinibox-csi-driver/iscsiorfibrechannel", "infinibox-csi-driver/nvme",
        "blockvolume.csi.oraclecloud.com", "csi.san.synology.com/iscsi", "pd.csi.storage.gke.io/hyperdisk",
        "ebs.csi.aws.com/io2",
    )),
    (_sets("RWX/F", "RWO/F"), (
        *_CEPHFS, "efs.csi.aws.com", "spectrumscale.csi.ibm.com", "vpc.file.csi.ibm.io", "vpc.file.csi.ibm.io/dp2",
        "vpc.file.csi.ibm.io/rfs", *(f"{each}/nfs" for each in _PORTWORX), "pxd.portworx.com/pure_fa_file",
        "csi.trident.netapp.io/ontap-nas", "csi.trident.netapp.io/gcnv-flex", "infinibox-csi-driver/nfs",
        "driver.longhorn.io/nfs", "csi.san.synology.com/nfs", "csi.san.synology.com/smb",
    )),
    (_sets("RWX/B", "RWO/B", "RWO/F", "ROX/B", "ROX/F"), (
        "linstor.csi.linbit.com", "csi-unity.dellemc.com", "csi.huawei.com", "csi-vxflexos.dellemc.com",
    )),
    (_sets("RWX/B", "RWO/B", "RWO/F", "ROX/B"), ("csi-powermax.dellemc.com", "csi-powerstore.dellemc.com")),
    (_sets("RWX/F", "RWO/F", "ROX/F"), (
        "csi-unity.dellemc.com/nfs", "csi-vxflexos.dellemc.com/nfs", "csi-powermax.dellemc.com/nfs",
        "csi-powerstore.dellemc.com/nfs", "csi.huawei.com/nfs", "csi-isilon.dellemc.com",
    )),
    (_sets("RWO/B"), (
        IN_TREE + "aws-ebs", "ebs.csi.aws.com", "ebs.csi.aws.com/io1", "ebs.csi.aws.com/gp", IN_TREE + "azure-disk",
        "disk.csi.azure.com", "driver.longhorn.io",
    )),
    (_sets("RWO/B", "RWO/F"), (
        IN_TREE + "gce-pd", "pd.csi.storage.gke.io", "vpc.block.csi.ibm.io", "topolvm.cybozu.com", "topolvm.io",
        "cinder.csi.openstack.org", "csi.ovirt.org", "csi.vsphere.vmware.com",
    )),
    (_sets("RWX/B", "RWX/F", "RWO/B", "RWO/F"), _PORTWORX),
    (_sets("RWX/B"), ("csi.trident.netapp.io/ontap-san",)),
    (_sets("RWX/F", "RWO/B", "RWO/F"), ("csi.vsphere.vmware.com/nfs",)),
    (_sets("RWX/B", "ROX/B", "RWO/B", "RWO/F"), ("kubesan.gitlab.io",)),
    (_sets("RWX/B", "RWO/B"), ("driver.longhorn.io/migratable",)),
)  # fmt: skip
_SETS: Final = {key: sets for sets, keys in _GROUPS for key in keys}

_STRATEGIES: Final = {
    **dict.fromkeys(
        (
            kubernetes.PROVISIONER,
            "csi-vxflexos.dellemc.com", "csi-vxflexos.dellemc.com/nfs", "csi-isilon.dellemc.com",
            "csi-powermax.dellemc.com", "csi-powermax.dellemc.com/nfs", "hspc.csi.hitachi.com", "csi.hpe.com",
            "spectrumscale.csi.ibm.com", "block.csi.ibm.com", *_RBD, *_CEPHFS, "pxd.portworx.com",
            "pxd.portworx.com/nfs", "pxd.portworx.com/pure_block", "pxd.portworx.com/pure_fa_file", *_INFINIBOX,
            "kubesan.gitlab.io", *_SYNOLOGY, "blockvolume.csi.oraclecloud.com",
        ),
        "csi-clone",
    ),
    **dict.fromkeys((*_VPC_FILE, *_TRIDENT, *_GKE), "snapshot"),
    **dict.fromkeys(
        (
            "csi-powerstore.dellemc.com", "csi-powerstore.dellemc.com/nfs", "vpc.block.csi.ibm.io",
            "topolvm.cybozu.com", "topolvm.io",
        ),
        "copy",
    ),
}  # fmt: skip
_CRON_SNAPSHOTS: Final = frozenset((*_RBD[1:], *_TRIDENT, *_GKE, *_VPC_FILE))
_CRON_RWO: Final = frozenset(_GKE)
_MINIMUMS: Final = {
    **dict.fromkeys(("pd.csi.storage.gke.io/hyperdisk", "ebs.csi.aws.com/io1", "ebs.csi.aws.com/io2"), 4 * GIB),
    **dict.fromkeys(
        (
            "ebs.csi.aws.com/gp", *_SYNOLOGY, "csi.trident.netapp.io/gcnv-flex", "vpc.file.csi.ibm.io/rfs",
            "vpc.file.csi.ibm.io/rfs-rwo", "xspc.csi.hpe.com", "hspc.csi.hitachi.com",
        ),
        GIB,
    ),
    **dict.fromkeys(("vpc.file.csi.ibm.io/dp2", "vpc.file.csi.ibm.io/dp2-rwo"), 10 * GIB),
}  # fmt: skip
UNSUPPORTED: Final = frozenset(
    {
        "openshift-storage.noobaa.io/obc", "openshift-storage.ceph.rook.io/bucket", "rook-ceph.ceph.rook.io/bucket",
        "stork-snapshot", kubernetes.NO_PROVISIONER,
    }
)  # fmt: skip
"""Provisioners whose profile is never counted as one that is to be completed."""
