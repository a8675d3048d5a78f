"""Who reads and writes disks: I/O threads beside the emulator's own, and queues for each processor. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import cycle

from lxml.builder import E
from lxml.etree import _Element as Element

from diskyard.api.hotplug import fixed
from diskyard.api.instance import Disk, Instance

PER_PROCESSOR = 2
"""I/O threads that the policy `auto` makes at most, for each processor of the guest."""


@dataclass(frozen=True)
class Threads:
    """How many I/O threads there are, and which disk has which."""

    count: int = 0
    of: Mapping[str, int] = field(default_factory=dict)
    """A disk's name -> its thread, from 1 on; those that are not named are read by the emulator's own."""
    queues: int = 0
    """Queues of each virtio disk; 0: one."""

    def driver(self, disk: Disk) -> dict[str, str]:
        """What a disk's `<driver>` says of them."""
        said = {"iothread": str(self.of[disk.name])} if disk.name in self.of else {}
        return {**said, **({"queues": str(self.queues)} if self.queues and threaded(disk) else {})}


NO_THREADS = Threads()


def threads(instance: Instance) -> Threads:
    """As KubeVirt shares them out: disks that want one of their own get it, the others take turns at the rest."""
    queues = instance.cpu.count if instance.devices.get("blockMultiQueue") is True else 0
    disks = [each for each in instance.disks if threaded(each)]
    policy = instance.domain.get("ioThreadsPolicy")
    own = [each.name for each in disks if each.own_thread]
    others = [each.name for each in disks if not each.own_thread]
    if not policy and not own:
        return Threads(queues=queues)
    shared = min(len(others), 1)
    if policy == "auto":
        shared = min(len(others), max(shared, PER_PROCESSOR * instance.cpu.count - len(own)))
    of = dict(zip(others, cycle(range(1, shared + 1)), strict=False))
    of |= {name: shared + number for number, name in enumerate(own, 1)}
    return Threads(shared + len(own), of, queues)


def later(instance: Instance, disk: Disk) -> Threads:
    """Those of a disk that comes while the guest runs: a thread that others share already, where there is one."""
    there = threads(fixed(instance))
    lone = {each.name for each in instance.disks if each.own_thread}
    shared = [number for name, number in there.of.items() if name not in lone]
    return Threads(of={disk.name: shared[0]} if shared and threaded(disk) else {}, queues=there.queues)


def threaded(disk: Disk) -> bool:
    """Whether a disk can have an I/O thread: on virtio's bus each disk is a device of its own."""
    return disk.bus == "virtio" and disk.device != "cdrom"


def iothreads(instance: Instance) -> Iterator[Element]:
    """`<iothreads>`, where there are any."""
    count = threads(instance).count
    if count:
        yield E.iothreads(str(count))
