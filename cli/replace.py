"""`diskyard replace`: a prepared disk takes the place of a stopped machine's; the old one is kept."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli import disks
from cli.reach import client_of, reaching
from diskyard.api import meta
from diskyard.api.instance import part, parts
from diskyard.api.meta import CLAIM, DATA_SOURCE, DATA_VOLUME, MACHINE, Key, Obj
from diskyard.errors import InvalidRequest
from diskyard.kube.client import Client
from diskyard.kube.reconcile import find

if TYPE_CHECKING:
    from diskyard.kube.http import HttpClient


@click.command("replace")
@click.argument("name", metavar="VM")
@click.option("--disk", metavar="NAME", required=True, help="Which of its disks.")
@click.option(
    "--from", "source", metavar="DATASOURCE|CLAIM", required=True,
    help="What the disk is cloned from: a DataSource or a claim; ds/NAME or pvc/NAME where there are both.",
)  # fmt: skip
@reaching
def replace_command(kubeconfig: Path | None, namespace: str, name: str, disk: str, source: str) -> None:
    """Put a prepared disk in the place of a stopped machine's; the old one is kept."""
    client = client_of(kubeconfig)
    replaced(client, Key(name, namespace), disk, source, click.echo)


def replaced(client: "HttpClient", key: Key, name: str, source: str, say: Callable[[str], None]) -> None:
    """Clone the source, then have the machine use it. Raises InvalidRequest, Conflict, Passing, ApiError."""
    machine = disks.machine(client, key)
    chosen = disks.disk(machine, name)
    _refuse_running(client, machine)
    made = disks.stamped(f"{key.name}-{chosen.volume}")
    due = disks.copy_of(made, _meant(client, source, key.namespace), key.namespace)
    if chosen.template:
        due["metadata"]["ownerReferences"] = [meta.owner_reference(MACHINE, machine)]
    disks.made(client, due, say)
    with ExitStack() as unused:
        unused.callback(client.delete, DATA_VOLUME, Key(made, key.namespace))
        _refuse_running(client, machine)
        client.patch(MACHINE, key, _changed(machine, chosen, made))
        unused.pop_all()
    kind = "dv" if find(client, DATA_VOLUME, Key(chosen.claim, key.namespace)) else "pvc"
    say(
        f"disk {chosen.volume} of {key.name} is {made} now. The old one, {chosen.claim}, is kept: "
        f"diskyard delete {kind} {chosen.claim}"
    )


def _refuse_running(client: Client, machine: Obj) -> None:
    guest = disks.instance(client, machine)
    if guest is not None:
        name = meta.name(machine)
        raise InvalidRequest(
            f"machine {name} runs (its instance is {meta.phase(guest) or 'Pending'}): a disk is put in the place of a "
            f"stopped guest's only. First: diskyard stop {name}"
        )


def _meant(client: Client, text: str, namespace: str) -> Obj:
    """The source of a DataVolume. Raises InvalidRequest."""
    word, slash, rest = text.rpartition("/")
    key = Key(rest, namespace)
    kinds = {"ds": (DATA_SOURCE,), "datasource": (DATA_SOURCE,), "pvc": (CLAIM,), "": (DATA_SOURCE, CLAIM)}
    if word not in kinds or (slash and not word):
        raise InvalidRequest(f"--from {text}: expected NAME, ds/NAME or pvc/NAME")
    found = [kind for kind in kinds[word] if find(client, kind, key)]
    if len(found) != 1:
        what = "there are both: say ds/ or pvc/" if found else "there is no such DataSource or claim"
        raise InvalidRequest(f"--from {text}: {what}, in namespace {namespace}")
    if found[0] == CLAIM:
        return {"source": {"pvc": {"namespace": namespace, "name": rest}}}
    return {"sourceRef": {"kind": DATA_SOURCE.kind, "namespace": namespace, "name": rest}}


def _changed(machine: Obj, old: disks.Disk, made: str) -> Obj:
    """The patch by which a machine uses another disk, if nobody has changed it meanwhile."""
    spec = meta.spec(machine)
    volumes = [
        {"name": old.volume, "dataVolume": {"name": made}} if each.get("name") == old.volume else each
        for each in parts(part(part(spec, "template"), "spec"), "volumes")
    ]
    kept = [each for each in parts(spec, "dataVolumeTemplates") if meta.name(each) != old.claim]
    return {
        "metadata": {"resourceVersion": meta.meta(machine).get("resourceVersion")},
        "spec": {
            "template": {"spec": {"volumes": volumes}},
            **({"dataVolumeTemplates": kept} if old.template else {}),
        },
    }
