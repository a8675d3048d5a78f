"""Kubernetes' own programs that do a part of our work where they run: known by the leases that they renew.

A bare API server has neither scheduler nor controller manager, and the yard's has none; there we do that part.
"""

from datetime import datetime, timedelta
from typing import Final

from diskyard.api import meta
from diskyard.api.meta import LEASE, Key
from diskyard.kube.client import Client
from diskyard.kube.reconcile import find

SCHEDULER: Final = Key("kube-scheduler", "kube-system")
"""Binds pods to nodes."""
CONTROLLERS: Final = Key("kube-controller-manager", "kube-system")
"""Binds claims to volumes, and holds back what is in use."""
PATIENCE: Final = timedelta(seconds=60)
"""How long a lease may be old: four times what they renew it within."""


def at_work(client: Client, who: Key, now: datetime) -> bool:
    """Whether that program runs."""
    spec = meta.spec(find(client, LEASE, who) or {})
    renewed = spec.get("renewTime")
    return bool(spec.get("holderIdentity") and renewed and now - meta.moment(str(renewed)) < PATIENCE)
