"""What we read of a DataImportCron."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from diskyard.api import meta
from diskyard.api.meta import Key, Obj
from diskyard.api.names import cdi
from diskyard.api.poll import Found, image, named

KEPT: Final = 3
NEVER: Final = "Never"
OUTDATED: Final = "Outdated"
NONE: Final = "None"
ALL: Final = "All"


@dataclass(frozen=True)
class Import:
    """One image: its DataVolume, and the version of the source that is in it."""

    name: str
    digest: str

    @property
    def wire(self) -> Obj:
        """As it stands in the status."""
        return {"DataVolumeName": self.name, "Digest": self.digest}


@dataclass(frozen=True)
class ImportCron:
    """A source, when to look at it, and what to make of what is new there."""

    key: Key
    uid: str
    deleting: bool
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    template: Obj
    """The DataVolume that an image is imported by."""
    schedule: str
    data_source: Key
    """What is pointed at the newest good image."""
    keep: int = KEPT
    collects: bool = True
    """Whether older images are deleted."""
    retains: bool = True
    """Whether the images outlive the cron."""
    service_account: str = ""
    current: Import | None = None
    imported: str = ""
    """The claim of the image that was imported last."""

    @property
    def source(self) -> Obj:
        """`spec.source` of the template."""
        return meta.spec(self.template).get("source") or {}

    @property
    def desired(self) -> str:
        """The version that is to be there: what a look has found, or what somebody has set."""
        said = self.annotations.get(cdi.DESIRED_DIGEST, "")
        return said if named(said) else ""

    @property
    def found(self) -> Found | None:
        """What is known of that version; None: somebody else has set it."""
        found = Found.from_text(self.annotations.get(cdi.FOUND, ""))
        return found if found and found.digest == self.desired else None

    @property
    def pattern(self) -> str:
        """Which files of a folder count; empty: all."""
        return self.annotations.get(cdi.NEWEST) or meta.annotations(self.template).get(cdi.NEWEST, "")


def import_cron(obj: Obj) -> ImportCron:
    """What an object of the kind DataImportCron says."""
    spec, status = meta.spec(obj), meta.status(obj)
    namespace = meta.namespace(obj)
    imports = status.get("currentImports") or ()
    keep = spec.get("importsToKeep")
    return ImportCron(
        key=meta.key(obj),
        uid=meta.uid(obj),
        deleting=meta.deleting(obj),
        labels=meta.labels(obj),
        annotations=meta.annotations(obj),
        template=_object(spec.get("template")),
        schedule=str(spec.get("schedule") or "").strip(),
        data_source=Key(str(spec.get("managedDataSource") or ""), namespace),
        keep=KEPT if keep is None else int(keep),
        collects=spec.get("garbageCollect") != NEVER,
        retains=spec.get("retentionPolicy") != NONE,
        service_account=str(spec.get("serviceAccountName") or ""),
        current=_import(imports[0]) if imports else None,
        imported=str(_object(status.get("lastImportedPVC")).get("name") or ""),
    )


def made(data_source: str, claim: Obj) -> bool:
    """Whether a claim is an image of that DataSource's cron: labels are anybody's, also of disks of guests."""
    digest = meta.annotations(claim).get(cdi.DIGEST, "")
    return named(digest) and image(data_source, digest) == meta.name(claim)


def last_used(claim: Obj) -> str:
    """When an image was imported or pointed at last, else made: texts that sort as their times."""
    created = str(meta.meta(claim).get("creationTimestamp") or "")
    return meta.annotations(claim).get(cdi.LAST_USE_TIME) or created


def standing_for(target: Key, entry: str = "pvc") -> Obj:
    """The `spec` of a merge patch by which a DataSource stands for that claim (`snapshot`: that), and nothing else."""
    where = {"namespace": target.namespace, "name": target.name}
    return {"source": {**dict.fromkeys(("pvc", "snapshot", "dataSource")), entry: where}}


def _import(said: Mapping[str, Any]) -> Import:
    return Import(str(said.get("DataVolumeName") or ""), str(said.get("Digest") or ""))


def _object(said: Any) -> Obj:
    return said if isinstance(said, dict) else {}
