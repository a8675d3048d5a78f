"""VMware's library (VDDK), without which nothing is imported from vSphere: who has said where it comes from."""

from dataclasses import replace
from typing import Final

from diskyard.api.config import Config
from diskyard.api.meta import CONFIG_MAP, Key
from diskyard.api.names import cdi
from diskyard.api.storage import Claim
from diskyard.kube.client import Client
from diskyard.kube.reconcile import find

KEY: Final = Key(cdi.VDDK_MAP, cdi.NAMESPACE)
AWAITING: Final = "AwaitingVDDK"
_MESSAGE: Final = (
    f"waiting for {cdi.VDDK_MAP} configmap or {cdi.VDDK_IMAGE} annotation for VDDK image, or for its folder, named by "
    f"{cdi.VDDK_FOLDER} on the CDIConfig {cdi.CONFIG_NAME}"
)
PERIOD: Final = 5.0
"""Seconds until it is looked again whether somebody has said: ConfigMaps are not watched for it."""
_MISSING: Final = {cdi.BOUND_CONDITION: "false", cdi.BOUND_REASON: AWAITING, cdi.BOUND_MESSAGE: _MESSAGE}


def settled(client: Client, claim: Claim, config: Config) -> Config:
    """The settings with the operator's image for all imports, where this one asks for it. For `gather`."""
    if not _unsaid(claim, config):
        return config
    entries = (find(client, CONFIG_MAP, KEY) or {}).get("data") or {}
    return replace(config, vddk_image=str(entries.get(cdi.VDDK_ENTRY) or ""))


def awaited(claim: Claim, config: Config) -> dict[str, str | None] | None:
    """What the claim is to say of the library; None: nothing more, it is there or not needed."""
    if _unsaid(claim, config) and not config.vddk_image:
        return dict(_MISSING)
    return dict.fromkeys(_MISSING) if claim.annotations.get(cdi.BOUND_REASON) == AWAITING else None


def _unsaid(claim: Claim, config: Config) -> bool:
    asked = claim.annotations.get(cdi.IMPORT_SOURCE) == "vddk"
    return asked and cdi.VDDK_IMAGE not in claim.annotations and not config.vddk_folder
