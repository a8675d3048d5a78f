"""What `apply`, `delete` and `logs` do to objects, each told in kubectl's words."""

from collections.abc import Iterable
from typing import Final

import click

from cli.kinds import kinds
from cli.manifest import Wanted, title
from diskyard.api import meta
from diskyard.api.meta import DATA_VOLUME, INSTANCE, MACHINE, POD, Key, Kind
from diskyard.api.names import derived, kubevirt
from diskyard.errors import AlreadyExists, NotFound
from diskyard.kube.client import Client, Selection

GUESTS: Final = (MACHINE, INSTANCE)


def applied(client: Client, wanted: Wanted) -> str:
    """Create the object, or change what differs: `... created`, `configured` or `unchanged`."""
    try:
        before = client.get(wanted.kind, wanted.key)
    except NotFound:
        try:
            client.create(wanted.kind, wanted.obj)
        except AlreadyExists:
            return applied(client, wanted)
        return f"{wanted.title} created"
    after = client.patch(wanted.kind, wanted.key, wanted.obj)
    same = meta.meta(before).get("resourceVersion") == meta.meta(after).get("resourceVersion")
    return f"{wanted.title} {'unchanged' if same else 'configured'}"


def targets(what: str, names: Iterable[str], namespace: str) -> list[tuple[Kind, Key]]:
    """What `KIND NAME...` or `KIND/NAME` means. Raises InvalidRequest, UsageError."""
    word, _, inline = what.partition("/")
    found = [
        (kind, Key(name, namespace if kind.namespaced else ""))
        for kind in kinds(word)
        for name in (*((inline,) if inline else ()), *names)
    ]
    if not found:
        raise click.UsageError(f"which {word}? Expected its name, as in: diskyard delete {word} NAME")
    return found


def deleted(client: Client, kind: Kind, key: Key, *, wait: bool) -> str:
    """Ask for the deletion, and with `wait` see the object go: `... "x" deleted`."""
    left = client.delete(kind, key)
    if wait and meta.deleting(left):
        _await_end(client, kind, key, meta.uid(left))
    return f'{title(kind)} "{key.name}" deleted'


def speaking_pod(client: Client, what: str, namespace: str) -> Key:
    """The pod whose log is meant: its name, `vm/NAME` (its guest's console) or `dv/NAME` (its import)."""
    word, slash, name = what.rpartition("/")
    kind = kinds(word)[0] if slash else POD
    if kind == DATA_VOLUME:
        return _importer(client, Key(name, namespace))
    if kind not in GUESTS:
        return Key(name, namespace)
    labels = f"{kubevirt.APP_LABEL}={kubevirt.LAUNCHER},{kubevirt.VM_LABEL}={name}"
    pods = client.list(POD, Selection(namespace, labels)).items
    if not pods:
        client.get(kind, Key(name, namespace))
        raise NotFound(
            f"{kind.singular} {name!r} has no pod yet, so its guest has said nothing: diskyard get {word} {name}"
        )
    return meta.key(max(pods, key=lambda pod: str(meta.meta(pod).get("creationTimestamp", ""))))


def _importer(client: Client, volume: Key) -> Key:
    phase = meta.phase(client.get(DATA_VOLUME, volume)) or "Pending"
    pod = Key(derived.importer_pod(volume.name), volume.namespace)
    try:
        client.get(POD, pod)
    except NotFound as error:
        raise NotFound(
            f"datavolume {volume.name!r} ({phase}) has no importer now, so there is no log: "
            f"diskyard get dv {volume.name} -o yaml tells what became of it"
        ) from error
    return pod


def _await_end(client: Client, kind: Kind, key: Key, uid: str) -> None:
    selection = Selection(key.namespace or None, fields=f"metadata.name={key.name}")
    while True:
        listing = client.list(kind, selection)
        if not any(meta.uid(obj) == uid for obj in listing.items):
            return
        watch = client.watch(kind, listing.resource_version, selection)
        try:
            if any(change.type == "DELETED" and meta.uid(change.obj) == uid for change in watch):
                return
        finally:
            watch.close()
