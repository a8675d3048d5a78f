"""What we read of a DataVolume."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from diskyard.api import meta
from diskyard.api.meta import Condition, Key, Obj
from diskyard.api.names import cdi
from diskyard.api.origin import Imageio, Origin, Registry, Vddk, origin, present

SERVED: Final = ("http", "s3", "gcs", "registry", "imageio", "vddk", "blank")
"""The sources that we can serve."""


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
    """What that source says; None where it is none that an importer reads."""
    refers: bool = False
    """Whether it names a DataSource instead."""
    stages: bool = False
    """Whether it is to be filled in stages (`checkpoints`)."""
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
    def served(self) -> bool:
        """Whether we can fill it."""
        return not self.unserved

    @property
    def unserved(self) -> str:
        """Which field is more than we can serve, and what to write instead; empty where we can."""
        if self.source not in SERVED:
            named = f"spec.source.{self.source}" if self.source else "somebody else's populator"
            known = f"{', '.join(SERVED[:-1])} and {SERVED[-1]}"
            return f"{'spec.sourceRef' if self.refers else named} is not served by this version; it serves {known}"
        if isinstance(self.origin, Registry) and not self.origin.url:
            return (
                "spec.source.registry.imageStream is not served by this version: name the image itself in "
                "spec.source.registry.url (docker://HOST/NAME:TAG)"
            )
        if self.content_type == "archive" and isinstance(self.origin, Imageio | Vddk):
            return f"spec.contentType archive is not served for {self.source}, which gives disks only: leave it out"
        if self.stages:
            return (
                "spec.checkpoints is not served by this version: leave it out, and switch the machine off, to import "
                "its whole disk at once"
            )
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
        return str((self.pvc or self.storage or {}).get("storageClassName") or "")


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
        refers=spec.get("sourceRef") is not None,
        stages=bool(spec.get("checkpoints")),
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
