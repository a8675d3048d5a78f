"""The yard's admission: looks up what the rules need to know, then lets each kind's own rules speak.

On a cluster the same rules stand behind webhooks.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from datavolume_controller import admission as cdi
from diskyard.api import lending, meta, settings
from diskyard.api.meta import (
    CLAIM,
    CONFIG_MAP,
    DATA_VOLUME,
    INSTANCE,
    KUBEVIRT,
    MACHINE,
    POD,
    REPLICA_SET,
    STORAGE_CLASS,
    Kind,
    Obj,
)
from diskyard.api.rules import claim, instance, machine, replicas
from diskyard.api.storage import storage_class
from diskyard.api.user import User
from diskyard.errors import Cause
from diskyard.kube.access import Access
from diskyard.kube.client import Client
from standalone.access import grants
from standalone.access.policy import Policy
from standalone.access.rbac import Question
from standalone.store import answers
from vm_runtime.controller.configuration import settings_of

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

    def mutate(self, kind: Kind, obj: Obj, old: Obj | None, user: User | None) -> Obj:
        """The object with what is filled in when it is made."""
        defaults = _DEFAULTS.get(kind)
        if self._client is not None and kind == DATA_VOLUME and old is None and user is not None:
            return cdi.tokened(self._client, obj)
        if self._client is None or defaults is None or old is not None:
            return obj
        return defaults(self._client, obj)

    def validate(self, kind: Kind, obj: Obj, old: Obj | None, user: User | None) -> Sequence[Cause]:
        """What is wrong with the object; what is leaving is let go. Raises Forbidden for grants beyond one's own."""
        if self._policy is not None and user is not None:
            grants.check(self._policy, user, kind, obj, old)
        if user is not None and kind == POD and old is None:
            _check_images(obj)
        if self._client is None or meta.deleting(obj):
            return ()
        if kind == DATA_VOLUME and old is None and user is not None:
            refusals = cdi.refusals(self._client, self.may, user, obj)
            if refusals:
                return refusals
        causes = _CAUSES.get(kind)
        return causes(self._client, obj, old) if causes else cdi.causes(self._client, kind, obj, old)

    def advise(self, kind: Kind, obj: Obj) -> Sequence[str]:
        """What is stored, and will not do what who wrote it may think."""
        advice = _ADVICE.get(kind)
        return advice(obj) if advice else ()

    def may(self, user: User, access: Access) -> bool:
        """Whether that user may."""
        asked = Question(
            access.verb, access.group, access.resource, access.subresource, access.namespace, access.name
        )
        return self._policy is None or self._policy.decide(user, asked).allowed


def _check_images(pod: Obj) -> None:
    """Images are for pods that our controllers make: who sees the store sees every tenant's. Raises Forbidden."""
    for volume in meta.spec(pod).get("volumes") or ():
        if lending.is_store(volume):
            why = f'volume "{volume.get("name")}": only Diskyard\'s own pods mount the image store of a node'
            raise answers.forbidden(POD, meta.name(pod), why)


def _claim_facts(client: Client) -> claim.Facts:
    return claim.Facts(tuple(storage_class(each) for each in client.list(STORAGE_CLASS).items))


def _claim_defaults(client: Client, obj: Obj) -> Obj:
    return claim.defaults(cdi.rendered(client, obj), _claim_facts(client))


def _claim_causes(client: Client, obj: Obj, old: Obj | None) -> Sequence[Cause]:
    found = claim.causes(obj, old)
    if old is not None and not found and (why := claim.stays(obj, old, _claim_facts(client))):
        raise answers.forbidden(CLAIM, meta.name(obj), why)
    return found


_DEFAULTS: Final[Mapping[Kind, Defaults]] = {
    CLAIM: _claim_defaults,
    MACHINE: lambda client, obj: machine.defaults(obj, settings_of(client)),
    INSTANCE: lambda client, obj: instance.defaults(obj, settings_of(client)),
}
_ADVICE: Final[Mapping[Kind, Callable[[Obj], Sequence[str]]]] = {
    MACHINE: machine.advice,
    CONFIG_MAP: settings.advice,
    KUBEVIRT: settings.object_advice,
}
_CAUSES: Final[Mapping[Kind, Causes]] = {
    CLAIM: _claim_causes,
    MACHINE: lambda client, obj, old: machine.causes(obj, old, settings_of(client)),
    INSTANCE: lambda client, obj, old: instance.causes(obj, old, settings_of(client)),
    REPLICA_SET: lambda client, obj, old: replicas.causes(obj, old, settings_of(client)),
}
