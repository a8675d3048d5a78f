"""`diskyard images`: what this machine's node keeps of images, and who uses it; `prune` takes the others away."""

from datetime import UTC, datetime
from pathlib import Path

import click

from cli.columns import Columns
from diskyard.api import meta
from diskyard.api.meta import Obj
from diskyard.api.quantity import human
from diskyard.disk.imagestore import Found, ImageStore
from diskyard.errors import AccessDenied, InvalidRequest
from standalone.directory import Directory, default
from standalone.wire.table import age

HEADS = ("IMAGE", "DIGEST", "SIZE", "TAKES", "USED", "USED BY")
"""Of the list's columns."""
_DIGEST = 19
"""Characters of a digest: `sha256:` and as much as people compare."""


@click.group("images", invoke_without_command=True)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Data directory of the yard. Default: its own default.",
)
@click.option("--full", is_flag=True, help="Show whole digests, and which file of an image it is.")
@click.pass_context
def images_command(context: click.Context, data_dir: Path | None, full: bool) -> None:
    """List the images that this machine's node keeps."""
    context.obj = _store(data_dir)
    if context.invoked_subcommand is not None:
        return
    found = context.obj.found() if context.obj else []
    if not found:
        click.echo("no images are kept here")
        return
    listed = {
        "columnDefinitions": [{"name": name} for name in HEADS],
        "rows": [_row(each, full) for each in found],
    }
    for line in Columns().lines(listed):
        click.echo(line)


@images_command.command("prune")
@click.option(
    "--older-than",
    "days",
    type=click.FloatRange(0),
    default=0.0,
    metavar="DAYS",
    help="Keep what was used since. Default: 0.",
)
@click.pass_obj
def prune_command(store: ImageStore | None, days: float) -> None:
    """Take away the images that no guest uses."""
    before = {each.entry.identity: each.taken for each in store.found()} if store else {}
    gone = store.evict(days * 86400, lambda: days > 0) if store else []
    for entry in gone:
        click.echo(f"removed {entry.identity.origin} {entry.identity.digest}")
    click.echo(f"freed {human(sum(before.get(entry.identity, 0) for entry in gone))}")


def _store(data_dir: Path | None) -> ImageStore | None:
    """The store of a data directory; None: nothing was kept there yet. Raises InvalidRequest, AccessDenied."""
    directory = Directory(data_dir or default())
    folder = directory.path / "images"
    if not directory.path.is_dir():
        raise InvalidRequest(
            f"there is no yard at {directory.path}: give its directory with --data-dir, or on the machine where it is"
        )
    try:
        return ImageStore(folder) if folder.is_dir() and list(folder.iterdir()) else None
    except PermissionError as error:
        raise AccessDenied(
            f"cannot look into {folder}: {error.strerror}. Ask as the user who runs the yard"
        ) from error


def _row(found: Found, full: bool) -> Obj:
    what = found.entry.identity
    name = f"{what.origin} {what.part}".strip() if full else what.origin
    digest = what.digest if full else what.digest[:_DIGEST]
    used = age(meta.timestamp(datetime.fromtimestamp(found.used, UTC)))
    sizes = human(found.entry.size), human(found.taken)
    return {"cells": [name, digest, *sizes, used, ", ".join(found.users) or "-"]}
