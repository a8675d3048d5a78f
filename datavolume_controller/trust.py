"""The authorities of the operator's proxy, where importers run: a copy of the ConfigMap beside CDI."""

from dataclasses import dataclass

from diskyard.api import meta
from diskyard.api.meta import CONFIG_MAP, Key, Obj
from diskyard.api.names import cdi
from diskyard.errors import AlreadyExists
from diskyard.kube.client import Client
from diskyard.kube.reconcile import find


@dataclass(frozen=True)
class Share:
    """Make or refresh the copy; what somebody else has under that name stays as it is.

    Where CDI has none there is nothing to copy: the importer's pod waits, and its node says for which ConfigMap.
    """

    name: str
    namespace: str

    def carry_out(self, client: Client) -> None:
        """Copy it."""
        source = find(client, CONFIG_MAP, Key(self.name, cdi.NAMESPACE))
        if source is None or self.namespace == cdi.NAMESPACE:
            return
        content = {cdi.PROXY_AUTHORITIES: str((source.get("data") or {}).get(cdi.PROXY_AUTHORITIES) or "")}
        try:
            client.create(CONFIG_MAP, self._copy(content))
        except AlreadyExists:
            key = Key(self.name, self.namespace)
            held = client.get(CONFIG_MAP, key)
            if meta.labels(held).get(cdi.MANAGED_BY_LABEL) == cdi.MANAGED_BY and held.get("data") != content:
                client.patch(CONFIG_MAP, key, {"data": content})

    def _copy(self, content: dict[str, str]) -> Obj:
        labels = {cdi.APP_LABEL: cdi.APP, cdi.MANAGED_BY_LABEL: cdi.MANAGED_BY}
        metadata = {"name": self.name, "namespace": self.namespace, "labels": labels}
        return {
            "apiVersion": CONFIG_MAP.api_version,
            "kind": CONFIG_MAP.kind,
            "metadata": metadata,
            "data": content,
        }
