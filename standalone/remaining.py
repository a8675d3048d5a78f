"""What keeps a namespace that is asked to go: Kubernetes' conditions about it, for `kubectl get ns -o yaml`. Pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from diskyard.api import meta
from diskyard.api.meta import NAMESPACE, Kind, Obj
from diskyard.errors import NotFound
from diskyard.kube.client import Client


@dataclass(frozen=True)
class Tell:
    """Say what a namespace still waits for."""

    namespace: Obj
    conditions: tuple[dict[str, str], ...]

    def carry_out(self, client: Client) -> None:
        """Write its status."""
        try:
            client.patch(
                NAMESPACE,
                meta.key(self.namespace),
                {"status": {"conditions": list(self.conditions)}},
                "status",
            )
        except NotFound:
            return


def told(namespace: Obj, inside: Sequence[tuple[Kind, Obj]], now: datetime) -> Tell | None:
    """What there is to say of a namespace with that content; None: it has been said."""
    resources = Counter((kind.plural, kind.group) for kind, _ in inside)
    finalizers = Counter(name for _, obj in inside for name in meta.finalizers(obj))
    left = ", ".join(
        f"{plural}.{group} has {n} resource instances" for (plural, group), n in sorted(resources.items())
    )
    held = ", ".join(f"{name} in {n} resource instances" for name, n in sorted(finalizers.items()))
    said = (
        ("NamespaceDeletionDiscoveryFailure", "ResourcesDiscovered", "All resources successfully discovered", ""),
        ("NamespaceDeletionGroupVersionParsingFailure", "ParsedGroupVersions",
         "All legacy kube types successfully parsed", ""),
        ("NamespaceDeletionContentFailure", "ContentDeleted",
         "All content successfully deleted, may be waiting on finalization", ""),
        ("NamespaceContentRemaining", "SomeResourcesRemain", "Some resources are remaining: ", left),
        ("NamespaceFinalizersRemaining", "SomeFinalizersRemain" if held else "ContentHasNoFinalizers",
         "Some content in the namespace has finalizers remaining: " if held
         else "All content-preserving finalizers finished", held),
    )  # fmt: skip
    conditions = tuple(_condition(namespace, one, now) for one in said)
    return (
        None if list(conditions) == meta.status(namespace).get("conditions") else Tell(namespace, conditions)
    )


def _condition(namespace: Obj, said: tuple[str, str, str, str], now: datetime) -> dict[str, Any]:
    type_, reason, text, more = said
    status = "True" if more else "False"
    before = meta.condition(namespace, type_) or {}
    since = before.get("lastTransitionTime") if before.get("status") == status else None
    return {
        "type": type_,
        "status": status,
        "lastTransitionTime": since or meta.timestamp(now),
        "reason": reason,
        "message": text + more,
    }
