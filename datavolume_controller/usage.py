"""Who uses a claim: nothing is written into it while somebody does."""

from collections.abc import Iterable
from typing import Final

from datavolume_controller.worded import annotated, running
from diskyard.api import meta, pod
from diskyard.api.meta import CLAIM, POD, Key, Obj
from diskyard.api.storage import Claim
from diskyard.kube.cache import found_by
from diskyard.kube.client import Client
from diskyard.kube.memory import Index
from diskyard.kube.reconcile import Plan, Tell

PAUSE: Final = 2.0
"""Seconds until a claim that somebody uses is looked at again."""


def claims(obj: Obj) -> Iterable[Key]:
    """The claims that a pod uses: for `wakes`, too."""
    return (Key(name, meta.namespace(obj)) for name in pod.claims(obj))


USERS: Final = Index(POD, claims)


def users(client: Client, claim: Key) -> tuple[Key, ...]:
    """The pods that use a claim and have not ended."""
    found = found_by(client, USERS, claim)
    return tuple(meta.key(each) for each in found if meta.phase(each) not in ("Succeeded", "Failed"))


def in_use(obj: Obj, claim: Claim, by: Key, reason: str) -> Plan:
    """Say who keeps the claim from being filled, once, also where its DataVolume looks, and look again."""
    message = f"pod {by} using PersistentVolumeClaim {claim.key.name}"
    said = annotated(claim, running("false", reason, message))
    return Plan((Tell(CLAIM, obj, reason, message, warning=True), *said) if said else (), PAUSE)
