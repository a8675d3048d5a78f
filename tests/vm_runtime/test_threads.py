"""Which disk has which I/O thread: KubeVirt's way of sharing them out, as tables."""

from dataclasses import replace

import pytest

from diskyard.api.instance import Cpu, Disk, Instance, Volume
from vm_runtime.domain.threads import Threads, later, threads


def guest(policy: str, *disks: Disk, cores: int = 1, queues: bool = False) -> Instance:
    domain = {"ioThreadsPolicy": policy or None, "devices": {"blockMultiQueue": queues}}
    return Instance("default", "vm", "u", 1 << 30, Cpu(cores=cores), disks, domain=domain)


def disk(name: str, *, own: bool = False, bus: str = "virtio", device: str = "disk") -> Disk:
    return Disk(name, device, bus, own_thread=own)


PLAIN = [disk("a"), disk("b"), disk("c")]


@pytest.mark.parametrize(
    ("instance", "count", "of"),
    [
        (guest("", *PLAIN), 0, {}),
        (guest("shared", *PLAIN), 1, {"a": 1, "b": 1, "c": 1}),
        (guest("auto", *PLAIN), 2, {"a": 1, "b": 2, "c": 1}),
        (guest("auto", *PLAIN, cores=2), 3, {"a": 1, "b": 2, "c": 3}),
        (guest("", disk("a", own=True), disk("b")), 2, {"a": 2, "b": 1}),
        (guest("", disk("a", own=True)), 1, {"a": 1}),
        (guest("shared", disk("a", own=True), disk("b"), disk("c")), 2, {"a": 2, "b": 1, "c": 1}),
        (guest("auto", disk("a", own=True), disk("b"), disk("c")), 2, {"a": 2, "b": 1, "c": 1}),
        (guest("shared", disk("a", bus="sata"), disk("cd", device="cdrom")), 0, {}),
        (guest("shared"), 0, {}),
    ],
)
def test_threads_are_shared_out(instance: Instance, count: int, of: dict[str, int]) -> None:
    assert threads(instance) == Threads(count, of)


def test_a_disk_has_a_queue_for_each_processor() -> None:
    shared = threads(guest("", *PLAIN, disk("d", bus="sata"), cores=4, queues=True))

    assert shared.driver(PLAIN[0]) == {"queues": "4"}
    assert shared.driver(disk("d", bus="sata")) == {}


HOT = Volume("hot", "persistentVolumeClaim", "c", {"hotpluggable": True})


@pytest.mark.parametrize(
    ("there", "of"),
    [
        (guest("shared", *PLAIN, disk("hot")), {"hot": 1}),
        (guest("auto", disk("a", own=True), disk("b"), disk("hot", own=True)), {"hot": 1}),
        (guest("", disk("a", own=True), disk("hot")), {}),
        (guest("shared", disk("a"), disk("hot", bus="scsi")), {}),
        (guest("shared", disk("hot")), {}),
    ],
)
def test_a_disk_that_comes_later_joins_those_that_share_a_thread(there: Instance, of: dict[str, int]) -> None:
    assert later(replace(there, volumes=(HOT,)), there.disks[-1]) == Threads(of=of)
