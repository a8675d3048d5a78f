"""What the emulator has of disks and libvirt does not know of: its daemon was killed before it wrote down an attach.

libvirt would give the same names again and be refused them for ever, and what the guest has would be held by nobody.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

from lxml import etree

from diskyard import log
from diskyard.errors import GuestFailed
from vm_runtime.launcher.hypervisor import Hypervisor

_log = log.logger("strays")

_NODE: Final = re.compile(r"libvirt-(\d+)-(?:format|storage)")
"""How libvirt calls what lies behind a disk: by the `index` of its source."""


def sweep(hypervisor: Hypervisor) -> bool:
    """Take strays from the guest; whether some may still be there. Raises GuestFailed."""
    xml = hypervisor.xml()
    guests = devices(xml, hypervisor.ask_emulator("qom-list", path="/machine/peripheral"))
    for device in guests:
        _log.warning("the guest has a disk of which libvirt does not know: it is taken away", device=device)
        hypervisor.ask_emulator("device_del", id=device)
    behind = nodes(xml, hypervisor.ask_emulator("query-named-block-nodes", flat=True))
    held = [node for node in behind if not _dropped(hypervisor, node)]
    return bool(guests or held)


def _dropped(hypervisor: Hypervisor, node: str) -> bool:
    try:
        hypervisor.ask_emulator("blockdev-del", **{"node-name": node})
    except GuestFailed:  # a guest that holds its disk holds this, too
        return False
    return True


def devices(xml: str, there: Any) -> list[str]:
    """Those of the emulator's devices that are of the instance's, and that the domain has not."""
    known = {each.get("name") for each in etree.fromstring(xml).iterfind("devices//alias")}
    return [name for name in _named(there, "name") if name.startswith("ua-") and name not in known]


def nodes(xml: str, there: Any) -> list[str]:
    """Those of what lies behind disks that no disk of the domain stands on, what stands on others first."""
    known = {each.get("index") for each in etree.fromstring(xml).iterfind("devices/disk//source")}
    found = ((name, _NODE.fullmatch(name)) for name in _named(there, "node-name"))
    return sorted(name for name, match in found if match and match[1] not in known)


def _named(there: Any, key: str) -> Iterator[str]:
    return (str(each[key]) for each in there if isinstance(each, dict) and each.get(key))
