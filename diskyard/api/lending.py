"""How a worker uses its node's image store: where that is, who asks, by what rule, and whose the lease is. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from diskyard.api.meta import Obj
from diskyard.api.names import cdi

ALWAYS: Final = "Always"
"""The source says which image it has now; that one is fetched where it is not there."""
IF_NOT_PRESENT: Final = "IfNotPresent"
"""What the name meant to the same who ask, when they asked last, is good enough."""
NEVER: Final = "Never"
"""Nothing is fetched."""
POLICIES: Final = (ALWAYS, IF_NOT_PRESENT, NEVER)


@dataclass(frozen=True)
class Lending:
    """What a worker is told of the store beside its job."""

    folder: str = ""
    """Empty: its node has none, or it is not to be used."""
    tenant: str = ""
    """The namespace: what one has learned counts for nobody else."""
    policy: str = ALWAYS
    lease: str = ""
    """The name of the lease that is to be taken; empty: the disk is copied into the job's target."""
    lease_of: str = ""
    """Who holds it, for people."""

    def to_env(self) -> dict[str, str]:
        """The environment that says this; what is empty is left out."""
        env = {
            cdi.ENV_IMAGE_STORE: self.folder,
            cdi.ENV_TENANT: self.tenant,
            cdi.ENV_PULL_POLICY: self.policy,
            cdi.ENV_LEASE: self.lease,
            cdi.ENV_LEASE_OF: self.lease_of,
        }
        return {key: text for key, text in env.items() if text}

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "Lending":
        """And back."""
        return cls(
            folder=env.get(cdi.ENV_IMAGE_STORE, ""),
            tenant=env.get(cdi.ENV_TENANT, ""),
            policy=env.get(cdi.ENV_PULL_POLICY, "") or ALWAYS,
            lease=env.get(cdi.ENV_LEASE, ""),
            lease_of=env.get(cdi.ENV_LEASE_OF, ""),
        )


def volume(name: str, lease: str = "") -> Obj:
    """A pod's volume that is its node's image store, or one lease of it alone, for reading."""
    said: Obj = {"driver": cdi.IMAGE_STORE_DRIVER}
    if lease:
        said |= {"readOnly": True, "volumeAttributes": {cdi.LEASE_ATTRIBUTE: lease}}
    return {"name": name, "csi": said}


def is_store(volume: Obj) -> bool:
    """Whether a pod's volume is that."""
    return (volume.get("csi") or {}).get("driver") == cdi.IMAGE_STORE_DRIVER


def lease_of(volume: Obj) -> str:
    """The lease that a volume is; empty: the whole store."""
    return str(((volume.get("csi") or {}).get("volumeAttributes") or {}).get(cdi.LEASE_ATTRIBUTE) or "")
