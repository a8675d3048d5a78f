"""May guests be emulated, and must they: what the operator allows, and what the nodes offer."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from diskyard.api import meta, settings
from diskyard.api.instance import part
from diskyard.api.meta import CONFIG_MAP, KUBEVIRT, Key, Obj
from diskyard.api.names import kubevirt
from diskyard.api.settings import Settings
from diskyard.kube.client import Client
from diskyard.kube.reconcile import EVERY, find


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


def acceleration(allowed: Settings, nodes: Iterable[Obj]) -> Acceleration:
    """What the operator allows and the nodes offer."""
    known = [node for node in nodes if meta.annotations(node).get(kubevirt.ACCELERATION)]
    offering = [node for node in known if _offers(node, kubevirt.KVM_RESOURCE)]
    found = (offering or known)[:1]
    return Acceleration(
        kvm=bool(offering),
        emulation=allowed.emulation,
        reason=meta.annotations(found[0])[kubevirt.ACCELERATION] if found else "",
    )


@dataclass(frozen=True)
class Networking:
    """What network guests get here."""

    own: bool
    """Some node gives launchers' pods a network of their own."""
    reason: str = ""
    """What the nodes say of it; empty while none has spoken."""
    routes: str = ""
    """Where they go themselves."""


NOT_SAID: Final = Networking(own=False)


def networking(nodes: Iterable[Obj]) -> Networking:
    """What the nodes offer."""
    known = [node for node in nodes if meta.annotations(node).get(kubevirt.NETWORKING)]
    offering = [node for node in known if _offers(node, kubevirt.TUN_RESOURCE)]
    found = (offering or known)[:1]
    said = meta.annotations(found[0]) if found else {}
    return Networking(bool(offering), said.get(kubevirt.NETWORKING, ""), said.get(kubevirt.ROUTES, ""))


def settings_of(client: Client) -> Settings:
    """What the operator has set. Raises ApiError."""
    return settings.settings(
        find(client, KUBEVIRT, settings.CR), find(client, CONFIG_MAP, settings.CONFIG_MAP)
    )


def of_settings(config_map: Obj) -> Iterable[Key]:
    """For `wakes`: every object, when it is the one ConfigMap that is about guests."""
    return (EVERY,) if meta.key(config_map) == settings.CONFIG_MAP else ()


def _offers(node: Obj, resource: str) -> bool:
    return str(part(meta.status(node), "allocatable").get(resource) or "0") != "0"
