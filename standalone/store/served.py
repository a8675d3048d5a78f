"""What the yard serves: Kubernetes' own kinds, and the kinds that CustomResourceDefinitions describe."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final

from diskyard.api import meta
from diskyard.api.meta import (
    CLAIM,
    CORE_KINDS,
    CRD,
    KINDS,
    MACHINE,
    NAMESPACE,
    NODE,
    POD,
    RESOURCE_QUOTA,
    SERVICE,
    VOLUME,
    Kind,
    Obj,
)
from diskyard.errors import Cause
from standalone.store import answers, kinds
from standalone.store.fields import Node
from standalone.store.schema import Schema
from standalone.store.unread import unread

_WITH_STATUS: Final = (NAMESPACE, NODE, POD, CLAIM, VOLUME, SERVICE, RESOURCE_QUOTA, CRD)


@dataclass(frozen=True)
class Version:
    """One version in which a custom kind is served."""

    name: str
    columns: tuple[Obj, ...]
    """`additionalPrinterColumns`, as in the CRD."""
    schema: Schema
    """What objects are held to that are written in this version."""
    warning: str = ""
    """What those are told who still use it; empty: nothing."""
    status: bool = False
    """Whether its status is written apart."""
    scale: Mapping[str, str] | None = None
    """Where the numbers of its scale subresource stand; None: there is none."""


@dataclass(frozen=True)
class Served:
    """A kind that the yard serves, and how."""

    kind: Kind
    status: bool
    """Whether `status` is written apart, through the subresource."""
    versions: Mapping[str, Version] = field(default_factory=dict)
    """By name; empty for Kubernetes' own kinds."""
    schema: Schema | None = None
    """What objects are held to; None for Kubernetes' own kinds."""
    selectable: tuple[str, ...] = ()
    """Fields that objects can be selected by, beside those that every kind has."""
    scale: Mapping[str, str] | None = None
    """Where the numbers of the scale subresource stand; None: there is none."""
    storage: Schema | None = None
    """What objects are stored by, where that is another version's schema than the one they are held to."""

    def spoken(self, api_version: str) -> "Served":
        """The kind as it is for one who speaks that version: with the schema and the subresources of its own."""
        return self._spoken.get(api_version.rpartition("/")[2], self)

    @cached_property
    def _spoken(self) -> Mapping[str, "Served"]:
        return {
            name: replace(self, status=one.status, schema=one.schema, scale=one.scale, storage=self.schema)
            for name, one in self.versions.items()
            if name != self.kind.version
        }

    @cached_property
    def node(self) -> Node:
        """The schema by which fields are told apart, that of the metadata included."""
        return kinds.whole(self.schema.openapi) if self.schema else kinds.node(self.kind)

    def unknown(self, obj: Obj) -> list[str]:
        """The paths of fields that no schema declares."""
        return (self.schema or Schema(self.node)).pruned(obj)[1]

    def doubts(self, obj: Obj) -> Sequence[str]:
        """Warnings about fields that KubeVirt's kinds keep and nobody here reads."""
        if self.schema is None or self.kind.group != MACHINE.group:
            return ()
        node = self.schema.openapi.get("properties", {}).get("spec", {})
        return [
            f'unknown field "{path}": it is kept, and does nothing'
            for path in unread(meta.spec(obj), node, "spec")
        ]

    @property
    def blank(self) -> Obj:
        """The kind's object before anything is said of it."""
        return kinds.BLANK if self.schema else kinds.blank(self.kind)

    @property
    def custom(self) -> bool:
        """Whether a CustomResourceDefinition describes it."""
        return self.schema is not None


def core() -> tuple[Served, ...]:
    """Kubernetes' own kinds."""
    return tuple(Served(kind, kind in _WITH_STATUS) for kind in CORE_KINDS)


def custom(crd: Obj) -> Served:
    """The kind that a CRD (of the right shape) describes. Raises Invalid."""
    spec = meta.spec(crd)
    stored = [version for version in spec["versions"] or () if version["storage"]]
    if len(stored) != 1:
        told = "Invalid value: must have exactly one version marked as storage version"
        raise answers.invalid(CRD, meta.name(crd), [Cause(told, "spec.versions")])
    versions = {version["name"]: _version(spec, version) for version in spec["versions"] if version["served"]}
    kind, own = _kind(spec, stored[0]["name"], versions), _version(spec, stored[0])
    paths = [one["jsonPath"] for version in spec["versions"] for one in version.get("selectableFields") or ()]
    selectable = tuple(str(path).lstrip(".") for path in paths)
    return Served(kind, own.status, versions, own.schema, selectable, own.scale)


def _version(spec: Obj, version: Obj) -> Version:
    subresources = version.get("subresources") or {}
    return Version(
        version["name"],
        tuple(version.get("additionalPrinterColumns") or ()),
        Schema((version.get("schema") or {}).get("openAPIV3Schema") or {}),
        _deprecation(spec, version),
        "status" in subresources,
        subresources.get("scale"),
    )


def established(crd: Obj) -> Obj:
    """The status of a CRD whose kind is served."""
    spec = meta.spec(crd)
    since = meta.meta(crd).get("creationTimestamp")
    said = (
        ("NamesAccepted", "NoConflicts", "no conflicts found"),
        ("Established", "InitialNamesAccepted", "the initial names have been accepted"),
    )
    return {
        "acceptedNames": spec["names"],
        "storedVersions": [version["name"] for version in spec["versions"] if version["storage"]],
        "conditions": [
            {"type": type_, "status": "True", "reason": reason, "message": text, "lastTransitionTime": since}
            for type_, reason, text in said
        ],
    }


def _deprecation(spec: Obj, version: Obj) -> str:
    if not version.get("deprecated"):
        return ""
    if told := version.get("deprecationWarning"):
        return str(told)
    group, kind = spec["group"], spec["names"]["kind"]
    kept = [one["name"] for one in spec["versions"] if one["served"] and not one.get("deprecated")]
    newer = max(
        (one for one in kept if _maturity(one) > _maturity(version["name"])), key=_maturity, default=""
    )
    use = f"; use {group}/{newer} {kind}" if newer else ""
    return f"{group}/{version['name']} {kind} is deprecated{use}"


def _maturity(version: str) -> tuple[int, int, int]:
    """What Kubernetes orders versions by: v2, v1, v1beta2, v1beta1, v1alpha1, anything else."""
    match = re.fullmatch(r"v(\d{1,9})(?:(alpha|beta)(\d{1,9}))?", version)
    if not match:
        return -1, 0, 0
    major, stage, minor = match.groups()
    return ("alpha", "beta", None).index(stage), int(major), int(minor or 0)


def _kind(spec: Obj, version: str, versions: Mapping[str, Version]) -> Kind:
    """Our own name for the kind if we have one: two Kinds of one resource must not differ."""
    names = spec["names"]
    for kind in KINDS:
        if (kind.group, kind.plural, kind.version) == (spec["group"], names["plural"], version):
            return kind
    return Kind(
        spec["group"],
        version,
        names["kind"],
        names["plural"],
        namespaced=spec["scope"] == "Namespaced",
        short=tuple(names.get("shortNames") or ()),
        older=tuple(name for name in versions if name != version),
        categories=tuple(names.get("categories") or ()),
    )
