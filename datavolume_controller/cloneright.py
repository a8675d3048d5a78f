"""May this claim be cloned from there? No, but for a user's token, or a service account's right.

Whoever makes a DataVolume is asked for when he makes it, and it gets a token that names source and target. Five
minutes later that is worth nothing, so it is exchanged for one that lasts as long as a source may be awaited, for this
very claim: whoever makes another of its name later, when the right is gone, gets nothing by it.
Who has none (a claim by hand, a template of a machine) clones with the right of the service account that he names.
"""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from datavolume_controller import authorization
from diskyard.api import token
from diskyard.api.meta import SECRET, Key
from diskyard.api.names import cdi, clone, upload
from diskyard.api.token import Grant
from diskyard.api.user import User, account
from diskyard.errors import Unauthorized
from diskyard.kube.access import May
from diskyard.kube.client import Client
from diskyard.kube.reconcile import find

LASTING: Final = timedelta(days=30)
RESOURCES: Final[Mapping[str, str]] = {"pvc": "persistentvolumeclaims", "snapshot": "volumesnapshots"}
CANNOT: Final = "CloneNotPermitted"

MayOf = Callable[[Client], May]


@dataclass(frozen=True)
class Wish:
    """Who would like to be what."""

    entry: str
    """`pvc` or `snapshot`."""
    source: Key
    target: Key
    annotations: Mapping[str, str]
    """Of the target."""
    uid: str = ""
    """Of the target; empty: it is not there yet."""


@dataclass(frozen=True)
class Verdict:
    """Why not; empty: it may."""

    refusal: str = ""
    lasting: str = ""
    """A token to be kept in place of one that ends soon."""


ALLOWED: Final = Verdict()


def grant(wish: Wish) -> Grant:
    """What a token for that says: of a target that is there, that it is for no other one of its name."""
    params = {"targetNamespace": wish.target.namespace, "targetName": wish.target.name}
    params |= {"uid": wish.uid} if wish.uid else {}
    return Grant(token.CLONE, wish.source.name, wish.source.namespace, RESOURCES[wish.entry], params)


def signed(client: Client, wish: Wish, life: timedelta = token.LIFE) -> str:
    """A token for that; empty while there is no key for it."""
    key = _key(client, upload.PRIVATE_KEY)
    return token.signed(grant(wish), key, datetime.now(UTC), life) if key else ""


def verdict(client: Client, may: May, wish: Wish) -> Verdict:
    """Whether the target may be cloned from the source."""
    if wish.source.namespace == wish.target.namespace:
        return ALLOWED
    public = _key(client, upload.PUBLIC_KEY)
    said = wish.annotations
    if public and _holds(said.get(clone.LASTING_TOKEN, ""), public, wish):
        return ALLOWED
    if public and _holds(said.get(clone.TOKEN, ""), public, replace(wish, uid="")):
        return Verdict(lasting=signed(client, wish, LASTING))
    who = account(wish.target.namespace, wish.annotations.get(cdi.POD_SERVICE_ACCOUNT) or "default")
    lacking = lacks(may, who, wish.entry, wish.source, wish.target.namespace)
    if not lacking:
        return ALLOWED
    return Verdict(
        f"{wish.target} may not be cloned from {wish.entry} {wish.source}: there is no valid token of a user who may, "
        f"and {lacking}, or make the DataVolume again as somebody who may"
    )


def lacks(may: May, who: User, entry: str, source: Key, namespace: str) -> str:
    """Which right an account lacks to clone that into a namespace, and how to give it; empty: none."""
    if authorization.may_read(may, who, entry, source, namespace):
        return ""
    return (
        f"{who.name} may not create datavolumes/source in namespace {source.namespace}: bind it the ClusterRole "
        "cdi.kubevirt.io:clone-sourcer there"
    )


def _holds(text: str, public: bytes, wish: Wish) -> bool:
    if not text:
        return False
    try:
        return token.verified(text, public) == grant(wish)
    except Unauthorized:
        return False


def _key(client: Client, entry: str) -> bytes:
    secret = find(client, SECRET, Key(upload.SIGNING_KEY, cdi.NAMESPACE))
    return base64.b64decode(((secret or {}).get("data") or {}).get(entry, ""))
