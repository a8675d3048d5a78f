"""What the board can do beside running: ACPI, interrupts, and what makes Windows at home on a hypervisor."""

from collections.abc import Iterator
from typing import Final

from lxml.builder import E
from lxml.etree import _Element as Element

from diskyard.api.instance import part
from diskyard.api.meta import Obj

HYPERV: Final = {
    "relaxed": "relaxed", "vapic": "vapic", "spinlocks": "spinlocks", "vpindex": "vpindex", "runtime": "runtime",
    "synic": "synic", "synictimer": "stimer", "reset": "reset", "vendorid": "vendor_id",
    "frequencies": "frequencies", "reenlightenment": "reenlightenment", "tlbflush": "tlbflush", "ipi": "ipi",
    "evmcs": "evmcs",
}  # fmt: skip
"""As the API calls them -> as libvirt does, in libvirt's order."""
RETRIES: Final = 4096
"""Of a spin lock, where the spec has no number (KubeVirt's)."""


def features(said: Obj, *, accelerated: bool) -> Element:
    """`<features>`. An emulator offers none of Hyper-V's or KVM's: a guest does without."""
    found: Element = E.features()
    if part(said, "acpi").get("enabled") is not False:
        found.append(E.acpi())
    apic = said.get("apic")
    if apic is not None and part(said, "apic").get("enabled") is not False:
        found.append(E.apic(**({"eoi": "on"} if part(said, "apic").get("endOfInterrupt") else {})))
    if accelerated:
        found.extend(_of_hypervisor(said))
    found.append(E.vmport(state="off"))
    if said.get("smm") is not None:
        found.append(E.smm(state=_state(part(said, "smm"))))
    return found


def _of_hypervisor(said: Obj) -> Iterator[Element]:
    if said.get("hyperv") is not None:
        yield _hyperv(part(said, "hyperv"))
    if said.get("kvm") is not None:
        yield E.kvm(E.hidden(state="on" if part(said, "kvm").get("hidden") else "off"))
    if said.get("pvspinlock") is not None:
        yield E.pvspinlock(state=_state(part(said, "pvspinlock")))


def _hyperv(said: Obj) -> Element:
    found: Element = E.hyperv(mode="custom")
    for name, called in HYPERV.items():
        if said.get(name) is not None:
            found.append(_enlightenment(called, part(said, name)))
    return found


def _enlightenment(called: str, said: Obj) -> Element:
    state = _state(said)
    found: Element = E(called, state=state)
    if called == "spinlocks" and state == "on":
        found.set("retries", str(said.get("spinlocks") or RETRIES))
    if called == "vendor_id" and state == "on":
        found.set("value", str(said.get("vendorid") or ""))
    if called == "stimer" and said.get("direct") is not None:
        found.append(E.direct(state=_state(part(said, "direct"))))
    return found


def _state(said: Obj) -> str:
    return "off" if said.get("enabled") is False else "on"
