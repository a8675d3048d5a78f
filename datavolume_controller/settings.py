"""The settings of the moment, for `gather` and for admission."""

from typing import Final

from diskyard.api.config import Config, config
from diskyard.api.meta import CDI, CDI_CONFIG, Key
from diskyard.api.names import cdi
from diskyard.kube.client import Client
from diskyard.kube.reconcile import find

KEY: Final = Key(cdi.CONFIG_NAME)


def settings(client: Client) -> Config:
    """What the CDIConfig and the CDI say."""
    owners = client.list(CDI).items
    return config(find(client, CDI_CONFIG, KEY) or {}, owners[0] if owners else None)
