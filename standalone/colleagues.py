"""Kubernetes' own programs that do a part of our work where they run: known by the leases that they renew.

A bare API server has neither scheduler nor controller manager, and the yard's has none; there we do that part.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from diskyard.api import meta
from diskyard.api.meta import CONFIG_MAP, LEASE, Key
from diskyard.kube.client import Client
from diskyard.kube.reconcile import find

ROOT_AUTHORITY: Final = Key("kube-root-ca.crt", "kube-system")
"""A ConfigMap that the controller manager makes: where it is and no lease, one without election is at work."""
SCHEDULER: Final = Key("kube-scheduler", "kube-system")
"""Binds pods to nodes."""
CONTROLLERS: Final = Key("kube-controller-manager", "kube-system")
"""Binds claims to volumes, and holds back what is in use."""
PATIENCE: Final = timedelta(seconds=60)
"""How long a lease may be old: four times what they renew it within."""


@dataclass(frozen=True)
class Duties:
    """What is ours to bind; None: found out, again and again, by who else is at work."""

    pods: bool | None = None
    claims: bool | None = None

    def binds_pods(self, client: Client, now: datetime) -> bool:
        """Whether pods are to be bound here."""
        return not at_work(client, SCHEDULER, now) if self.pods is None else self.pods

    def binds_claims(self, client: Client, now: datetime) -> bool:
        """Whether claims are to be bound here, and held back while they are in use."""
        if self.claims is not None:
            return self.claims
        if find(client, LEASE, CONTROLLERS):
            return not at_work(client, CONTROLLERS, now)
        return find(client, CONFIG_MAP, ROOT_AUTHORITY) is None


FOUND_OUT: Final = Duties()
ALL: Final = Duties(pods=True, claims=True)


def at_work(client: Client, who: Key, now: datetime) -> bool:
    """Whether that program runs."""
    spec = meta.spec(find(client, LEASE, who) or {})
    renewed = spec.get("renewTime")
    return bool(spec.get("holderIdentity") and renewed and now - meta.moment(str(renewed)) < PATIENCE)
