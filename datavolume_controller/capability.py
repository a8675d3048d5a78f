"""What provisioners give: access modes and volume modes, the preferred first (CDI's table, as far as we need it)."""

from collections.abc import Mapping
from typing import Final

from diskyard.api.names import kubernetes
from diskyard.api.storage import BLOCK, FILESYSTEM, PropertySet

_RWO_FILESYSTEM: Final = PropertySet(("ReadWriteOnce",), FILESYSTEM)
_RWO_BLOCK: Final = PropertySet(("ReadWriteOnce",), BLOCK)
_RWX_FILESYSTEM: Final = PropertySet(("ReadWriteMany",), FILESYSTEM)
_RWX_BLOCK: Final = PropertySet(("ReadWriteMany",), BLOCK)
_CEPH_BLOCK: Final = (_RWX_BLOCK, _RWO_BLOCK, _RWO_FILESYSTEM)

CAPABILITIES: Final[Mapping[str, tuple[PropertySet, ...]]] = {
    kubernetes.PROVISIONER: (_RWO_FILESYSTEM,),
    "rancher.io/local-path": (_RWO_FILESYSTEM,),
    "kubevirt.io.hostpath-provisioner": (_RWO_FILESYSTEM,),
    "nfs.csi.k8s.io": (_RWX_FILESYSTEM,),
    "rbd.csi.ceph.com": _CEPH_BLOCK,
    "rook-ceph.rbd.csi.ceph.com": _CEPH_BLOCK,
    "cephfs.csi.ceph.com": (_RWX_FILESYSTEM, _RWO_FILESYSTEM),
    "ebs.csi.aws.com": (_RWO_BLOCK,),
    "disk.csi.azure.com": (_RWO_BLOCK,),
    "pd.csi.storage.gke.io": (_RWO_BLOCK, _RWO_FILESYSTEM),
    "topolvm.io": (_RWO_BLOCK, _RWO_FILESYSTEM),
    "driver.longhorn.io": (_RWO_BLOCK,),
}
"""Provisioner -> sets; one that is not here has to be described in its StorageProfile."""
