"""A machine's disks, and what is made from them: for `capture` and `replace`."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from diskyard.api import meta
from diskyard.api.datavolume import Phase
from diskyard.api.instance import part, parts
from diskyard.api.meta import DATA_VOLUME, INSTANCE, MACHINE, SNAPSHOT, Key, Kind, Obj
from diskyard.api.names import cdi
from diskyard.api.snapshot import failure, ready
from diskyard.errors import InvalidRequest, Passing
from diskyard.kube.client import Client
from diskyard.kube.reconcile import find

_LOOK: Final = 0.5
PATIENCE: Final = 3600.0
"""Seconds that a disk may take to be made."""


@dataclass(frozen=True)
class Disk:
    """A volume of a machine that outlives it: a claim's."""

    volume: str
    claim: str
    template: bool
    """Whether it comes from one of the machine's dataVolumeTemplates."""


def disk(machine: Obj, name: str | None) -> Disk:
    """The disk of that name; without one, the only one there is. Raises InvalidRequest."""
    found = {each.volume: each for each in _disks(machine)}
    names = ", ".join(found) or "none"
    if name is not None and name not in found:
        raise InvalidRequest(
            f"machine {meta.name(machine)} has no disk {name} of a claim or DataVolume; it has: {names}"
        )
    if name is None and len(found) != 1:
        what = "which one? Name it by --disk" if found else "only such disks outlive the guest"
        raise InvalidRequest(
            f"machine {meta.name(machine)} has these disks of claims or DataVolumes: {names}: {what}"
        )
    return found[name] if name is not None else next(iter(found.values()))


def _disks(machine: Obj) -> list[Disk]:
    spec = meta.spec(machine)
    templates = {meta.name(each) for each in parts(spec, "dataVolumeTemplates")}
    found = []
    for each in parts(part(part(spec, "template"), "spec"), "volumes"):
        claim = part(each, "persistentVolumeClaim").get("claimName") or part(each, "dataVolume").get("name")
        if claim:
            found.append(Disk(str(each.get("name") or ""), str(claim), str(claim) in templates))
    return found


def instance(client: Client, machine: Obj) -> Obj | None:
    """The machine's guest, as long as anything of it is there: only when it is gone its disks are at rest."""
    return find(client, INSTANCE, meta.key(machine))


def stamped(name: str) -> str:
    """A name for what is made now."""
    return f"{name}-{datetime.now(UTC):%Y%m%d%H%M%S}"


def made(client: Client, obj: Obj, say: Callable[[str], None]) -> None:
    """Make a DataVolume and wait until it is whole; one that fails is taken away again. Raises Passing."""
    said = ""

    def whole(found: Obj) -> bool:
        nonlocal said
        phase = meta.phase(found) or Phase.PENDING
        why = str((meta.condition(found, "Running") or {}).get("message") or "")
        if phase == Phase.FAILED:
            raise Passing(f"{meta.name(obj)} was not made: {why}")
        line = f"{meta.name(obj)}: {phase}{f' ({why})' if why else ''}"
        if line != said and phase != Phase.SUCCEEDED:
            say(line)
        said = line
        return phase == Phase.SUCCEEDED

    _awaited(client, DATA_VOLUME, obj, whole)


def snapped(client: Client, obj: Obj) -> None:
    """Make a VolumeSnapshot and wait until it is ready; one that fails is taken away again. Raises Passing."""

    def taken(found: Obj) -> bool:
        if why := failure(found):
            raise Passing(f"no snapshot was taken: {why}")
        return ready(found)

    _awaited(client, SNAPSHOT, obj, taken)


def _awaited(client: Client, kind: Kind, obj: Obj, done: Callable[[Obj], bool]) -> None:
    client.create(kind, obj)
    deadline = time.monotonic() + PATIENCE
    with ExitStack() as unfinished:
        unfinished.callback(client.delete, kind, meta.key(obj))
        while not done(client.get(kind, meta.key(obj))):
            if time.monotonic() > deadline:
                raise Passing(f"{meta.name(obj)} is not complete after {PATIENCE:.0f} s")
            time.sleep(_LOOK)
        unfinished.pop_all()


def machine(client: Client, key: Key) -> Obj:
    """The machine. Raises NotFound."""
    return client.get(MACHINE, key)


def copy_of(name: str, source: Obj, where: str) -> Obj:
    """A DataVolume that is a clone, made at once, whichever storage it is of."""
    return {
        "apiVersion": DATA_VOLUME.api_version,
        "kind": DATA_VOLUME.kind,
        "metadata": {"name": name, "namespace": where, "annotations": {cdi.IMMEDIATE_BINDING: "true"}},
        "spec": {**source, "storage": {}},
    }
