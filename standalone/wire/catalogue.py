"""Which resources are served, in which versions, as paths name them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from diskyard.api.meta import CORE_KINDS, ENDPOINTS, NAMESPACE, Kind
from diskyard.errors import Cause, MethodNotAllowed, NotFound
from standalone.store import answers, convert
from standalone.store.objects import Objects
from standalone.store.scale import SUBRESOURCE
from standalone.store.served import Served
from standalone.wire.target import Target

VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
_CUSTOM_VERBS = ("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch")
"""The same, in the order in which Kubernetes lists them for custom kinds."""
_OLD = {ENDPOINTS: "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"}
_ELSEWHERE = {
    "apps": "there are no Deployments and the like here, pods alone",
    "autoscaling": "nothing is scaled by itself here, `kubectl scale vmirs/NAME --replicas=N` does it by hand",
    "batch": "there are no Jobs here, pods alone",
}
"""What a whole cluster has, and why it is not here."""
_CORE_GROUPS = frozenset(kind.group for kind in CORE_KINDS)


@dataclass(frozen=True)
class Resource:
    """One resource in one version."""

    kind: Kind
    """As it is stored."""
    version: str
    """As it is spoken of here."""
    status: bool = False
    """Its status is a subresource."""
    schema: Mapping[str, Any] | None = None
    """`openAPIV3Schema`; None for Kubernetes' own kinds."""
    columns: tuple[Mapping[str, Any], ...] = ()
    """`additionalPrinterColumns`."""
    scale: bool = False
    """How many there are of it is a subresource."""
    warning: str = ""
    """What those are told who use this version; empty: nothing."""

    @property
    def api_version(self) -> str:
        """`cdi.kubevirt.io/v1alpha1`: as its objects say it in this version."""
        return convert.api_version(self.kind, self.version)

    @property
    def verbs(self) -> tuple[str, ...]:
        """What can be done to its objects; namespaces go one by one only."""
        if self.kind == NAMESPACE:
            return tuple(verb for verb in VERBS if verb != "deletecollection")
        return VERBS if self.schema is None else _CUSTOM_VERBS

    @property
    def stored(self) -> bool:
        """Whether objects are stored in just this version."""
        return self.version == self.kind.version

    @property
    def subresources(self) -> tuple[str, ...]:
        """The names after an object's own."""
        more = {"Pod": ("binding", "log"), "Namespace": ("finalize",), "ServiceAccount": ("token",)}.get(
            self.kind.kind, ()
        )
        own = tuple(part for part, there in (("status", self.status), (SUBRESOURCE, self.scale)) if there)
        return own + (more if not self.kind.group else ())


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
        if found is None:
            raise self.absent(target.group, target.version)
        misplaced = target.namespace and not found.kind.namespaced
        homeless = target.name and found.kind.namespaced and not target.namespace
        if misplaced or homeless or (target.subresource and target.subresource not in found.subresources):
            raise self.absent(target.group, target.version)
        return found

    def absent(self, group: str, version: str) -> NotFound:
        """404 for what a version of a group does not have; for one that is not served it names those that are."""
        served = self.versions().get(group, ())
        if group in _CORE_GROUPS and version in served:
            return answers.not_served()
        if not served or version in served:
            return missing(_ELSEWHERE.get(group, ""))
        return missing(f"{group or 'the core group'} is served as {', '.join(served)}, not as {version[:60]}")

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
    """The catalogue of the moment, made anew when other kinds are served."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._known: tuple[tuple[Served, ...], Catalogue] = ((), Catalogue(()))

    def now(self) -> Catalogue:
        """What is served now."""
        served = tuple(self._objects.served())
        seen, known = self._known
        if len(seen) != len(served) or any(old is not one for old, one in zip(seen, served, strict=True)):
            known = catalogue(served)
            self._known = served, known
        return known


def catalogue(served: Iterable[Served]) -> Catalogue:
    """Every version of every kind that is served."""
    return Catalogue(tuple(resource for one in served for resource in _versions(one)))


def not_allowed() -> MethodNotAllowed:
    """405 for what cannot be done to a resource."""
    return MethodNotAllowed("the server does not allow this method on the requested resource", details={})


def missing(why: str = "") -> NotFound:
    """404 for a path that leads nowhere; its details are those that clients make of Kubernetes' own answer."""
    said = "the server could not find the requested resource"
    causes = [Cause("404 page not found", reason="UnexpectedServerResponse")]
    return NotFound(f"{said}: {why}" if why else said, causes)


def _versions(served: Served) -> Iterator[Resource]:
    if not served.custom:
        warning = _OLD.get(served.kind, "")
        yield Resource(served.kind, served.kind.version, served.status, warning=warning)
    for version in served.versions.values():
        yield Resource(
            served.kind,
            version.name,
            version.status,
            version.schema.openapi,
            version.columns,
            version.scale is not None,
            version.warning,
        )
