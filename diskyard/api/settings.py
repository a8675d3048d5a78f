"""What operators set for all guests: the KubeVirt object, and the ConfigMap that came before it.

Where both speak, the object wins (KubeVirt 0.36 read only the ConfigMap). Gates that nobody knows are no error.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from diskyard.api import meta
from diskyard.api.instance import part
from diskyard.api.meta import Key, Obj
from diskyard.api.names import kubevirt

CR: Final = Key(kubevirt.CR_NAME, kubevirt.NAMESPACE)
CONFIG_MAP: Final = Key(kubevirt.CONFIG_MAP_NAME, kubevirt.NAMESPACE)
HOST_DISK: Final = "HostDisk"


@dataclass(frozen=True)
class Settings:
    """The settings of the VM runtime."""

    gates: frozenset[str] = frozenset()
    """Features that are off unless named here."""
    emulation: bool = False
    """Guests may be emulated where KVM does not work."""
    machine: str = ""
    cpu_model: str = ""
    binding: str = ""
    """How the interface is bound that a guest gets unasked."""
    state_class: str = ""
    """The storage class for what guests' firmware and TPMs remember; empty: the default one."""


UNSET: Final = Settings()
"""What holds where nobody says anything."""


def settings(cr: Obj | None, config_map: Obj | None) -> Settings:
    """What the two say; either may be missing."""
    said = part(meta.spec(cr or {}), "configuration")
    developer = part(said, "developerConfiguration")
    old = part(config_map or {}, "data")
    gates = developer.get("featureGates")
    off = set(_names(developer.get("disabledFeatureGates") or ()))
    named = _names(gates) if gates is not None else _listed(old.get("feature-gates"))
    emulation = developer.get("useEmulation")
    return Settings(
        gates=frozenset(named) - off,
        emulation=emulation is True if emulation is not None else old.get("debug.useEmulation") == "true",
        machine=_text(said.get("machineType"), old.get("machine-type")),
        cpu_model=_text(said.get("cpuModel"), old.get("default-cpu-model")),
        binding=_text(
            part(said, "network").get("defaultNetworkInterface"), old.get("default-network-interface")
        ),
        state_class=_text(said.get("vmStateStorageClass")),
    )


def _names(said: Iterable[Any]) -> list[str]:
    return [str(each) for each in said]


def _listed(text: Any) -> list[str]:
    return [each.strip() for each in str(text or "").split(",") if each.strip()]


def _text(*said: Any) -> str:
    return next((str(each) for each in said if each), "")
