"""What becomes of an object, shown until it is there: imports with their figures, machines with their state."""

import time
from collections.abc import Iterator
from typing import Final

from cli.display import meter, say
from diskyard.api import meta
from diskyard.api.meta import DATA_VOLUME, Key, Kind, Obj
from diskyard.api.names import cdi
from diskyard.api.progress import Figures
from diskyard.errors import DiskyardError
from diskyard.kube.client import Client

GLANCE: Final = 0.2
"""Seconds between two looks."""


def filled(client: Client, key: Key, within: float) -> None:
    """Show how a DataVolume is filled until it is. Raises DiskyardError when it never will be, or not in time."""
    trouble = ""
    with meter() as shown:
        for volume in states(client, DATA_VOLUME, key, within):
            phase = meta.phase(volume) or "Pending"
            running = meta.condition(volume, "Running") or {}
            if running.get("reason") == "Error" and running["message"] != trouble:
                trouble = running["message"]
                say(f"it did not work and will be tried again: {trouble}")
            shown.show(phase, Figures.from_text(meta.annotations(volume).get(cdi.IMPORT_PROGRESS, "")))
            if phase == "Succeeded":
                return
            if phase == "Failed":
                raise DiskyardError(f"the import failed: {why(volume)}")


def states(client: Client, kind: Kind, key: Key, within: float) -> Iterator[Obj]:
    """The object again and again. Raises DiskyardError when the time is over."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        yield client.get(kind, key)
        time.sleep(GLANCE)
    raise DiskyardError(f"{kind} {key} is not there after {within} seconds: {why(client.get(kind, key))}")


def state(machine: Obj) -> str:
    """A machine's state in a word; behind one that is an error, what holds it up."""
    word = str(meta.status(machine).get("printableStatus") or "")
    if not word.startswith(("Err", "CrashLoop")):
        return word
    held = [
        str(each["message"])
        for each in meta.status(machine).get("conditions") or ()
        if each.get("status") == "False" and each.get("type") != "Ready" and each.get("message")
    ]
    return ": ".join((word, *held[:1]))


def why(obj: Obj) -> str:
    """What its conditions say."""
    said = [
        f"{c['type']}: {c['message']}" for c in meta.status(obj).get("conditions") or () if c.get("message")
    ]
    return "; ".join(said) or f"its status is {meta.status(obj)}"
