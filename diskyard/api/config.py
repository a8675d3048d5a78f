"""What we read of the CDIConfig: its `spec` for switches, its `status` for what follows from them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from diskyard.api import meta
from diskyard.api.meta import Obj
from diskyard.api.names import cdi
from diskyard.api.quantity import DEFAULT_OVERHEAD

DEFAULT_RESOURCES: Final[Obj] = {
    "limits": {"cpu": "750m", "memory": "600M"},
    "requests": {"cpu": "100m", "memory": "60M"},
}


@dataclass(frozen=True)
class Proxy:
    """How workers reach the outside."""

    http: str = ""
    https: str = ""
    none: str = ""


@dataclass(frozen=True)
class Config:
    """The settings of the whole service."""

    gates: frozenset[str] = frozenset()
    overhead: str = DEFAULT_OVERHEAD
    overheads: Mapping[str, str] = field(default_factory=dict)
    """Storage class -> fraction."""
    proxy: Proxy = Proxy()
    resources: Obj = field(default_factory=lambda: DEFAULT_RESOURCES)
    preallocation: bool = False
    allow_addresses: str = ""
    """Networks that importers may connect to although they usually are refused."""
    insecure_registries: tuple[str, ...] = ()
    """`HOST[:PORT]`: their certificates are not checked, and they may speak plain HTTP."""
    registry_mirrors: tuple[str, ...] = ()
    """`REGISTRY=HOST[:PORT][/PREFIX]`, asked before the registry itself."""
    vddk_folder: str = ""
    """Where importers find VMware's library; empty: an image brings it."""
    pull_secrets: tuple[Obj, ...] = ()
    """For our own image, as on the wire."""

    @property
    def honours_waiting(self) -> bool:
        """Whether a class's WaitForFirstConsumer holds imports back."""
        return cdi.WAIT_GATE in self.gates

    @property
    def adopts(self) -> bool:
        """Whether a DataVolume takes a claim of its name over, unless it says otherwise."""
        return cdi.ADOPTION_GATE in self.gates

    def overhead_of(self, storage_class: str, block: bool) -> str:
        """The fraction of a volume that its file system takes; `0` for block devices and for no class."""
        if block or not storage_class:
            return "0"
        return self.overheads.get(storage_class) or self.overhead


def config(obj: Obj) -> Config:
    """What an object of the kind CDIConfig says; `{}` gives the defaults."""
    spec, status = meta.spec(obj), meta.status(obj)
    annotations = meta.annotations(obj)
    overhead = status.get("filesystemOverhead") or {}
    mirrors = annotations.get(cdi.REGISTRY_MIRRORS, "").split(",")
    proxy = status.get("importProxy") or {}
    return Config(
        gates=frozenset(spec.get("featureGates") or ()),
        overhead=str(overhead.get("global") or DEFAULT_OVERHEAD),
        overheads=dict(overhead.get("storageClass") or {}),
        proxy=Proxy(
            http=str(proxy.get("HTTPProxy") or ""),
            https=str(proxy.get("HTTPSProxy") or ""),
            none=str(proxy.get("noProxy") or ""),
        ),
        resources=status.get("defaultPodResourceRequirements") or DEFAULT_RESOURCES,
        preallocation=status.get("preallocation") is True,
        allow_addresses=annotations.get(cdi.ALLOW_ADDRESSES, ""),
        insecure_registries=tuple(str(each) for each in spec.get("insecureRegistries") or ()),
        registry_mirrors=tuple(each.strip() for each in mirrors if each.strip()),
        vddk_folder=annotations.get(cdi.VDDK_FOLDER, ""),
        pull_secrets=tuple(status.get("imagePullSecrets") or ()),
    )
