"""The yard's admission: looks up what the rules need to know, then lets each kind's own rules speak.

On a cluster the same rules stand behind webhooks.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from diskyard.api import meta
from diskyard.api.config import config
from diskyard.api.meta import (
    CDI_CONFIG,
    CLAIM,
    DATA_VOLUME,
    INSTANCE,
    MACHINE,
    STORAGE_CLASS,
    Key,
    Kind,
    Obj,
)
from diskyard.api.names import cdi
from diskyard.api.rules import claim, datavolume, instance, machine
from diskyard.api.storage import storage_class
from diskyard.api.user import User
from diskyard.errors import Cause
from diskyard.kube.client import Client
from diskyard.kube.reconcile import find
from standalone.access import grants
from standalone.access.policy import Policy

Defaults = Callable[[Client, Obj], Obj]
Causes = Callable[[Client, Obj, Obj | None], Sequence[Cause]]


class Rules:
    """Every kind's rules, for a store that is given to it by `serve` once it is open."""

    def __init__(self) -> None:
        self._client: Client | None = None
        self._policy: Policy | None = None

    def serve(self, client: Client, policy: Policy | None = None) -> None:
        """Look things up there. Until then everything is admitted: it is what the yard itself begins with."""
        self._client, self._policy = client, policy

    def mutate(self, kind: Kind, obj: Obj, old: Obj | None, user: User | None) -> Obj:  # noqa: ARG002 - as asked
        """The object with what is filled in when it is made."""
        defaults = _DEFAULTS.get(kind)
        if self._client is None or defaults is None or old is not None:
            return obj
        return defaults(self._client, obj)

    def validate(self, kind: Kind, obj: Obj, old: Obj | None, user: User | None) -> Sequence[Cause]:
        """What is wrong with the object; what is leaving is let go. Raises Forbidden for grants beyond one's own."""
        if self._policy is not None and user is not None:
            grants.check(self._policy, user, kind, obj, old)
        causes = _CAUSES.get(kind)
        if self._client is None or causes is None or meta.deleting(obj):
            return ()
        return causes(self._client, obj, old)


def _claim_facts(client: Client) -> claim.Facts:
    return claim.Facts(tuple(storage_class(each) for each in client.list(STORAGE_CLASS).items))


def _claim_defaults(client: Client, obj: Obj) -> Obj:
    return claim.defaults(obj, _claim_facts(client))


def _claim_causes(client: Client, obj: Obj, old: Obj | None) -> Sequence[Cause]:  # noqa: ARG001 - as all
    return claim.causes(obj, old)


def _datavolume_causes(client: Client, obj: Obj, old: Obj | None) -> Sequence[Cause]:
    settings = config(find(client, CDI_CONFIG, Key(cdi.CONFIG_NAME)) or {})
    facts = datavolume.Facts(find(client, CLAIM, meta.key(obj)), settings.adopts)
    return datavolume.causes(obj, old, facts)


_DEFAULTS: Final[Mapping[Kind, Defaults]] = {
    CLAIM: _claim_defaults,
    MACHINE: lambda _, obj: machine.defaults(obj),
    INSTANCE: lambda _, obj: instance.defaults(obj),
}
_CAUSES: Final[Mapping[Kind, Causes]] = {
    CLAIM: _claim_causes,
    DATA_VOLUME: _datavolume_causes,
    MACHINE: lambda _, obj, old: machine.causes(obj, old),
    INSTANCE: lambda _, obj, old: instance.causes(obj, old),
}
