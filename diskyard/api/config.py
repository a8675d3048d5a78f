"""What we read of the CDIConfig: `spec` for switches, `status` for what follows; and of the CDI, about workers."""

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
PULL_POLICY: Final = "IfNotPresent"
USUAL: Final = 1
PLACEMENT: Final = ("nodeSelector", "affinity", "tolerations")


@dataclass(frozen=True)
class Proxy:
    """How workers reach the outside."""

    http: str = ""
    https: str = ""
    none: str = ""
    authorities: str = ""
    """The ConfigMap beside CDI whose `ca.crt` the proxy's certificates are checked by."""


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
    image_store: bool = False
    """Whether the nodes keep what was fetched."""
    vddk_folder: str = ""
    """Where importers find VMware's library; empty: an image brings it."""
    vddk_image: str = ""
    """The image that brings it where an import names none."""
    pull_secrets: tuple[Obj, ...] = ()
    """For our own image, as on the wire."""
    pull_policy: str = PULL_POLICY
    placement: Obj = field(default_factory=dict)
    """`nodeSelector`, `affinity`, `tolerations` of workers' pods."""
    clone_override: str = ""
    """How everything is cloned, whatever the storage classes say; empty: as they say."""
    completes: bool = True
    """Whether admission completes claims that are labelled for it."""
    tls: Obj = field(default_factory=dict)
    """The tlsSecurityProfile: `diskyard.web.tls.harden`."""
    verbosity: int = USUAL
    """How much workers say: 0 what went wrong, 1 what is done, 2 every step."""

    @property
    def pod_spec(self) -> Obj:
        """What every worker's pod gets of it."""
        pulled = {"imagePullSecrets": list(self.pull_secrets)} if self.pull_secrets else {}
        return {**self.placement, **pulled}

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


def config(obj: Obj, owner: Obj | None = None) -> Config:
    """What a CDIConfig says, and the CDI that owns it; `{}` gives the defaults."""
    spec, status, workers = meta.spec(obj), meta.status(obj), meta.spec(owner or {})
    placement = workers.get("workload") or {}
    verbosity = spec.get("logVerbosity")
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
            authorities=str(proxy.get("trustedCAProxy") or ""),
        ),
        resources=status.get("defaultPodResourceRequirements") or DEFAULT_RESOURCES,
        preallocation=status.get("preallocation") is True,
        allow_addresses=annotations.get(cdi.ALLOW_ADDRESSES, ""),
        insecure_registries=tuple(str(each) for each in spec.get("insecureRegistries") or ()),
        registry_mirrors=tuple(each.strip() for each in mirrors if each.strip()),
        image_store=annotations.get(cdi.IMAGE_STORE) == "true",
        vddk_folder=annotations.get(cdi.VDDK_FOLDER, ""),
        pull_secrets=tuple(status.get("imagePullSecrets") or ()),
        pull_policy=str(workers.get("imagePullPolicy") or PULL_POLICY),
        placement={name: placement[name] for name in PLACEMENT if placement.get(name)},
        clone_override=str(workers.get("cloneStrategyOverride") or ""),
        completes=spec.get("webhookPvcRendering") != "Disabled",
        tls=spec.get("tlsSecurityProfile") or {},
        verbosity=USUAL if verbosity is None else int(verbosity),
    )
