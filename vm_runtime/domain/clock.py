"""The guest's clock and its timers."""

from collections.abc import Iterator
from typing import Final

from lxml.builder import E
from lxml.etree import _Element as Element

from diskyard.api.instance import part
from diskyard.api.meta import Obj

TIMERS: Final = {"rtc": "rtc", "pit": "pit", "kvm": "kvmclock", "hpet": "hpet", "hyperv": "hypervclock"}
"""As the API calls them -> as libvirt does, in KubeVirt's order."""
WISHES: Final = {
    "rtc": {"tickPolicy": "tickpolicy", "track": "track"},
    "pit": {"tickPolicy": "tickpolicy"},
    "hpet": {"tickPolicy": "tickpolicy"},
}
"""Timer -> what else may be said of it, and what libvirt calls that; the paravirtual ones miss no tick."""


def clock(said: Obj) -> Iterator[Element]:
    """`<clock>`; nothing where the spec has none: libvirt's default is UTC."""
    if not said:
        return
    found: Element = E.clock(**_offset(said))
    timers = part(said, "timer")
    for name, called in TIMERS.items():
        if timers.get(name) is not None:
            found.append(E.timer(name=called, **_wishes(name, part(timers, name))))
    yield found


def _offset(said: Obj) -> dict[str, str]:
    if said.get("timezone"):
        return {"offset": "timezone", "timezone": str(said["timezone"])}
    seconds = part(said, "utc").get("offsetSeconds")
    return {"offset": "utc", "adjustment": "reset" if seconds is None else str(seconds)}


def _wishes(name: str, timer: Obj) -> dict[str, str]:
    found = {"present": "no" if timer.get("present") is False else "yes"}
    known = WISHES.get(name, {})
    return found | {called: str(timer[wish]) for wish, called in known.items() if timer.get(wish)}
