"""Which resources are served, in which versions: the core kinds, and what the store's CRDs define."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from diskyard.api import meta
from diskyard.api.meta import CORE_KINDS, CRD, KINDS, Kind, Obj
from diskyard.errors import NotFound
from standalone.store.objects import Objects
from standalone.wire.target import Target

VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
_STATUS_OF_CORE = (
    "Namespace",
    "Node",
    "Pod",
    "PersistentVolumeClaim",
    "PersistentVolume",
    "Service",
    CRD.kind,
)


@dataclass(frozen=True)
class Resource:
    """One resource in one version."""

    kind: Kind
    """As it is stored."""
    version: str
    """As it is spoken of here."""
    status: bool = True
    """Its status is a subresource."""
    schema: Obj | None = None
    """`openAPIV3Schema`, for what a CRD defines."""
    columns: tuple[dict[str, Any], ...] = ()
    """`additionalPrinterColumns`."""

    @property
    def api_version(self) -> str:
        """`cdi.kubevirt.io/v1alpha1`: as its objects say it in this version."""
        return f"{self.kind.group}/{self.version}" if self.kind.group else self.version

    @property
    def stored(self) -> bool:
        """Whether objects are stored in just this version."""
        return self.version == self.kind.version

    @property
    def subresources(self) -> tuple[str, ...]:
        """The names after an object's own."""
        more = {"Pod": ("log",), "Namespace": ("finalize",)}.get(self.kind.kind, ())
        return (("status",) if self.status else ()) + (more if not self.kind.group else ())


@dataclass(frozen=True)
class Catalogue:
    """What is served at one moment. Versions of a group: the preferred first."""

    resources: tuple[Resource, ...]
    _by_path: dict[tuple[str, str, str], Resource] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for resource in self.resources:
            self._by_path[resource.kind.group, resource.version, resource.kind.plural] = resource

    def find(self, target: Target) -> Resource:
        """The resource of a path. Raises NotFound in Kubernetes' words."""
        found = self._by_path.get((target.group, target.version, target.plural))
        if found is None or (target.namespace and not found.kind.namespaced):
            raise missing()
        if target.name and found.kind.namespaced and not target.namespace:
            raise missing()
        if target.subresource and target.subresource not in found.subresources:
            raise missing()
        return found

    def versions(self) -> dict[str, tuple[str, ...]]:
        """Every group with its versions."""
        found: dict[str, list[str]] = {}
        for resource in self.resources:
            known = found.setdefault(resource.kind.group, [])
            if resource.version not in known:
                known.append(resource.version)
        return {group: tuple(versions) for group, versions in found.items()}

    def of(self, group: str, version: str) -> tuple[Resource, ...]:
        """The resources of one version of a group."""
        return tuple(r for r in self.resources if (r.kind.group, r.version) == (group, version))


class Catalogues:
    """The catalogue of the moment, made anew when a CRD has changed."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._lock = Lock()
        self._seen: tuple[int, ...] | None = None
        self._known = Catalogue(())

    def now(self) -> Catalogue:
        """What is served now."""
        records, _ = self._objects.records(CRD)
        seen = tuple(record.revision for record in records)
        with self._lock:
            if seen != self._seen:
                self._known = catalogue(record.obj() for record in records)
                self._seen = seen
            return self._known


def catalogue(definitions: Iterable[Obj]) -> Catalogue:
    """The core kinds and what these CRDs define."""
    core = [Resource(kind, kind.version, status=kind.kind in _STATUS_OF_CORE) for kind in CORE_KINDS]
    return Catalogue((*core, *(r for definition in definitions for r in _defined(definition))))


def missing() -> NotFound:
    """404 for a path that leads nowhere."""
    return NotFound("the server could not find the requested resource")


def _defined(definition: Obj) -> Iterator[Resource]:
    spec = meta.spec(definition)
    versions = [version for version in spec.get("versions", ()) if version.get("served")]
    kind = _kind(spec)
    for version in versions:
        yield Resource(
            kind,
            str(version["name"]),
            status="status" in version.get("subresources", {}),
            schema=version.get("schema", {}).get("openAPIV3Schema"),
            columns=tuple(version.get("additionalPrinterColumns", ())),
        )


def _kind(spec: dict[str, Any]) -> Kind:
    names, group = spec["names"], str(spec["group"])
    for kind in KINDS:
        if (kind.group, kind.kind) == (group, names["kind"]):
            return kind
    stored = next(str(version["name"]) for version in spec["versions"] if version.get("storage"))
    return Kind(
        group,
        stored,
        str(names["kind"]),
        str(names["plural"]),
        namespaced=spec.get("scope") != "Cluster",
        short=tuple(names.get("shortNames", ())),
        older=tuple(str(v["name"]) for v in spec["versions"] if v["name"] != stored),
        categories=tuple(names.get("categories", ())),
    )
