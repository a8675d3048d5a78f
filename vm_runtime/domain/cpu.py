"""Processors: how many, in which topology, which model."""

from collections.abc import Iterator

from lxml.builder import E
from lxml.etree import _Element as Element

from diskyard.api.instance import Cpu


def processors(cpu: Cpu, *, accelerated: bool) -> Iterator[Element]:
    """`<vcpu>` and `<cpu>`."""
    yield E.vcpu(str(cpu.count), placement="static")
    model = _model(cpu, accelerated=accelerated)
    model.append(
        E.topology(sockets=str(cpu.sockets), cores=str(cpu.cores), threads=str(cpu.threads)),
    )
    for name, policy in cpu.features:
        model.append(E.feature(name=name, policy=policy))
    yield model


def _model(cpu: Cpu, *, accelerated: bool) -> Element:
    found: Element
    if cpu.model not in ("host-model", "host-passthrough"):
        check = "partial" if accelerated else "none"
        found = E.cpu(E.model(cpu.model), mode="custom", match="exact", check=check)
    elif accelerated:
        found = E.cpu(mode=cpu.model)
    else:
        # The emulator has no host processor to copy: it gives the most that it can do.
        found = E.cpu(mode="maximum", check="none")
    return found
