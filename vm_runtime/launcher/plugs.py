"""Disks that come and go while the guest runs: each an open file that the agent brought, by a name of its own."""

import os
import stat
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Final

from lxml import etree

from diskyard.api.hotplug import DRIVE
from diskyard.api.instance import PREFIXES, Instance, letters
from diskyard.errors import DiskyardError, GuestFailed, InvalidRequest
from vm_runtime.domain.disk import Backing, plug
from vm_runtime.domain.guest import devices_of, drive, target_of
from vm_runtime.domain.threads import later
from vm_runtime.launcher import disks, strays
from vm_runtime.launcher.hypervisor import Hypervisor

DIRECTORY: Final = "hotplug-disks"
NO_SLOT: Final = "No more available PCI slots"
"""libvirt's words."""
PAUSE: Final = 20.0
"""Seconds before a guest is asked once more for a disk that it does not let go of: libvirt 9.0 falls over an order for
one that is just leaving (it looks at what it has freed)."""
Told = Callable[[dict[str, str], dict[str, str]], None]
"""Called with name -> target of what is there, and name -> why of what could not come."""


class Plugs:
    """What has come, and how to have more come or go; safe to use from several threads."""

    def __init__(
        self,
        place: Path,
        hypervisor: Hypervisor,
        instance: Callable[[], Instance | None],
        told: Told,
        look: Callable[[str], None],
    ) -> None:
        """`look` is called with the name of what has come; with none when nobody knows what has come or gone."""
        self._place = place
        self._hypervisor = hypervisor
        self._instance = instance
        self._told = told
        self._look = look
        self._lock = threading.Lock()
        self._files: dict[str, int] = {}
        self._discs: set[str] = set()
        self._plugged: dict[str, str] = {}
        self._troubles: dict[str, str] = {}
        self._asked: dict[str, float] = {}
        self._strayed = False
        """Whether the emulator may have what libvirt does not know of."""

    def attach(self, name: str, file: int = -1) -> None:
        """Give the guest the volume of that name. Raises GuestFailed."""
        with self._lock:
            if name in self._plugged or file < 0:
                return
            self._files[name] = os.dup(file)
            try:
                self._plugged[name] = self._attached(name)
                self._troubles.pop(name, None)
            except DiskyardError as failure:
                self._troubles[name] = str(failure)
                self._let_go(name)
                self._strayed = True
                raise GuestFailed(str(failure)) from failure
            finally:
                self._told(dict(self._plugged), dict(self._troubles))
        self._look(name)

    def detach(self, name: str) -> None:
        """Ask the guest to let go of it; `removed` is told when it has. Raises GuestFailed."""
        if name not in self._discs:
            if self._due(name):
                self._hypervisor.detach(f"ua-{name}")
            self._forget(name)
            return
        with self._lock:
            try:
                self._hypervisor.change(drive(self._hypervisor.xml(), name)[0])
            except GuestFailed as failure:
                self._troubles[name] = str(failure)
                self._told(dict(self._plugged), dict(self._troubles))
                raise
        self.removed(f"ua-{name}")

    def removed(self, alias: str) -> None:
        """A device has gone, of its own or as it was asked to."""
        with self._lock:
            name = alias.removeprefix("ua-")
            if self._plugged.pop(name, None) is None:
                return
            self._troubles.pop(name, None)
            self._asked.pop(name, None)
            self._discs.discard(name)
            self._let_go(name)
            self._told(dict(self._plugged), dict(self._troubles))

    def recount(self) -> None:
        """libvirt's daemon was started anew: of what has left the guest meanwhile nobody was told."""
        try:
            xml = self._hypervisor.xml()
        except GuestFailed:  # it has ended once more, and is looked at again then
            return
        with self._lock:
            self._asked.clear()
            self._sweep()
            left = [name for name in self._plugged if not target_of(xml, name)]
        for name in left:
            self.removed(f"ua-{name}")
        self._look("")

    def _sweep(self) -> None:
        self._strayed = True
        with suppress(GuestFailed):  # it is tried again with the next that comes
            self._strayed = strays.sweep(self._hypervisor)

    def _forget(self, name: str) -> None:
        """Nobody wants it any more, so that it could not come is no trouble."""
        with self._lock:
            if name not in self._plugged and self._troubles.pop(name, ""):
                self._told(dict(self._plugged), dict(self._troubles))

    def _due(self, name: str) -> bool:
        """Whether the guest is to be asked for it now: it is there, and was not asked for a moment ago."""
        with self._lock:
            now = time.monotonic()
            if name not in self._plugged or now - self._asked.get(name, -PAUSE) < PAUSE:
                return False
            self._asked[name] = now
            return True

    def _attached(self, name: str) -> str:
        instance = self._instance()
        wanted = next((each for each in instance.disks if each.name == name), None) if instance else None
        if instance is None or wanted is None:
            raise InvalidRequest(f"the instance has no disk {name}")
        if self._strayed:
            self._sweep()
        link, xml = self._path(name), self._hypervisor.xml()
        block = stat.S_ISBLK(os.fstat(self._files[name]).st_mode)
        if wanted.device == DRIVE:
            filled, seen = drive(xml, name, str(link), block=block)
            self._hypervisor.change(filled)
            self._discs.add(name)
            return seen
        if there := target_of(xml, name):  # by an order whose answer was lost with libvirt's daemon
            return there
        taken, prefix = devices_of(xml), PREFIXES[wanted.bus]
        seen = next(each for number in count() if (each := prefix + letters(number)) not in taken)
        claim = instance.claims.get(name)
        preallocated = claim is not None and claim.preallocated
        backing = Backing(str(link), block, disks.direct(link), preallocated, sectors=disks.sectors(link))
        added = plug(wanted, backing, seen, later(instance, wanted))
        try:
            self._hypervisor.attach(etree.tostring(added, encoding="unicode"))
        except GuestFailed as failure:
            if NO_SLOT in str(failure):
                text = f"{failure}: take another volume on virtio from it, or give this one bus scsi"
                raise GuestFailed(text) from failure
            raise
        return seen

    def _path(self, name: str) -> Path:
        """A name by which the emulator, which runs as we do, opens our file for itself."""
        link = path(self._place, name)
        link.parent.mkdir(exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(f"/proc/{os.getpid()}/fd/{self._files[name]}")
        return link

    def _let_go(self, name: str) -> None:
        path(self._place, name).unlink(missing_ok=True)
        os.close(self._files.pop(name))


def path(place: Path, name: str) -> Path:
    """Where the disk that has come by that name is opened: a link to the launcher's open file."""
    return place / DIRECTORY / f"{name}.img"
