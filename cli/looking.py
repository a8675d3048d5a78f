"""What `diskyard run` finds out about its images before anything is made: the machine that is wanted."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Final

from cli.machine import CDROM, ROOT, Disk, Machine, name_of, source_of
from cli.source import PLAIN, job
from cli.wishes import RunWish
from diskyard.api import quantity
from diskyard.api.config import Config
from diskyard.disk.probe import Format
from diskyard.errors import ImageTooLarge, InvalidRequest
from importer.inspection import inspection

EMPTY: Final = "16Gi"
"""The size of the empty disk beside an ISO."""
_PUBLIC_KEY: Final = re.compile(r"(?:^|\s)(?:ssh|ecdsa|sk-ssh|sk-ecdsa)-\S+ AAAA")


def machine(wish: RunWish, config: Config) -> Machine:
    """It, with the sizes of its disks, by images that are reached as the server's settings say.

    Raises DiskyardError where an image cannot be imported.
    """
    image, size, iso = _looked_at(wish.image, config)
    name = wish.name or name_of(image)
    if iso:
        disks = {ROOT: Disk("", wish.size or EMPTY), CDROM: Disk(image, _canonical(size))}
    else:
        disks = {ROOT: Disk(image, _room(wish, size))}
    for number, each in enumerate(wish.cdroms, len(disks)):
        disc, needed, _ = _looked_at(each, config)
        disks[CDROM if number == 1 else f"{CDROM}-{number}"] = Disk(disc, _canonical(needed))
    return Machine(
        name,
        wish.namespace,
        wish.memory,
        wish.cpus,
        disks,
        user_data=_text(wish.cloud_init),
        keys=_keys(wish.ssh_key),
    )


def _looked_at(image: str, config: Config) -> tuple[str, int, bool]:
    """An image: where it is, the size of the disk in it in bytes, and whether it is an ISO. Raises DiskyardError."""
    if "://" not in image:
        image = str(Path(image).absolute())
    elif not source_of(image):
        raise InvalidRequest(
            f"{image} is not what `diskyard run` reads: expected https://, http://, gs://, docker:// or a file. "
            "A DataVolume reads more: docs/import.md"
        )
    found = inspection(
        replace(
            job(image, PLAIN),
            allow_addresses=config.allow_addresses,
            insecure_registries=config.insecure_registries,
            registry_mirrors=config.registry_mirrors,
        )
    )
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


def _keys(path: Path | None) -> str:
    """Public SSH keys, a line each. Raises InvalidRequest for anything else, a private key above all."""
    said = _text(path)
    for line in said.splitlines():
        if line.strip() and not line.startswith("#") and not _PUBLIC_KEY.search(line):
            found = "a private key" if "PRIVATE KEY" in said else "something else"
            raise InvalidRequest(
                f"expected public SSH keys in {path}, such as `ssh-ed25519 AAAA... me@here`, found {found}: give the "
                "file whose name ends with .pub"
            )
    return said


def _text(path: Path | None) -> str:
    try:
        return path.read_text() if path else ""
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
