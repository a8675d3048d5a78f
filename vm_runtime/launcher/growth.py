"""Disks that grow with their claims while the guest runs: first what lies behind them, then what the guest sees.

Nothing of it is remembered: the agent orders as long as the size that we tell is smaller than what the claim gives.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress

from diskyard import log
from diskyard.api.hotplug import hotpluggable
from diskyard.api.instance import Instance, Volume
from diskyard.errors import DiskyardError, GuestFailed
from vm_runtime.domain.guest import target_of
from vm_runtime.launcher import disks, plugs
from vm_runtime.launcher.hypervisor import Hypervisor
from vm_runtime.launcher.place import Place

_log = log.logger("growth")

SECTOR = 512
"""Bytes: a disk has whole ones."""
Told = Callable[[Mapping[str, int], Mapping[str, str]], None]
"""Called with name -> bytes of the guest's disks that grow, and name -> why one is smaller than its claim promises."""


class Growth:
    """How large the guest's disks are; safe to use from several threads."""

    def __init__(
        self, place: Place, hypervisor: Hypervisor, instance: Callable[[], Instance | None], told: Told
    ) -> None:
        self._place = place
        self._hypervisor = hypervisor
        self._instance = instance
        self._told = told
        self._lock = threading.Lock()
        self._small: dict[str, str] = {}

    def begin(self, small: Mapping[str, str]) -> None:
        """Tell of the disks with which the guest starts, and why some are small."""
        self._small = dict(small)
        self.look()

    def look(self, came: str = "") -> None:
        """Tell how large the disks are, if libvirt says it; `came`: one of that name is another than before."""
        with suppress(DiskyardError), self._lock:
            self._small.pop(came, None)
            self._look()

    def grow(self, name: str) -> None:
        """Have the disk of that name take what its claim gives by now. Raises GuestFailed."""
        with self._lock:
            try:
                self._grow(name)
                self._look()
            except (DiskyardError, OSError) as failure:
                _log.warning(f"the disk of volume {name} has not grown: {failure}")
                raise GuestFailed(str(failure)) from failure

    def _grow(self, name: str) -> None:
        instance = self._instance()
        volume = next((each for each in _growing(instance) if each.name == name), None)
        target = target_of(self._hypervisor.xml(), name)
        if instance is None or volume is None or not target:
            return
        claim = instance.claims[name]
        linked = hotpluggable(volume)
        path = plugs.path(self._place.private, name) if linked else disks.where(claim, volume, self._place)
        small = "" if claim.block else disks.grow(path, claim, linked=linked)
        size = disks.length(path) // SECTOR * SECTOR
        if claim.block and size < claim.most:
            small = f"PV size too small: claim {claim.name} gives its disk {claim.most} B, and its device has {size} B"
        if size > self._hypervisor.size(target):  # never less: what the guest has written stays
            small = self._resized(target, size) or small
        self._small[name] = small

    def _resized(self, target: str, size: int) -> str:
        try:
            self._hypervisor.resize(target, size)
        except GuestFailed as failure:
            return str(failure)
        _log.info("the guest's disk has grown", target=target, size=size)
        return ""

    def _look(self) -> None:
        xml = self._hypervisor.xml()
        there = ((each.name, target_of(xml, each.name)) for each in _growing(self._instance()))
        sizes = {name: self._hypervisor.size(target) for name, target in there if target}
        self._told(sizes, {name: text for name, text in self._small.items() if text})


def _growing(instance: Instance | None) -> Iterator[Volume]:
    return (each for each in instance.volumes if disks.own(instance, each)) if instance else iter(())
