"""The steps of `diskyard run`: look at the image, find or begin a yard, make the machine, fill its disks, join it."""

import os
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import click

from cli import guests, terminal, uploading
from cli.display import say, step
from cli.following import filled, states
from cli.machine import CDROM, ROOT, Disk, Machine, disk_name, machine, name_of, secrets, source_of
from cli.ownyard import own_yard
from cli.reach import client_of
from cli.source import PLAIN, job
from cli.wishes import RunWish, UploadWish
from diskyard.api import meta, quantity
from diskyard.api.meta import DATA_VOLUME, KUBEVIRT, MACHINE, SECRET, Key
from diskyard.api.names import kubevirt
from diskyard.disk.probe import Format
from diskyard.errors import AlreadyExists, ImageTooLarge, InvalidRequest, ServerError
from diskyard.kube.http import HttpClient, connect
from diskyard.kube.reconcile import find
from importer.inspection import inspection
from standalone import directory

EMPTY: Final = "16Gi"
"""The size of the empty disk beside an ISO."""
STOPPED: Final = 130
_MADE_WITHIN: Final = 60
_FILLED_WITHIN: Final = 7 * 24 * 3600
_RUNS_WITHIN: Final = 300


def run(wish: RunWish) -> None:
    """All of it. Raises DiskyardError."""
    step(f"Look at {wish.image}")
    wanted = _wanted(wish)
    with _server(wish.kubeconfig) as (client, own):
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


def _wanted(wish: RunWish) -> Machine:
    """What is to be made, with the sizes of its disks. Raises DiskyardError where an image cannot be imported."""
    image, size, iso = _looked_at(wish.image)
    name = wish.name or name_of(image)
    if iso:
        disks = {ROOT: Disk("", wish.size or EMPTY), CDROM: Disk(image, _canonical(size))}
    else:
        disks = {ROOT: Disk(image, _room(wish, size))}
    for number, each in enumerate(wish.cdroms, len(disks)):
        disc, needed, _ = _looked_at(each)
        disks[CDROM if number == 1 else f"{CDROM}-{number}"] = Disk(disc, _canonical(needed))
    return Machine(
        name,
        wish.namespace,
        wish.memory,
        wish.cpus,
        disks,
        user_data=_text(wish.cloud_init),
        keys=_text(wish.ssh_key),
    )


def _looked_at(image: str) -> tuple[str, int, bool]:
    """An image: where it is, the size of the disk in it in bytes, and whether it is an ISO. Raises DiskyardError."""
    if "://" not in image:
        image = str(Path(image).absolute())
    elif not source_of(image):
        raise InvalidRequest(
            f"{image} is not what `diskyard run` reads: expected https://, http://, gs://, docker:// or a file. "
            "A DataVolume reads more: docs/import.md"
        )
    found = inspection(job(image, PLAIN))
    if found.refusal:
        raise found.refusal
    return image, found.virtual_size or 0, found.format == Format.ISO


def _room(wish: RunWish, needed: int) -> str:
    """The size of the disk. Raises DiskyardError where what was asked for is none, or too small."""
    if not wish.size:
        if needed:
            return _canonical(needed)
        raise InvalidRequest(
            f"{wish.image} does not say how large the disk in it is: give --size, such as --size 10Gi"
        )
    if quantity.parse(wish.size) < needed:
        raise ImageTooLarge(
            f"the disk inside {wish.image} has {quantity.human(needed)} ({needed} bytes), and --size {wish.size} is "
            f"less: ask for --size {_canonical(needed)}, or leave it out"
        )
    return wish.size


def _canonical(size: int) -> str:
    return quantity.canonical(quantity.round_up(size))


def _text(path: Path | None) -> str:
    try:
        return path.read_text() if path else ""
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error


@contextmanager
def _server(kubeconfig: Path | None) -> Iterator[tuple[HttpClient, bool]]:
    """The server that was asked for; else this machine's yard, begun where none answers (then True)."""
    place = directory.Directory(directory.default().absolute())
    if kubeconfig or os.environ.get("KUBECONFIG") or _answers(place.kubeconfig):
        with closing(client_of(kubeconfig)) as client:
            yield client, False
        return
    step(f"Run a yard for as long as this takes: diskyard up --data-dir {place.path}")
    with own_yard(place.path) as running, closing(connect(running.kubeconfig)) as client:
        yield client, True
        step("Stop the yard, and what runs on it")


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
        status = str(meta.status(found).get("printableStatus") or "")
        if status != told:
            told = status
            say(status)
        if status in ("Running", "Stopped"):
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
