"""Whether a node lets a pod come, by its labels and taints, as Kubernetes' scheduler decides it. Pure.

https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/, .../assign-pod-node/
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from diskyard.api import meta, selector
from diskyard.api.meta import Obj
from diskyard.api.names import kubernetes

CORDONED: Final = {"key": kubernetes.UNSCHEDULABLE, "effect": "NoSchedule"}
"""What `kubectl cordon` comes to."""
_KEPT_AWAY: Final = ("NoSchedule", "NoExecute")
_KNOWN_BETTER: Final = (kubernetes.NOT_READY, kubernetes.UNREACHABLE)
"""An API server writes the first on every new Node; without a controller manager nobody takes it away. We are there."""


@dataclass(frozen=True)
class Marks:
    """What people have written on a Node."""

    labels: Mapping[str, str]
    taints: tuple[Mapping[str, Any], ...] = ()
    cordoned: bool = False


UNMARKED: Final = Marks({})


def marks(node: Obj | None, known: Mapping[str, str]) -> Marks:
    """Those of a Node; `known`: the labels that it was made with."""
    spec = meta.spec(node or {})
    return Marks(
        {**known, **meta.labels(node or {})},
        tuple(one for one in spec.get("taints") or () if one.get("key") not in _KNOWN_BETTER),
        bool(spec.get("unschedulable")),
    )


def unwelcome(pod: Obj, name: str, on: Marks) -> str:
    """Why the node of that name does not take the pod, as the scheduler says it behind `1 node(s) `; empty: it does."""
    spec = meta.spec(pod)
    tolerations = [one for one in spec.get("tolerations") or () if isinstance(one, dict)]
    if on.cordoned and not _tolerated(CORDONED, tolerations):
        return "were unschedulable."
    for taint in on.taints:
        if taint.get("effect") in _KEPT_AWAY and not _tolerated(taint, tolerations):
            return f"had untolerated taint {{{taint.get('key', '')}: {taint.get('value', '')}}}."
    wanted: Mapping[str, str] = spec.get("nodeSelector") or {}
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    chosen = required is None or any(
        _fits(term, name, on.labels) for term in required.get("nodeSelectorTerms") or ()
    )
    if not chosen or not selector.fits({"matchLabels": wanted}, on.labels):
        return "didn't match Pod's node affinity/selector."
    return ""


def _tolerated(taint: Mapping[str, Any], tolerations: Iterable[Mapping[str, Any]]) -> bool:
    return any(
        one.get("effect") in (taint["effect"], "", None)
        and one.get("key") in (taint.get("key"), "", None)
        and (one.get("operator") == "Exists" or (one.get("value") or "") == (taint.get("value") or ""))
        for one in tolerations
    )


def _fits(term: Obj, name: str, labels: Mapping[str, str]) -> bool:
    """Whether a node has all that a term asks for; an empty one asks for no node at all."""
    fields = {"matchExpressions": term.get("matchFields") or ()}
    rules = term.get("matchExpressions") or ()
    if not rules and not fields["matchExpressions"]:
        return False
    compared = [one for one in rules if one.get("operator") in ("Gt", "Lt")]
    others = {"matchExpressions": [one for one in rules if one not in compared]}
    return (
        selector.fits(fields, {"metadata.name": name})
        and selector.fits(others, labels)
        and all(_compares(one, labels.get(str(one.get("key")), "")) for one in compared)
    )


def _compares(rule: Obj, found: str) -> bool:
    """Whether a label is a number beyond the rule's one."""
    try:
        number, (bound,) = int(found), map(int, rule.get("values") or ())
    except ValueError:
        return False
    return number > bound if rule["operator"] == "Gt" else number < bound
