"""What is served, as clients ask for it: group by group, or all at once. Pure."""

import base64
import hashlib
from typing import Any

from diskyard.api.meta import UPLOAD_TOKEN, Kind, Obj
from diskyard.api.names import kubevirt
from standalone.access import reviews
from standalone.access.account import REQUEST
from standalone.store import binding
from standalone.store.scale import SCALE, SUBRESOURCE
from standalone.wire.catalogue import Catalogue, Resource
from standalone.wire.doors import PARTS

AGGREGATED = "as=APIGroupDiscoveryList"
_SUBRESOURCE_VERBS = {
    "binding": ("create",),
    "log": ("get",),
    "token": ("create",),
    "finalize": ("update",),
    "status": ("get", "patch", "update"),
    SUBRESOURCE: ("get", "patch", "update"),
}
ELSEWHERE = {
    binding.SUBRESOURCE: Kind("", "v1", "Binding", "bindings"),
    "token": REQUEST,
    SUBRESOURCE: SCALE,
}
"""The kinds of subresources that do not speak their object's."""
_ANSWERED = (*reviews.KINDS, UPLOAD_TOKEN)
REVIEWS: dict[str, tuple[Kind, ...]] = {
    group: tuple(kind for kind in _ANSWERED if kind.group == group)
    for group in dict.fromkeys(kind.group for kind in _ANSWERED)
}
"""Questions that are answered and not kept."""


def versions(host: str) -> Obj:
    """`/api`."""
    addresses = [{"clientCIDR": "0.0.0.0/0", "serverAddress": host}]
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": addresses}


def groups(catalogue: Catalogue) -> Obj:
    """`/apis`."""
    found = [group(name, versions) for name, versions in _named(catalogue)]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": found}


def group(name: str, served: tuple[str, ...]) -> Obj:
    """`/apis/GROUP`, and an entry of `/apis`."""
    known = [{"groupVersion": f"{name}/{version}", "version": version} for version in served]
    return {
        "kind": "APIGroup",
        "apiVersion": "v1",
        "name": name,
        "versions": known,
        "preferredVersion": known[0],
    }


def resources(catalogue: Catalogue, name: str, version: str) -> Obj | None:
    """`/api/v1` and `/apis/GROUP/VERSION`; None: no such version."""
    found = [entry for resource in catalogue.of(name, version) for entry in _entries(resource)]
    found += [_review(kind) for kind in asked(name, version)]
    found += doors(name, version)
    if not found:
        return None
    spoken = f"{name}/{version}" if name else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": spoken, "resources": found}


def aggregated(catalogue: Catalogue, version: str, *, core: bool) -> Obj:
    """`/api` (core) or `/apis` in the form that says everything in one answer."""
    chosen = (("", ("v1",)),) if core else _named(catalogue)
    items = [
        {
            "metadata": {"name": name} if name else {},
            "versions": [
                {"version": v, "freshness": "Current", "resources": _discovered(catalogue, name, v)}
                for v in served
            ],
        }
        for name, served in chosen
    ]
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": f"apidiscovery.k8s.io/{version}",
        "metadata": {},
        "items": items,
    }


def _named(catalogue: Catalogue) -> tuple[tuple[str, tuple[str, ...]], ...]:
    served = {name: versions for name, versions in catalogue.versions().items() if name}
    return (
        *served.items(),
        *((name, spoken_in(kinds)) for name, kinds in REVIEWS.items() if name not in served),
        (kubevirt.DOORS, kubevirt.DOOR_VERSIONS),
    )


def spoken_in(kinds: tuple[Kind, ...]) -> tuple[str, ...]:
    """The versions in which these kinds are asked and answered."""
    return tuple(dict.fromkeys(version for kind in kinds for version in (kind.version, *kind.older)))


def asked(name: str, version: str) -> list[Kind]:
    """The kinds of a group that are answered and not kept."""
    return [kind for kind in REVIEWS.get(name, ()) if version in (kind.version, *kind.older)]


def _entries(resource: Resource) -> list[dict[str, Any]]:
    kind = resource.kind
    whole = {
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": list(resource.verbs),
        **({"shortNames": list(kind.short)} if kind.short else {}),
        **({"categories": list(kind.categories)} if kind.categories else {}),
        "storageVersionHash": _stored_as(kind),
    }
    parts = [
        {
            "name": f"{kind.plural}/{part}",
            "singularName": "",
            "namespaced": kind.namespaced,
            **_spoken(kind, part),
            "verbs": list(_SUBRESOURCE_VERBS[part]),
        }
        for part in resource.subresources
    ]
    return [whole, *parts]


def _spoken(kind: Kind, part: str) -> dict[str, Any]:
    """The kind that a subresource speaks; its group where that is another."""
    if part not in ELSEWHERE:
        return {"kind": kind.kind}
    other = ELSEWHERE[part]
    place = {"group": other.group, "version": other.version} if other.group else {}
    return {**place, "kind": other.kind}


def _stored_as(kind: Kind) -> str:
    """By which clients know that a kind is stored in another version than before, as `k8s.io/apiserver` makes it."""
    digest = hashlib.sha256(f"{kind.group}/{kind.version}/{kind.kind}".encode()).digest()
    return base64.b64encode(digest[:8]).decode()


def _review(kind: Kind) -> dict[str, Any]:
    return {
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": ["create"],
        **({"shortNames": list(kind.short)} if kind.short else {}),
    }


def doors(name: str, version: str) -> list[dict[str, Any]]:
    """What is done to guests, and is no object: of its kinds only the parts are listed."""
    if name != kubevirt.DOORS or version not in kubevirt.DOOR_VERSIONS:
        return []
    return [
        {
            "name": f"{kind.plural}/{part}",
            "singularName": "",
            "namespaced": True,
            "group": kind.group,
            "version": kind.version,
            "kind": kind.kind,
            "verbs": [verb],
        }
        for kind, parts in PARTS.items()
        for part, verb in parts.items()
    ]


def _discovered(catalogue: Catalogue, name: str, version: str) -> list[dict[str, Any]]:
    found = [_whole(resource) for resource in catalogue.of(name, version)]
    return (
        found
        + [
            {
                "resource": kind.plural,
                "responseKind": {"group": name, "version": version, "kind": kind.kind},
                "scope": "Namespaced" if kind.namespaced else "Cluster",
                "singularResource": kind.singular,
                "verbs": ["create"],
            }
            for kind in asked(name, version)
        ]
        + _discovered_doors(name, version)
    )


def _discovered_doors(name: str, version: str) -> list[dict[str, Any]]:
    if name != kubevirt.DOORS or version not in kubevirt.DOOR_VERSIONS:
        return []
    spoken = {kind: {"group": kind.group, "version": kind.version, "kind": kind.kind} for kind in PARTS}
    return [
        {
            "resource": kind.plural,
            "responseKind": {"group": "", "version": "", "kind": ""},
            "scope": "Namespaced",
            "singularResource": "",
            "verbs": [],
            "subresources": [
                {"subresource": part, "responseKind": spoken[kind], "verbs": [verb]}
                for part, verb in parts.items()
            ],
        }
        for kind, parts in PARTS.items()
    ]


def _whole(resource: Resource) -> dict[str, Any]:
    kind = resource.kind
    spoken = {"group": kind.group, "version": resource.version, "kind": kind.kind}
    return {
        "resource": kind.plural,
        "responseKind": spoken,
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.singular,
        "verbs": list(resource.verbs),
        **({"shortNames": list(kind.short)} if kind.short else {}),
        **({"categories": list(kind.categories)} if kind.categories else {}),
        "subresources": [
            {
                "subresource": part,
                "responseKind": {**spoken, **_spoken(kind, part)},
                "verbs": list(_SUBRESOURCE_VERBS[part]),
            }
            for part in resource.subresources
        ],
    }
