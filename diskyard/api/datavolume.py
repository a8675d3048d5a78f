"""What we read of a DataVolume."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from diskyard.api import meta
from diskyard.api.meta import Key, Obj
from diskyard.api.names import cdi

SOURCES: Final = (
    "http", "s3", "gcs", "registry", "pvc", "snapshot", "upload", "blank", "imageio", "vddk",
)  # fmt: skip
"""Every source that a DataVolume can name."""

SERVED: Final = ("http", "blank")
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
class Http:
    """An image on a web server."""

    url: str
    secret: str = ""
    certificates: str = ""
    """A ConfigMap."""
    extra_headers: tuple[str, ...] = ()
    secret_extra_headers: tuple[str, ...] = ()
    """Secrets, each value a header line."""
    checksum: str = ""
    insecure: bool = False


@dataclass(frozen=True)
class Condition:
    """One entry of `status.conditions`, without its times."""

    type: str
    status: str
    reason: str = ""
    message: str = ""


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
    http: Http | None = None
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
        return self.source in SERVED

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
    source = _mapping(spec.get("source"))
    status = meta.status(obj)
    return DataVolume(
        key=meta.key(obj),
        uid=meta.uid(obj),
        deleting=meta.deleting(obj),
        labels=meta.labels(obj),
        annotations=meta.annotations(obj),
        sources=present(source),
        http=_http(source["http"]) if isinstance(source.get("http"), dict) else None,
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


def present(source: Mapping[str, Any]) -> tuple[str, ...]:
    """Which sources an object `spec.source` names."""
    return tuple(each for each in SOURCES if source.get(each) is not None)


def _http(said: Mapping[str, Any]) -> Http:
    return Http(
        url=str(said.get("url") or ""),
        secret=str(said.get("secretRef") or ""),
        certificates=str(said.get("certConfigMap") or ""),
        extra_headers=tuple(said.get("extraHeaders") or ()),
        secret_extra_headers=tuple(said.get("secretExtraHeaders") or ()),
        checksum=str(said.get("checksum") or ""),
        insecure=said.get("insecureSkipVerify") is True,
    )


def _mapping(found: Any) -> Mapping[str, Any]:
    return found if isinstance(found, dict) else {}
