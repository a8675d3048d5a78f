"""What operators set for all guests: the KubeVirt object, and the ConfigMap that came before it.

Where both speak, the object wins (KubeVirt 0.36 read only the ConfigMap). Gates that nobody knows are no error.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from diskyard.api import meta
from diskyard.api.instance import part
from diskyard.api.meta import Key, Obj
from diskyard.api.names import kubevirt

CR: Final = Key(kubevirt.CR_NAME, kubevirt.NAMESPACE)
UNFOLLOWED: Final = f"only KubeVirt {CR} is followed: write there what this one says, and delete it"
CONFIG_MAP: Final = Key(kubevirt.CONFIG_MAP_NAME, kubevirt.NAMESPACE)
HOST_DISK: Final = "HostDisk"
_BRIDGE: Final = "permitBridgeInterfaceOnPodNetwork"
READ: Final = (
    "feature-gates", "debug.useEmulation", "machine-type", "default-cpu-model", "default-network-interface",
    "node-selectors", "dev.imagePullPolicy", _BRIDGE,
)  # fmt: skip
"""Keys of the ConfigMap that are honoured."""
_DEVELOPER: Final = "spec.configuration.developerConfiguration"
UNREAD: Final = {
    "migrations": "spec.configuration.migrations",
    "memory-overcommit": f"{_DEVELOPER}.memoryOvercommit",
    "less-pvc-space-toleration": f"{_DEVELOPER}.pvcTolerateLessSpaceUpToPercent",
    "cpu-request": "spec.configuration.cpuRequest",
    "emulated-machines": "spec.configuration.emulatedMachines",
    "ovmfPath": "spec.configuration.ovmfPath",
    "permitSlirpInterface": "spec.configuration.network.permitSlirpInterface",
    "selinuxLauncherType": "spec.configuration.selinuxLauncherType",
    "smbios": "spec.configuration.smbios",
    "supported-guest-agent": "spec.configuration.supportedGuestAgentVersions",
}
"""Keys that are not -> what replaces them."""


FOLLOWED: Final[Mapping[str, tuple[str, ...]]] = {
    "spec": ("configuration", "workloads", "imagePullPolicy"),
    "spec.workloads": ("nodePlacement",),
    "spec.workloads.nodePlacement": ("nodeSelector",),
    "spec.configuration": (
        "developerConfiguration", "machineType", "cpuModel", "evictionStrategy", "imagePullPolicy", "network",
        "vmStateStorageClass",
    ),
    _DEVELOPER: ("featureGates", "disabledFeatureGates", "useEmulation", "nodeSelectors"),
    "spec.configuration.network": ("defaultNetworkInterface", _BRIDGE),
}  # fmt: skip
"""Of the KubeVirt object, where it says something -> what of that changes something."""


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
    nodes: Mapping[str, str] = field(default_factory=dict)
    """Labels of the nodes that guests run on, beside what each asks for itself."""
    pull_policy: str = ""
    """When the launcher's own image is pulled; empty: as all our images."""
    eviction: str = ""
    """What becomes of a guest whose node is emptied, where it does not say."""
    pod_bridge: bool = True
    """Guests may have their pod's address themselves."""


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
    emulation, network = developer.get("useEmulation"), part(said, "network")
    return Settings(
        gates=frozenset(named) - off,
        emulation=emulation is True if emulation is not None else old.get("debug.useEmulation") == "true",
        machine=_text(said.get("machineType"), old.get("machine-type")),
        cpu_model=_text(said.get("cpuModel"), old.get("default-cpu-model")),
        binding=_text(network.get("defaultNetworkInterface"), old.get("default-network-interface")),
        state_class=_text(said.get("vmStateStorageClass")),
        nodes={**_placed(meta.spec(cr or {})), **_selectors(developer, old)},
        pull_policy=_text(said.get("imagePullPolicy"), meta.spec(cr or {}).get("imagePullPolicy"),
                          old.get("dev.imagePullPolicy")),
        eviction=_text(said.get("evictionStrategy")),
        pod_bridge=_allowed(network.get(_BRIDGE), old.get(_BRIDGE)),
    )  # fmt: skip


def advice(config_map: Obj) -> tuple[str, ...]:
    """What the author of a ConfigMap is told: which of its settings do nothing, where it is the one for guests."""
    if meta.key(config_map) != CONFIG_MAP:
        return ()
    unread = (key for key in part(config_map, "data") if key not in READ)
    return tuple(_unread(key) for key in unread)


def object_advice(obj: Obj) -> tuple[str, ...]:
    """What the author of a KubeVirt is told: that nobody follows it, or which of its settings do nothing."""
    return tuple(_kept(meta.spec(obj), "spec")) if meta.key(obj) == CR else (UNFOLLOWED,)


def _kept(said: Obj, path: str) -> Iterator[str]:
    for name in said:
        place = f"{path}.{name}"
        if name not in FOLLOWED[path]:
            if said[name] not in (None, "", [], {}, False):
                yield f"{place} is kept, and nothing follows it here"
        elif place in FOLLOWED:
            yield from _kept(part(said, name), place)


def _unread(key: str) -> str:
    if key not in UNREAD:
        return f"data.{key} is no setting that anybody reads: {', '.join(READ)} are"
    return f"data.{key} is not read: {UNREAD[key]} of KubeVirt kubevirt/kubevirt took its place, and is not served yet"


def _placed(spec: Obj) -> Mapping[str, str]:
    """Where the agents of guests run is where guests do."""
    return _strings(part(part(part(spec, "workloads"), "nodePlacement"), "nodeSelector"))


def _selectors(developer: Obj, old: Obj) -> Mapping[str, str]:
    if developer.get("nodeSelectors") is not None:
        return _strings(part(developer, "nodeSelectors"))
    lines = (line.partition("=") for line in str(old.get("node-selectors") or "").splitlines())
    return {key.strip(): text.strip() for key, mark, text in lines if mark and key.strip()}


def _strings(said: Obj) -> Mapping[str, str]:
    return {str(key): str(text) for key, text in said.items()}


def _allowed(now: Any, before: Any) -> bool:
    """Allowed unless either says otherwise, the object before the ConfigMap."""
    return now is not False if now is not None else str(before).lower() != "false"


def _names(said: Iterable[Any]) -> list[str]:
    return [str(each) for each in said]


def _listed(text: Any) -> list[str]:
    return [each.strip() for each in str(text or "").split(",") if each.strip()]


def _text(*said: Any) -> str:
    return next((str(each) for each in said if each), "")
