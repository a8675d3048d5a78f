"""What the commands about machines do, each told in virtctl's words."""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from cli.manifest import SUFFIXES, wanted
from diskyard.api import meta
from diskyard.api.meta import INSTANCE, MACHINE, Key, Kind, Obj
from diskyard.api.names import kubevirt
from diskyard.errors import BadRequest, InvalidRequest, NotFound
from diskyard.kube.http import HttpClient
from diskyard.kube.reconcile import find

if TYPE_CHECKING:
    from websocket import WebSocket

AGAIN: Final = 1.0
"""Seconds between two tries to join a guest that does not run yet."""
_DONE: Final = {"pause": "paused", "unpause": "unpaused"}


def machines(names: Iterable[str], file: str | None, namespace: str) -> list[Key]:
    """The machines that are meant, by name or by a file that describes them. Raises InvalidRequest, UsageError."""
    found = [Key(name, namespace) for name in names if not _is_file(name)]
    for source in (*(name for name in names if _is_file(name)), *((file,) if file else ())):
        described = [each.key for each in wanted(source, namespace) if each.kind == MACHINE]
        if not described:
            raise InvalidRequest(f"{source} describes no VirtualMachine")
        found += described
    if not found:
        raise click.UsageError("which machine? Expected its NAME, or -f FILE")
    return found


def changed(client: HttpClient, key: Key, verb: str, options: Obj) -> str:
    """Start, stop or restart a machine. Raises ApiError."""
    client.order(_path(MACHINE, key, verb), options)
    return f"VM {key.name} was scheduled to {verb}"


def ordered(client: HttpClient, key: Key, verb: str) -> str:
    """Pause or unpause a guest. Raises ApiError."""
    told(client, key, verb, {})
    return f"VMI {key.name} was {_DONE[verb]}"


def told(client: HttpClient, key: Key, verb: str, options: Obj) -> None:
    """Have a guest do something: `pause`, `freeze` ... Raises ApiError."""
    client.order(_path(INSTANCE, key, verb), options)


def console(client: HttpClient, key: Key, patience: float) -> "WebSocket":
    """The guest's console, as soon as it runs. Raises ApiError."""
    return opened(client, key, "console", patience)


def opened(client: HttpClient, key: Key, door: str, patience: float) -> "WebSocket":
    """The guest's `console` or `vnc`, as soon as it runs; what is waited for is said once. Raises ApiError."""
    deadline, told = time.monotonic() + patience, False
    while True:
        try:
            return client.stream(_path(INSTANCE, key, door), kubevirt.STREAM_PROTOCOL)
        except (BadRequest, NotFound):
            if time.monotonic() > deadline:
                raise
        if not told:
            _tell_state(client, key, patience)
            told = True
        time.sleep(AGAIN)


def _tell_state(client: HttpClient, key: Key, patience: float) -> None:
    """Say why there is nothing to join yet. Raises NotFound where there never will be."""
    machine, instance = find(client, MACHINE, key), find(client, INSTANCE, key)
    if machine is None and instance is None:
        raise NotFound(
            f"no machine and no instance {key.name!r} in the namespace {key.namespace}: `diskyard get vm,vmi -A` "
            "shows those that there are, -n names another namespace"
        )
    state = meta.status(machine or {}).get("printableStatus") or meta.phase(instance or {}) or "Pending"
    if state != "Running":
        remedy = f"; `diskyard start {key.name}` starts it" if state == "Stopped" else ""
        click.echo(f"{key.name} is {state}: waiting {patience:.0f} s for it to run{remedy}", err=True)


def domain(client: HttpClient, key: Key) -> str:
    """The XML that libvirt runs. Raises ApiError."""
    return client.text(_path(INSTANCE, key, "domain"))


def _path(kind: Kind, key: Key, verb: str) -> str:
    version = kubevirt.DOOR_VERSIONS[0]
    return f"/apis/{kubevirt.DOORS}/{version}/namespaces/{key.namespace}/{kind.plural}/{key.name}/{verb}"


def _is_file(name: str) -> bool:
    return name.endswith(SUFFIXES) and Path(name).is_file()
