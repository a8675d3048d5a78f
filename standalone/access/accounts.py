"""The ServiceAccount `default` in every namespace: what pods run as that name no other."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from diskyard.api import meta
from diskyard.api.meta import NAMESPACE, SERVICE_ACCOUNT, Key, Kind, Obj
from diskyard.kube.client import Client
from diskyard.kube.reconcile import NOTHING, Create, Plan, find

NAME: Final = "default"


@dataclass(frozen=True)
class World:
    """A namespace, and whether it has its account."""

    namespace: Obj
    there: bool


class DefaultAccounts:
    """Makes the account wherever it is missing."""

    kind: Kind = NAMESPACE
    wakes: Mapping[Kind, Callable[[Obj], Iterable[Key]]] = {
        SERVICE_ACCOUNT: lambda account: (Key(meta.namespace(account)),)
    }

    def gather(self, client: Client, key: Key) -> World | None:
        """The namespace; None: it is gone."""
        namespace = find(client, NAMESPACE, key)
        if namespace is None:
            return None
        return World(namespace, find(client, SERVICE_ACCOUNT, Key(NAME, key.name)) is not None)

    def decide(self, world: World) -> Plan:
        """The account, unless it is there or the namespace takes nothing in any more."""
        if world.there or meta.deleting(world.namespace):
            return NOTHING
        account = {
            "apiVersion": SERVICE_ACCOUNT.api_version,
            "kind": SERVICE_ACCOUNT.kind,
            "metadata": {"name": NAME, "namespace": meta.name(world.namespace)},
        }
        return Plan((Create(SERVICE_ACCOUNT, account),))
