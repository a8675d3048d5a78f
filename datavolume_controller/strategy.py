"""How a claim is cloned: by what its storage can do, else by a copy, and why. Pure (cdi-wire: strategy choice)."""

from dataclasses import dataclass
from typing import Final

from diskyard.api.storage import StorageClass

COPY: Final = "copy"
SNAPSHOT: Final = "snapshot"
CSI_CLONE: Final = "csi-clone"


@dataclass(frozen=True)
class Case:
    """What decides."""

    target: StorageClass
    target_block: bool
    target_size: int
    source_driver: str
    """What has made the source's volume, or its snapshot's content."""
    source_block: bool
    source_size: int
    of_snapshot: bool = False
    override: str = ""
    """The operator's word for everything."""
    profile: str = ""
    """The class's own way."""
    grows_disk: bool = False
    """Whether a disk in a file system has to become larger: its storage knows of no disk."""
    snapshot_class: str = ""
    """One that both can use; empty: there is none."""


@dataclass(frozen=True)
class Choice:
    """A strategy; where it is a copy in place of something better, why."""

    strategy: str
    reason: str = ""
    message: str = ""


def choice(case: Case) -> Choice:
    """The strategy of a clone: the better ones first, and what speaks against them."""
    wanted = SNAPSHOT if case.of_snapshot else case.override or case.profile or SNAPSHOT
    if wanted == COPY:
        return Choice(COPY)
    if case.grows_disk:
        message = "The disk is to be larger than the source's: it is copied, so that it grows"
        return Choice(COPY, "LargerDisk", message)
    if case.of_snapshot and case.target.provisioner != case.source_driver:
        message = "The storageclass provisioner does not match the volumesnapshotcontent driver"
        return Choice(COPY, "NoProvisionerMatch", message)
    if not case.of_snapshot and wanted == SNAPSHOT and not case.snapshot_class:
        return Choice(COPY, "NoVolumeSnapshotClass", "No compatible volumesnapshotclass found")
    if case.source_block != case.target_block:
        message = "The volume modes of source and target are incompatible"
        return Choice(COPY, "IncompatibleVolumeModes", message)
    if case.target.provisioner != case.source_driver:
        return Choice(COPY, "IncompatibleProvisioners", "Provisioners are incompatible")
    if case.source_size < case.target_size and not case.target.expands:
        return Choice(COPY, "NoVolumeExpansion", "No volume expansion is possible")
    return Choice(wanted)
