"""What we read of a DataVolume."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from diskyard.api import meta
from diskyard.api.meta import Condition, Key, Obj
from diskyard.api.names import cdi
from diskyard.api.origin import Imageio, Origin, Registry, Upload, Vddk, origin, present
from diskyard.api.storage import Reference, populator

CLONES: Final = ("pvc", "snapshot")


class Phase(StrEnum):
    """Where a DataVolume stands: the phases that we set."""

    UNSET = ""
    PENDING = "Pending"
    BOUND = "PVCBound"
    WAITING = "WaitForFirstConsumer"
    SCHEDULED = "ImportScheduled"
    IMPORTING = "ImportInProgress"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    PAUSED = "Paused"
    POPULATING = "PendingPopulation"
    UPLOAD_SCHEDULED = "UploadScheduled"
    UPLOAD_READY = "UploadReady"
    CLONE_SCHEDULED = "CloneScheduled"
    CLONING = "CloneInProgress"
    SNAPSHOTTING = "SnapshotForSmartCloneInProgress"
    RESTORING = "CloneFromSnapshotSourceInProgress"
    CSI_CLONING = "CSICloneInProgress"
    PREPARING = "PrepClaimInProgress"
    REBINDING = "RebindInProgress"


@dataclass(frozen=True)
class Checkpoint:
    """One stage of an import: what changed between two snapshots."""

    previous: str
    """Empty: everything."""
    current: str


@dataclass(frozen=True)
class Stages:
    """What a disk is imported in, one after another; more may be added while it waits."""

    checkpoints: tuple[Checkpoint, ...] = ()
    """None: it is filled at once."""
    final: bool = False
    """Whether the last of them completes the disk."""


@dataclass(frozen=True)
class DataVolume:
    """A claim, and what is to fill it."""

    key: Key
    uid: str
    deleting: bool
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    sources: tuple[str, ...]
    """Which entries `spec.source` has; exactly one in what admission has let in."""
    origin: Origin | None = None
    """What that source says; None where it is cloned, or filled by somebody else."""
    refers: Key | None = None
    """The DataSource that it names instead."""
    stages: Stages = field(default_factory=Stages)
    pvc: Obj | None = None
    """The claim's spec, to be taken as it is."""
    storage: Obj | None = None
    """What is asked for; what is missing comes from the storage class."""
    content_type: str = "kubevirt"
    priority_class: str = ""
    service_account: str = ""
    preallocation: bool | None = None
    """None: as the CDIConfig says."""
    phase: str = ""
    progress: str = ""
    conditions: Mapping[str, Condition] = field(default_factory=dict)

    @property
    def source(self) -> str:
        """The one source; empty where it is a sourceRef or somebody else's populator."""
        return self.sources[0] if len(self.sources) == 1 else ""

    @property
    def target(self) -> Obj:
        """What is asked for of the claim: `spec.pvc` or `spec.storage`."""
        return self.pvc if self.pvc is not None else self.storage or {}

    @property
    def uploads(self) -> bool:
        """Whether a client sends what is to be in it."""
        return isinstance(self.origin, Upload)

    @property
    def clones(self) -> bool:
        """Whether it is filled from another claim, or from a snapshot."""
        return self.refers is not None or self.source in CLONES

    @property
    def external(self) -> Reference | None:
        """Whose populator fills it, where neither a source nor a sourceRef says what is in it."""
        return None if self.sources or self.refers else populator(self.target)

    @property
    def served(self) -> bool:
        """Whether we can fill it, or have it filled."""
        return not self.unserved

    @property
    def unserved(self) -> str:
        """Which field is more than we can serve, and what to write instead; empty where we can."""
        if self.clones:
            return ""
        if not self.source and not self.external:
            return f"spec.source names {len(self.sources)} sources: keep exactly one of them"
        if isinstance(self.origin, Registry) and not self.origin.url:
            return (
                "spec.source.registry.imageStream is not served by this version: name the image itself in "
                "spec.source.registry.url (docker://HOST/NAME:TAG)"
            )
        if self.content_type == "archive" and isinstance(self.origin, Imageio | Vddk):
            return f"spec.contentType archive is not served for {self.source}, which gives disks only: leave it out"
        if self.stages.checkpoints and not isinstance(self.origin, Imageio | Vddk):
            return f"spec.checkpoints is served for imageio and vddk, not for {self.source}: leave it out"
        return ""

    @property
    def claim(self) -> Key:
        """Its claim is its namesake."""
        return self.key

    @property
    def immediate(self) -> bool:
        """Whether the claim is to be bound without waiting for a consumer."""
        return cdi.IMMEDIATE_BINDING in self.annotations

    @property
    def populated_claim(self) -> str:
        """The claim that is said to hold the contents already; empty where none is."""
        return self.annotations.get(cdi.PRE_POPULATED, "")

    @property
    def storage_class(self) -> str:
        """The storage class that is asked for by name; empty where none is."""
        return str(self.target.get("storageClassName") or "")


def datavolume(obj: Obj) -> DataVolume:
    """What an object of the kind DataVolume says."""
    spec = meta.spec(obj)
    source = spec.get("source") or {}
    status = meta.status(obj)
    return DataVolume(
        key=meta.key(obj),
        uid=meta.uid(obj),
        deleting=meta.deleting(obj),
        labels=meta.labels(obj),
        annotations=meta.annotations(obj),
        sources=present(source),
        origin=origin(source),
        refers=_data_source(spec.get("sourceRef"), meta.namespace(obj)),
        stages=stages(spec),
        pvc=spec.get("pvc"),
        storage=spec.get("storage"),
        content_type=str(spec.get("contentType") or "kubevirt"),
        priority_class=str(spec.get("priorityClassName") or ""),
        service_account=str(spec.get("serviceAccountName") or ""),
        preallocation=spec.get("preallocation"),
        phase=str(status.get("phase") or ""),
        progress=str(status.get("progress") or ""),
        conditions={
            str(each.get("type", "")): Condition(
                type=str(each.get("type", "")),
                status=str(each.get("status", "")),
                reason=str(each.get("reason") or ""),
                message=str(each.get("message") or ""),
            )
            for each in status.get("conditions") or ()
        },
    )


def stages(spec: Obj) -> Stages:
    """What the spec of a DataVolume or a VolumeImportSource says of them; an entry without a name is none."""
    said = (
        Checkpoint(str(each.get("previous") or ""), str(each.get("current") or ""))
        for each in spec.get("checkpoints") or ()
    )
    return Stages(tuple(each for each in said if each.current), spec.get("finalCheckpoint") is True)


def _data_source(said: Mapping[str, str] | None, namespace: str) -> Key | None:
    return None if said is None else Key(str(said.get("name") or ""), str(said.get("namespace") or namespace))
