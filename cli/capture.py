"""`diskyard capture`: a machine's disk becomes a golden image, for further guests."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from cli import disks
from cli.pointing import moved
from cli.reach import client_of, reaching
from datavolume_controller.datasources import Named
from diskyard.api import meta
from diskyard.api.meta import DATA_SOURCE, DATA_VOLUME, SNAPSHOT, Key, Obj
from diskyard.api.names import cdi
from diskyard.errors import InvalidRequest
from diskyard.kube.reconcile import find

if TYPE_CHECKING:
    from diskyard.kube.http import HttpClient

Say = Callable[[str], None]
GOES_ON: Final[dict[str, dict[str, object]]] = {
    "freeze": {"unfreezeTimeout": "10m"},
    "pause": {"unpauseTimeout": "10m"},
}
"""Should this command be killed, the guest goes on by itself."""


@click.command("capture")
@click.argument("name", metavar="VM")
@click.option(
    "--disk", metavar="NAME", help="Which of its disks. Default: the only one of a claim or DataVolume."
)
@click.option(
    "--to", "image", metavar="DATASOURCE", required=True, help="What stands for the image; made if need be."
)
@reaching
def capture_command(kubeconfig: Path | None, namespace: str, name: str, disk: str | None, image: str) -> None:
    """Make a golden image of a machine's disk: DATASOURCE stands for it."""
    client = client_of(kubeconfig)
    captured(client, Key(name, namespace), disk, image, click.echo)


def captured(client: "HttpClient", key: Key, name: str | None, image: str, say: Say) -> None:
    """Copy the disk of a stopped guest; of one that runs, take a snapshot. Raises InvalidRequest, Passing, ApiError."""
    machine = disks.machine(client, key)
    chosen = disks.disk(machine, name)
    target = Key(image, key.namespace)
    _check(find(client, DATA_SOURCE, target), target)
    guest = disks.instance(client, machine)
    made = disks.stamped(image)
    if guest is None:
        source = {"source": {"pvc": {"namespace": key.namespace, "name": chosen.claim}}}
        disks.made(client, disks.copy_of(made, source, key.namespace), say)
        now, how = Named("pvc", Key(made, key.namespace)), f"claim {made}, a copy: the guest is stopped"
    else:
        with _at_rest(client, guest) as rest:
            disks.snapped(client, _snapshot(made, chosen.claim, key.namespace))
        now, how = Named("snapshot", Key(made, key.namespace)), f"snapshot {made}: {rest}"
    before = _pointed(client, target, now, f"disk {chosen.volume} of {key.name}")
    say(f"datasource {image} stands for disk {chosen.volume} of {key.name} ({how})")
    if before is not None:
        say(
            f"{before.entry} {before.key}, which it stood for before, is kept.{_ways(client, target, before)}"
        )


def _check(held: Obj | None, target: Key) -> None:
    cron = meta.labels(held or {}).get(cdi.CRON_LABEL, "")
    if cron:
        raise InvalidRequest(
            f"datasource {target.name} is kept current by DataImportCron {cron}, which would move it again: "
            "capture to another one"
        )


@contextmanager
def _at_rest(client: "HttpClient", guest: Obj) -> Iterator[str]:
    """Nobody writes to the guest's disks meanwhile; how that is so."""
    from cli import guests

    key = meta.key(guest)
    if meta.phase(guest) != "Running":
        phase = meta.phase(guest) or "Pending"
        raise InvalidRequest(f"machine {key.name} is neither stopped nor running ({phase}): wait, or stop it")
    if meta.holds(guest, "Paused"):
        yield "the guest is paused: as after a power failure"
        return
    verbs = ("freeze", "unfreeze") if meta.holds(guest, "AgentConnected") else ("pause", "unpause")
    guests.told(client, key, verbs[0], GOES_ON[verbs[0]])
    try:
        if verbs[0] == "freeze":
            yield "its agent froze the file systems meanwhile"
        else:
            yield "no guest agent answers (AgentConnected): it was paused meanwhile, as after a power failure"
    finally:
        guests.told(client, key, verbs[1], {})


def _snapshot(name: str, claim: str, namespace: str) -> Obj:
    return {
        "apiVersion": SNAPSHOT.api_version,
        "kind": SNAPSHOT.kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"source": {"persistentVolumeClaimName": claim}},
    }


def _pointed(client: "HttpClient", target: Key, now: Named, what: str) -> Named | None:
    """Have the DataSource stand for the new image; what it stood for before."""
    held = find(client, DATA_SOURCE, target)
    if held is None:
        metadata = {"name": target.name, "namespace": target.namespace}
        obj = {"apiVersion": DATA_SOURCE.api_version, "kind": DATA_SOURCE.kind, "metadata": metadata}
        client.create(DATA_SOURCE, {**obj, "spec": {"source": now.wire}})
        return None
    return moved(client, held, now, what)


def _ways(client: "HttpClient", target: Key, before: Named) -> str:
    """How to go back to an image, and how to be rid of it; a DataVolume would make its claim anew."""
    back = f" Back to it: diskyard rollback {target.name}"
    if before.key.namespace != target.namespace or before.entry == "dataSource":
        return back
    made = "dv" if find(client, DATA_VOLUME, before.key) else "pvc"
    return f"{back}; without it: diskyard delete {'vs' if before.entry == 'snapshot' else made} {before.key.name}"
