"""What tests do to guests that run, and ask of them: volumes that come, go and grow."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from diskyard.api import meta
from diskyard.api.meta import CLAIM, INSTANCE, MACHINE, POD, Key, Obj
from diskyard.api.names import kubevirt
from diskyard.errors import Conflict, DiskyardError
from diskyard.kube.client import Selection
from tests.builders import eventually
from tests.vm_runtime.line import Line
from vm_runtime.controller import hotplug
from vm_runtime.controller.subresources import world


def bare(started: Line, name: str) -> None:
    """A guest that finds nothing to boot from, and waits."""
    domain = {"devices": {"autoattachPodInterface": False}}
    started.start(name, volumes=[], domain=domain, terminationGracePeriodSeconds=0)


def xml(started: Line, name: str) -> str:
    """The domain that runs; empty while nobody says."""
    with suppress(DiskyardError):
        return str(started.doors.order(meta.uid(started.pod(started.found(INSTANCE, name))), "domain"))
    return ""


def ordered(started: Line, order: Any, options: Obj) -> None:
    """Do to the machine what its subresource does; its controller may write at the same time."""

    def done() -> bool:
        try:
            for action in order(world(started.found(MACHINE, "vm"), started.found(INSTANCE, "vm")), options):
                action.carry_out(started.objects)
        except Conflict:
            return False
        return True

    eventually(done)


def plugged(started: Line, name: str, claim: str = "", **disk: Obj) -> None:
    """Have the machine have that claim."""
    source = {"persistentVolumeClaim": {"claimName": claim or name}}
    ordered(started, hotplug.add, {"name": name, "disk": disk, "volumeSource": source})


def status(started: Line, name: str, phase: str, guest: str = "vm") -> Obj:
    """The volume's entry, as soon as it is in that phase."""

    def check() -> Obj:
        found = started.found(INSTANCE, guest)["status"]["volumeStatus"]
        entry: Obj = next((each for each in found if each["name"] == name), {})
        assert entry.get("phase") == phase, found
        return entry

    return eventually(check, 120)


def lenders(started: Line) -> list[Obj]:
    chosen = Selection("default", f"{kubevirt.APP_LABEL}={kubevirt.LENDER}")
    return list(started.objects.list(POD, chosen).items)


def gone(started: Line, name: str) -> bool:
    """Whether nothing is said of the volume any more, and no pod holds its claim."""
    found = started.found(INSTANCE, "vm")["status"]["volumeStatus"]
    held = [
        each for each in lenders(started) if each["metadata"]["annotations"][kubevirt.LENT_VOLUME] == name
    ]
    return all(each["name"] != name for each in found) and not held


def expanded(started: Line, claim: str, size: str) -> None:
    """Have the claim ask for more, as `kubectl patch pvc` does."""
    more = {"spec": {"resources": {"requests": {"storage": size}}}}
    started.objects.patch(CLAIM, Key(claim, "default"), more)


def grown(started: Line, name: str, size: int, guest: str = "vm") -> Obj:
    """The volume's entry, as soon as it says that size, in MiB, of the guest's disk."""

    def check() -> Obj:
        found = meta.status(started.found(INSTANCE, guest)).get("volumeStatus") or []
        entry: Obj = next((each for each in found if each["name"] == name), {})
        assert entry.get("size") == size << 20, found
        return entry

    return eventually(check, 120)


def disk_of(started: Line, claim: str) -> Path:
    """Where a claim's disk lies, once its lender has made it."""
    volume = meta.spec(started.found(CLAIM, claim, "Bound"))["volumeName"]
    path = started.volumes / str(volume) / "disk.img"
    assert path.exists(), path
    return path


def holds(pid: int, path: Path) -> bool:
    """Whether a process has that file open."""
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            if each.stat().st_ino == path.stat().st_ino and each.stat().st_dev == path.stat().st_dev:
                return True
    return False
