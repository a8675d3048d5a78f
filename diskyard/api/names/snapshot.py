"""Names of snapshots: annotations, labels and finalizers as kubernetes-csi/external-snapshotter has them."""

from typing import Final

from diskyard.api.names.cdi import DEFAULT_SNAPSHOT_CLASS as DEFAULT_CLASS

__all__ = ["DEFAULT_CLASS"]

_PREFIX: Final = "snapshot.storage.kubernetes.io/"
GROUP: Final = "snapshot.storage.k8s.io"
SOURCE_PROTECTION: Final = _PREFIX + "volumesnapshot-as-source-protection"
"""A VolumeSnapshot stays while a claim is made from it; and, the next, while its content is there."""
BOUND_PROTECTION: Final = _PREFIX + "volumesnapshot-bound-protection"
CONTENT_PROTECTION: Final = _PREFIX + "volumesnapshotcontent-bound-protection"
BEING_DELETED: Final = _PREFIX + "volumesnapshot-being-deleted"
"""On a content: its VolumeSnapshot goes."""
MANAGED_BY: Final = _PREFIX + "managed-by"
"""A label on a content: the node whose storage has it."""
CHANGES_MODE: Final = _PREFIX + "allow-volume-mode-change"
"""On a content: claims of another volumeMode may be made from it."""
