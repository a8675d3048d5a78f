"""`diskyard inspect`: what a source is and how it would be imported, from its head alone."""

import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import click

from cli.source import job, sized, source_options

if TYPE_CHECKING:
    from importer.inspection import Inspection

FATAL: Final = 3
PASSING: Final = 4
_ROUTES: Final = {
    "stream": "streamed onto the disk as it is, in one pass, without scratch space",
    "decode": "decoded while it streams onto the disk, in one pass, without scratch space",
    "spool": "fetched beside the disk, inspected once more, then converted by qemu-img",
    "image": "read as the flat disk that it is, holes left out",
}
_WIDTH: Final = 12


@click.command("inspect")
@click.argument("source")
@click.option(
    "--size",
    default="",
    metavar="SIZE",
    callback=sized,
    help="Say whether a disk of this size, such as 10Gi, has room for it.",
)
@source_options
@click.option(
    "--output", "-o", type=click.Choice(["text", "json"]), default="text", help="For people, or for programs."
)
def inspect_command(source: str, size: str, output: str, **options: Any) -> None:
    """Say what SOURCE is, and whether and how it would be imported. Nothing is written.

    SOURCE is what `diskyard import` takes. Only its first bytes are read.

    \b
    Exit codes:
      0    it can be imported
      2    the command line is wrong
      3    it can never be imported as it is
      4    it may work when it is tried again
    """
    from diskyard.api import quantity
    from importer.inspection import inspection

    found = inspection(job(source, options), quantity.parse(size) if size else None)
    if output == "json":
        click.echo(json.dumps(found.wire(), indent=2))
    else:
        for line in _said(found):
            click.echo(line)
    if found.refusal:
        sys.exit(FATAL if found.refusal.fatal else PASSING)


def _said(found: "Inspection") -> Iterator[str]:
    yield click.style(found.source, bold=True)
    for name, text in _facts(found):
        if text:
            yield f"  {name:<{_WIDTH}} {text}"
    for hint in found.hints:
        yield f"  {'note':<{_WIDTH}} {hint}"
    if found.refusal is None:
        yield click.style("It can be imported.", fg="green")
    else:
        verdict = "It cannot be imported" if found.refusal.fatal else "It cannot be imported now"
        yield click.style(f"{verdict}: {found.refusal}.".replace("..", "."), fg="red")


def _facts(found: "Inspection") -> Iterator[tuple[str, str]]:
    from diskyard.api.quantity import canonical

    yield "reachable", _yes(found.reachable)
    yield "authorised", _yes(found.authorized)
    yield "size", _bytes(found.size)
    yield "ranges", _yes(found.ranged)
    yield "version", found.validator
    yield "resumable", _yes(found.resumable) if found.route else ""
    yield "format", " in ".join((found.format, *reversed(found.packed))) if found.format else ""
    yield "disk", _bytes(found.virtual_size)
    if found.claim:
        yield "claim", f"at least {canonical(found.claim)}: the disk, and 6 % for a file system"
    yield "import", _ROUTES.get(found.route, "")


def _yes(truth: bool | None) -> str:
    return "" if truth is None else "yes" if truth else "no"


def _bytes(size: int | None) -> str:
    from diskyard.api.quantity import human

    return "" if size is None else f"{human(size)} ({size} bytes)"
