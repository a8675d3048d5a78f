"""What we read of the KubeVirt object and of the nodes: may guests be emulated, and must they."""

from collections.abc import Iterable
from dataclasses import dataclass

from diskyard.api import meta
from diskyard.api.instance import part
from diskyard.api.meta import Obj
from diskyard.api.names import kubevirt


@dataclass(frozen=True)
class Acceleration:
    """How guests may run here."""

    kvm: bool
    """Some node offers KVM that works."""
    emulation: bool
    """Software emulation is allowed where it does not."""
    reason: str = ""
    """What the nodes' probes found; empty while none has been probed."""

    @property
    def possible(self) -> bool:
        """Whether a guest can run at all."""
        return self.kvm or self.emulation


def acceleration(settings: Obj | None, nodes: Iterable[Obj]) -> Acceleration:
    """What the KubeVirt object allows and the nodes offer."""
    configuration = part(meta.spec(settings or {}), "configuration")
    developer = part(configuration, "developerConfiguration")
    known = [node for node in nodes if meta.annotations(node).get(kubevirt.ACCELERATION)]
    offering = [node for node in known if _offers(node)]
    found = (offering or known)[:1]
    return Acceleration(
        kvm=bool(offering),
        emulation=developer.get("useEmulation") is True,
        reason=meta.annotations(found[0])[kubevirt.ACCELERATION] if found else "",
    )


def _offers(node: Obj) -> bool:
    return str(part(meta.status(node), "allocatable").get(kubevirt.KVM_RESOURCE) or "0") != "0"
