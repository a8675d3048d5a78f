"""The steps of `diskyard run`: look at the image, find or begin a yard, make the machine, fill its disks, join it."""

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Final

import click

from cli import guests, looking, terminal, uploading
from cli.display import say, step
from cli.following import filled, state, states
from cli.machine import Machine, disk_name, machine, secrets
from cli.ownyard import own_yard
from cli.reach import client_of
from cli.wishes import RunWish, UploadWish
from diskyard.api import meta
from diskyard.api.config import Config, config
from diskyard.api.meta import CDI_CONFIG, DATA_VOLUME, KUBEVIRT, MACHINE, SECRET, Key
from diskyard.api.names import cdi, kubevirt
from diskyard.errors import AlreadyExists, Forbidden, InvalidRequest, ServerError
from diskyard.kube.http import HttpClient, connect
from diskyard.kube.reconcile import find
from standalone import directory

STOPPED: Final = 130
_MADE_WITHIN: Final = 60
_FILLED_WITHIN: Final = 7 * 24 * 3600
_RUNS_WITHIN: Final = 300


def run(wish: RunWish) -> None:
    """All of it. Raises DiskyardError."""
    with ExitStack() as stack:
        there = _there(wish.kubeconfig)
        if there:
            stack.callback(there.close)
        step(f"Look at {wish.image}")
        wanted = looking.machine(wish, _settings(there))
        client, own = there or stack.enter_context(_begun()), there is None
        try:
            _make(client, wanted)
            for name in wanted.disks:
                _fill(client, wanted, name)
            _boot(client, wanted)
            if wish.console:
                _join(client, wanted)
            elif own:
                _stay(client, wanted)
        except KeyboardInterrupt:
            _tell(wanted, own)
            sys.exit(STOPPED)
        _tell(wanted, own)


def _there(kubeconfig: Path | None) -> HttpClient | None:
    """The server that was asked for; else this machine's yard, where it answers."""
    if kubeconfig or os.environ.get("KUBECONFIG") or _answers(_place().kubeconfig):
        return client_of(kubeconfig)
    return None


def _settings(server: HttpClient | None) -> Config:
    """How it reaches images, as far as we may know."""
    try:
        return config(find(server, CDI_CONFIG, Key(cdi.CONFIG_NAME)) or {}) if server else Config()
    except Forbidden:
        return Config()


@contextmanager
def _begun() -> Iterator[HttpClient]:
    """This machine's yard, for as long as the block."""
    place = _place()
    step(f"Run a yard for as long as this takes: diskyard up --data-dir {place.path}")
    with own_yard(place.path) as running, closing(connect(running.kubeconfig)) as client:
        yield client
        step("Stop the yard, and what runs on it")


def _place() -> directory.Directory:
    return directory.Directory(directory.default().absolute())


def _answers(kubeconfig: Path) -> bool:
    if not kubeconfig.exists():
        return False
    with closing(connect(kubeconfig)) as client:
        try:
            find(client, KUBEVIRT, Key(kubevirt.CR_NAME, kubevirt.NAMESPACE))
        except ServerError:
            return False
    return True


def _make(client: HttpClient, wanted: Machine) -> None:
    step(f"Make the machine {wanted.name}")
    try:
        made = client.create(MACHINE, machine(wanted))
    except AlreadyExists as error:
        raise InvalidRequest(
            f"there is a machine {wanted.name} already: `diskyard start {wanted.name}` and `diskyard console "
            f"{wanted.name}` bring you to it; give --name for another one"
        ) from error
    for secret in secrets(wanted, made):
        client.create(SECRET, secret)
    for name, disk in wanted.disks.items():
        say(f"{name}: {disk.size}, {disk.image or 'empty'}")


def _fill(client: HttpClient, wanted: Machine, name: str) -> None:
    disk, key = wanted.disks[name], Key(disk_name(wanted.name, name), wanted.namespace)
    if not disk.image:
        return
    step(f"{'Upload' if disk.local else 'Import'} {disk.image}")
    _await_made(client, wanted, key)
    if disk.local:
        uploading.upload_image(
            client, UploadWish("dv", key.name, key.namespace, Path(disk.image), size=disk.size)
        )
    else:
        filled(client, key, _FILLED_WITHIN)


def _await_made(client: HttpClient, wanted: Machine, key: Key) -> None:
    """Until the machine's controller has made the DataVolume."""
    for _ in states(client, MACHINE, Key(wanted.name, wanted.namespace), _MADE_WITHIN):
        if find(client, DATA_VOLUME, key):
            return


def _boot(client: HttpClient, wanted: Machine) -> None:
    step(f"Boot {wanted.name}")
    told = ""
    for found in states(client, MACHINE, Key(wanted.name, wanted.namespace), _RUNS_WITHIN):
        if (word := state(found)) != told:
            told = word
            say(told)
        if told in ("Running", "Stopped"):
            return


def _join(client: HttpClient, wanted: Machine) -> None:
    step(f"The console of {wanted.name}: press Enter if nothing shows; Ctrl-] leaves it")
    terminal.joined(guests.console(client, Key(wanted.name, wanted.namespace), _RUNS_WITHIN))
    click.echo()


def _stay(client: HttpClient, wanted: Machine) -> None:
    """Until the guest has ended, or Ctrl-C."""
    say(f"It runs until it ends, or until Ctrl-C. Its console: diskyard console {wanted.name}")
    for found in states(client, MACHINE, Key(wanted.name, wanted.namespace), _FILLED_WITHIN):
        if meta.status(found).get("printableStatus") == "Stopped":
            return


def _tell(wanted: Machine, own: bool) -> None:
    """What is there now, and how to come back to it."""
    step(f"{wanted.name} is kept" + (", and its yard ends" if own else ""))
    words = {"diskyard up": "runs the yard again, in another terminal"} if own else {}
    words |= {
        f"diskyard start {wanted.name}": "starts it again once it has ended",
        f"diskyard console {wanted.name}": "joins its console",
        f"diskyard delete vm {wanted.name}": "takes the machine and its disks away",
    }
    width = max(map(len, words))
    for command, what in words.items():
        say(f"{command:<{width}}  {what}")
