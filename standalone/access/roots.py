"""The ConfigMap `kube-root-ca.crt` in every namespace: by what clients inside know the API server."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from diskyard.api import meta
from diskyard.api.meta import CONFIG_MAP, NAMESPACE, Key, Kind, Obj
from diskyard.api.names import kubernetes
from diskyard.kube.client import Client
from diskyard.kube.reconcile import NOTHING, Create, Merge, Plan, find

NAME: Final = "kube-root-ca.crt"
_ENTRY: Final = "ca.crt"
_ANNOTATIONS: Final = {
    kubernetes.DESCRIPTION: "Contains a CA bundle that can be used to verify the kube-apiserver when using "
    "internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed "
    "across distributions of Kubernetes clusters."
}


@dataclass(frozen=True)
class World:
    """A namespace, and what its ConfigMap says; None: it is not there."""

    namespace: Obj
    told: Obj | None


class RootCertificates:
    """Makes the ConfigMap wherever it is missing, and puts it right where it says something else."""

    kind: Kind = NAMESPACE
    wakes: Mapping[Kind, Callable[[Obj], Iterable[Key]]] = {
        CONFIG_MAP: lambda entry: (Key(meta.namespace(entry)),) if meta.name(entry) == NAME else ()
    }

    def __init__(self, authority: str) -> None:
        self._data = {_ENTRY: authority}

    def gather(self, client: Client, key: Key) -> World | None:
        """The namespace; None: it is gone."""
        namespace = find(client, NAMESPACE, key)
        if namespace is None:
            return None
        found = find(client, CONFIG_MAP, Key(NAME, key.name))
        return World(namespace, None if found is None else found.get("data") or {})

    def decide(self, world: World) -> Plan:
        """The ConfigMap, unless it is right or the namespace takes nothing in any more."""
        if world.told == self._data or meta.deleting(world.namespace):
            return NOTHING
        key = Key(NAME, meta.name(world.namespace))
        if world.told is not None:
            patch = {"data": {**dict.fromkeys(world.told), **self._data}}
            return Plan((Merge(CONFIG_MAP, key, patch),))
        metadata = {"name": NAME, "namespace": key.namespace, "annotations": _ANNOTATIONS}
        obj = {"apiVersion": CONFIG_MAP.api_version, "kind": CONFIG_MAP.kind, "metadata": metadata}
        return Plan((Create(CONFIG_MAP, {**obj, "data": self._data}),))
